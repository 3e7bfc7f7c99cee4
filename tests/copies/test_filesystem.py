"""How each storage takes address and credentials; and what a message must not have."""

from __future__ import annotations

import pytest
from pyarrow import fs

from crawler.copies import __main__ as process
from crawler.copies.filesystem import SECRETS, filesystem_of
from crawler.models.errors import CopyError
from crawler.models.storage import StorageAddress

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


@pytest.mark.parametrize(
    ("address", "environ", "kind"),
    [
        ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "us-east-1"}, "S3FileSystem"),
        ("gs://bucket", {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}, "GcsFileSystem"),
        ("az://box/x", {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": KEY}, "AzureFileSystem"),
    ],
)
def test_each_storage_has_a_file_system(address: str, environ: dict[str, str], kind: str) -> None:
    place = StorageAddress.of(address)
    found = filesystem_of(place, "http://127.0.0.1:1", None, environ)
    assert type(found).__name__ == kind


def test_a_storage_that_this_pyarrow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fs, "AzureFileSystem")
    with pytest.raises(CopyError, match="built without Azure Blob Storage"):
        filesystem_of(StorageAddress.of("az://box"), None, None, {"AZURE_STORAGE_ACCOUNT": "a"})


def test_azure_needs_an_account() -> None:
    with pytest.raises(CopyError, match="set AZURE_STORAGE_ACCOUNT"):
        filesystem_of(StorageAddress.of("az://box"), None, None, {})


@pytest.mark.parametrize("name", SECRETS)
def test_no_message_has_a_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, KEY)
    words = process._words(OSError(f"access of {KEY}\nis denied\x1b[0m"))
    assert words == "access of *** is denied\\x1b[0m"
