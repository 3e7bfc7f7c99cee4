"""The copying process: takes a job on standard input, copies, and says on standard output what is there.

It is a process of its own so that it can be ended whatever a storage library is doing. It ends by itself
once the process that started it has gone.
"""

from __future__ import annotations

import os
import sys
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO

from crawler.copies.bucket import Bucket
from crawler.copies.filesystem import SECRETS, filesystem_of, probe
from crawler.copies.job import Job, Message
from crawler.copies.parts import DamagedFileError
from crawler.copies.places import Place
from crawler.models.encodings import printable, without_secret
from crawler.models.errors import CopyError
from crawler.models.storage import StorageAddress

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from crawler.copies.delta_tables import DeltaTables

_MAX_WORDS = 500


def main() -> None:
    """Do the job that comes on standard input; the exit code is 0 only if all of it was done."""
    # Whatever a library prints must not be taken for a message.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = Job.read(sys.stdin.buffer.readline())
    Thread(target=_end_when_alone, daemon=True).start()
    try:
        _do(job, messages)
    except CopyError as error:
        _send(messages, Message(fault=_words(error), is_final=True))
    except Exception as error:  # noqa: BLE001 - whatever a storage library raises is a fault
        _send(messages, Message(fault=_words(error)))
    else:
        os._exit(0)
    # A stream that was begun must not be closed: that would make a half object.
    os._exit(1)


def _do(job: Job, messages: BinaryIO) -> None:
    if job.task == "probe":
        _probe(job)
        return
    place = _opened(job)
    for part in job.parts:
        try:
            sent = place.send(job.data, part)
        except DamagedFileError as error:
            _send(messages, Message(part.name, damage=str(error)))
            continue
        _send(messages, Message(part.name, sent))
    _send(messages, Message(removed=place.tidy(job.grace_s)))


def _probe(job: Job) -> None:
    if job.place.kind == "bucket":
        _bucket_of(job)
    if job.place.is_folder:
        from pyarrow.fs import LocalFileSystem  # noqa: PLC0415 - loaded by now

        local = LocalFileSystem()
        local.create_dir(job.place.address)
        probe(local, job.place.address, job.run_id)
    else:
        probe(*_storage_of(job.place), job.run_id)


def _opened(job: Job) -> Bucket | DeltaTables:
    if job.place.kind == "bucket":
        return _bucket_of(job)
    from crawler.copies.delta_tables import DeltaTables  # noqa: PLC0415 - an extra

    return DeltaTables(job.place, job.known)


def _bucket_of(job: Job) -> Bucket:
    return Bucket(*_storage_of(job.place), job.dataset, job.run_id)


def _storage_of(place: Place) -> tuple[FileSystem, str]:
    address = StorageAddress.of(place.address)
    return filesystem_of(address, place.endpoint, place.region, os.environ), address.root


def _send(stream: BinaryIO, message: Message) -> None:
    stream.write(message.as_line())
    stream.flush()


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())[:_MAX_WORDS] or type(error).__name__
    for name in SECRETS:
        text = without_secret(text, os.environ.get(name, ""))
    return printable(text)


def _end_when_alone() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
