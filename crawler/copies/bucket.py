"""The copy in a bucket: objects under names of their own, then the manifest that makes them the dataset.

A bucket has no exchange of folders. So nothing that a manifest names is ever overwritten, and what a newer
one no longer names is removed only after a grace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.copies.manifest import Entry, Manifest
from crawler.copies.parts import DamagedFileError, LocalFile, Part, damage_in
from crawler.models.errors import CopyError
from crawler.store.failpoints import reached
from crawler.store.layout import is_object_name, object_name, published_file

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

MANIFEST = "manifest.json"
_CHUNK = 4 << 20
_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-cache"}


class Bucket:
    """A copy under `root`, which is a bucket or a folder in it; `dataset` is the ID of the data folder.

    Whatever is done raises `OSError` where the storage fails. The beginning also raises `CopyError` where
    what is there cannot be added to.
    """

    def __init__(
        self,
        filesystem: FileSystem,
        root: str,
        dataset: str,
        run_id: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._fs, self._root, self._run_id, self._now = filesystem, root, run_id, now
        self._manifest = self._read(dataset)
        if self._manifest.dataset != dataset:
            raise CopyError(
                f"{MANIFEST} there is of another data folder: choose another output.url; or, if this folder "
                f"is to take its place, remove {MANIFEST} there"
            )

    def send(self, data: Path, part: Part) -> int | None:
        """Make the copy of a part what it is here; returns how many bytes were sent, None where it was so.

        Raises `DamagedFileError` where a file here is damaged: then the part there stays as it was.
        """
        if self._manifest.has(part):
            return None
        if damage := damage_in(data, part):
            raise DamagedFileError(damage)
        entries, sent = [], 0
        found = self._objects_of(part)
        for file in part.files:
            path, name = published_file(data, file.name), object_name(file.name, file.sha256)
            size = path.stat().st_size
            if found.get(name) != size:
                self._upload(path, name)
                sent += size
            entries.append(Entry(name, file.kind, part.crawl_date, size, file.sha256))
        reached("copy.objects")
        self._require_there(entries)
        left = found.keys() - {entry.name for entry in entries}
        self._write(self._manifest.with_part(part, entries, sorted(left), self._now()))
        return sent

    def tidy(self, grace_s: float) -> int:
        """Remove what has been superseded for as long as that; returns how many objects."""
        due = self._manifest.due(self._now(), grace_s)
        for name in due:
            if self._is_file(name):
                self._fs.delete_file(self._path(name))
            reached("copy.removed")
        if due:
            self._write(self._manifest.without(due))
        return len(due)

    def _read(self, dataset: str) -> Manifest:
        if not self._is_file(MANIFEST):
            return Manifest(dataset)
        with self._fs.open_input_stream(self._path(MANIFEST)) as stream:
            content = stream.read()
        try:
            return Manifest.read(content)
        except ValueError as error:
            raise CopyError(f"{MANIFEST} there: {error}; remove it, and it is written anew") from None

    def _write(self, manifest: Manifest) -> None:
        manifest = manifest.numbered(self._run_id, self._now())
        stream = self._fs.open_output_stream(self._path(MANIFEST), metadata=_HEADERS)
        stream.write(manifest.as_json())
        stream.close()
        self._manifest = manifest
        reached("copy.manifest")

    def _upload(self, path: Path, name: str) -> None:
        # Closing makes the object. So the stream is closed only once all is in it.
        stream = self._fs.open_output_stream(self._path(name), compression=None)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                stream.write(chunk)
        stream.close()
        reached("copy.object")

    def _objects_of(self, part: Part) -> dict[str, int]:
        """The objects in the folders of a part, with their sizes, whether a manifest has them or not."""
        from pyarrow.fs import FileSelector  # noqa: PLC0415 - loaded by now, and only where it is needed

        found = {}
        for folder in sorted({_folder_of(file, part) for file in part.files}):
            selector = FileSelector(self._path(folder), allow_not_found=True, recursive=True)
            for info in self._fs.get_file_info(selector):
                if info.is_file and is_object_name(info.path):
                    found[info.path.removeprefix(f"{self._root}/")] = info.size
        return found

    def _require_there(self, entries: Iterable[Entry]) -> None:
        sizes = {entry.name: entry.bytes for entry in entries}
        for name, info in zip(sizes, self._fs.get_file_info([*map(self._path, sizes)]), strict=True):
            if info.size != sizes[name]:
                raise OSError(f"{name} has {info.size} bytes there, not {sizes[name]}")

    def _is_file(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self._path(name)).is_file)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _folder_of(file: LocalFile, part: Part) -> str:
    """The folder that holds a part's files of one kind."""
    return "/".join(file.name.split("/")[: 1 if part.crawl_date is None else 2])
