"""Arrow's file systems for object storage: the only module that knows how each takes address and credentials.

Credentials are looked up where the provider's own tools look: open this to add such a place.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crawler.models.errors import CopyError
from crawler.models.storage import SCHEMES, StorageAddress

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_CONNECT_S = 10.0
_SILENCE_S = 30.0
"""Seconds for which less than a byte a second may arrive."""
_ATTEMPTS = 3
_AZURE_ACCOUNT = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
_AZURE_KEY = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
_AZURE_SAS = ("AZURE_STORAGE_SAS_TOKEN",)

SECRETS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET"),
    *(_AZURE_KEY + _AZURE_SAS),
)
"""Variables whose values are struck out of every message."""


def filesystem_of(
    address: StorageAddress, endpoint: str | None, region: str | None, environ: Mapping[str, str]
) -> FileSystem:
    """The file system that an address lies in. Raises `CopyError` where this pyarrow has none for it."""
    make = {"s3": _s3, "gs": _gcs, "az": _azure}[address.scheme]
    try:
        return make(endpoint, region, environ)
    except ImportError:
        raise CopyError(
            f"this pyarrow was built without {SCHEMES[address.scheme]}: install a wheel that has it, or "
            "choose another output.url"
        ) from None


def probe(filesystem: FileSystem, root: str, run_id: str) -> None:
    """Write a small object, and remove it. Raises `OSError` where the storage fails."""
    name = f"{root}/check-{run_id}"
    stream = filesystem.open_output_stream(name)
    stream.write(b"?")
    stream.close()
    filesystem.delete_file(name)


def _s3(endpoint: str | None, region: str | None, environ: Mapping[str, str]) -> FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem  # noqa: PLC0415 - a third of a second

    endpoint = endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {
        **_parts_of(endpoint, "scheme", "endpoint_override"),
        "region": region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        "connect_timeout": _CONNECT_S,
        "request_timeout": _SILENCE_S,
        "retry_strategy": AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    }
    try:
        # A small object is one request then, not three; pyarrow 20 does not know it.
        return S3FileSystem(**options | {"allow_delayed_open": True})
    except TypeError:
        return S3FileSystem(**options)


def _gcs(endpoint: str | None, _region: str | None, environ: Mapping[str, str]) -> FileSystem:
    from pyarrow.fs import GcsFileSystem  # noqa: PLC0415 - as above

    emulator = environ.get("STORAGE_EMULATOR_HOST")
    place = _parts_of(endpoint or emulator, "scheme", "endpoint_override")
    return GcsFileSystem(
        anonymous=emulator is not None,
        retry_time_limit=timedelta(seconds=_SILENCE_S),
        **place,
    )


def _azure(endpoint: str | None, _region: str | None, environ: Mapping[str, str]) -> FileSystem:
    from pyarrow.fs import AzureFileSystem  # noqa: PLC0415 - as above

    account = _first(environ, _AZURE_ACCOUNT)
    if account is None:
        raise CopyError(f"which storage account az:// means is not known: set {_AZURE_ACCOUNT[0]}")
    place: dict[str, Any] = {}
    for service in ("blob", "dfs"):
        place |= _parts_of(endpoint, f"{service}_storage_scheme", f"{service}_storage_authority")
    key, sas = _first(environ, _AZURE_KEY), _first(environ, _AZURE_SAS)
    return AzureFileSystem(account, account_key=key, sas_token=None if key else sas, **place)


def _parts_of(endpoint: str | None, scheme: str, authority: str) -> dict[str, Any]:
    """An endpoint under the names that a file system has for its parts."""
    if not endpoint:
        return {}
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    return {scheme: parts.scheme, authority: parts.netloc + parts.path.rstrip("/")}


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
