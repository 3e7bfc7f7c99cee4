"""Addresses of object storage, such as `s3://bucket/folder`: their form, and where their parts lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

SCHEMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
"""The storage that an address may lead to, by how it begins."""
_FORM = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]*)((?:/[^/?#@\\]+)*)/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StorageAddress:
    """A bucket (of Azure: a container), and the folder in it; `folder` is empty for the whole bucket."""

    scheme: str
    bucket: str
    folder: str

    @classmethod
    def of(cls, text: str) -> Self:
        """The parts of an address. Raises `ValueError` where it is none, or holds more than these parts."""
        found = _FORM.fullmatch(text)
        if found is None or not text.isprintable() or {".", ".."} & {*text.split("/")}:
            raise ValueError("no address of a bucket")
        return cls(found[1], found[2], found[3].removeprefix("/"))

    @property
    def root(self) -> str:
        """Bucket and folder, as Arrow's file systems have it."""
        return "/".join(filter(None, (self.bucket, self.folder)))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.root}"
