"""The copying process: takes a job on standard input, copies, and says on standard output what is there.

It is a process of its own so that it can be ended whatever a storage library is doing. It ends by itself
once whoever started it has gone.
"""

from __future__ import annotations

import os
import sys
from threading import Thread
from typing import BinaryIO

from crawler.copies.bucket import Bucket
from crawler.copies.filesystem import SECRETS, filesystem_of
from crawler.copies.job import Job, Told
from crawler.copies.parts import DamagedFileError
from crawler.models.encodings import printable, without_secret
from crawler.models.errors import CopyError
from crawler.models.storage import StorageAddress

_MAX_WORDS = 500


def main() -> None:
    """Do the job that comes on standard input; the exit code is 0 only if all of it was done."""
    # Whatever a library prints must not be taken for what is told.
    told = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = Job.read(sys.stdin.buffer.readline())
    Thread(target=_end_when_alone, daemon=True).start()
    try:
        _do(job, told)
    except CopyError as error:
        _tell(told, Told(fault=_words(error), is_final=True))
    except Exception as error:  # noqa: BLE001 - whatever a storage library raises is told
        _tell(told, Told(fault=_words(error)))
    else:
        os._exit(0)
    # A stream that was begun must not be closed: that would make a half object.
    os._exit(1)


def _do(job: Job, told: BinaryIO) -> None:
    address = StorageAddress.of(job.place.address)
    filesystem = filesystem_of(address, job.place.endpoint, job.place.region, os.environ)
    bucket = Bucket(filesystem, address.root, job.dataset, job.run_id)
    if job.task == "probe":
        bucket.probe()
        return
    for part in job.parts:
        try:
            sent = bucket.send(job.data, part)
        except DamagedFileError as error:
            _tell(told, Told(part.name, damage=str(error)))
            continue
        _tell(told, Told(part.name, sent))
    _tell(told, Told(removed=bucket.tidy(job.grace_s)))


def _tell(stream: BinaryIO, told: Told) -> None:
    stream.write(told.as_line())
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
