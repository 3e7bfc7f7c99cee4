"""The manifest: whatever is copied in which order, each part is there as it was last copied, and once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.copies.manifest import Entry, Manifest
from crawler.copies.parts import LocalFile, Part
from crawler.models.storage import StorageAddress
from crawler.store.layout import UNDATED_KINDS, is_object_name, object_name

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
DATES = ("2026-11-22", "2026-11-23", *UNDATED_KINDS)


def part_of(name: str, versions: list[int]) -> Part:
    kinds = [name] if name in UNDATED_KINDS else ["videos", "sellers", "changes"]
    folder = "" if name in UNDATED_KINDS else f"crawl_date={name}/"
    return Part(
        name,
        tuple(
            LocalFile(f"{kind}/{folder}run.parquet", sha256(f"{kind} {version}".encode()).hexdigest())
            for kind, version in zip(kinds, versions, strict=False)
        ),
    )


def entries_of(part: Part) -> list[Entry]:
    return [Entry(object_name(f.name, f.sha256), f.kind, part.crawl_date, 7, f.sha256) for f in part.files]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(DATES),
            st.lists(st.integers(0, 3), min_size=1, max_size=3),
            st.integers(0, 20),
        ),
        max_size=12,
    )
)
def test_each_part_is_there_as_it_was_last_copied(steps: list[tuple[str, list[int], int]]) -> None:
    manifest, now, last, grace = Manifest("id"), BEGIN, dict[str, Part](), 30.0
    there, since = set[str](), dict[str, datetime]()
    for name, versions, seconds in steps:
        now += timedelta(seconds=seconds)
        part = part_of(name, versions)
        last[name] = part
        there |= {entry.name for entry in entries_of(part)}
        manifest = Manifest.read(manifest.with_part(part, entries_of(part), [], now).as_json())
        live = {entry.name for entry in manifest.files}
        assert all(manifest.has(each) for each in last.values())
        assert live == {entry.name for each in last.values() for entry in entries_of(each)}
        assert live.isdisjoint(manifest.superseded)
        assert there == live | manifest.superseded.keys(), "nothing is forgotten"
        since = {gone: since.get(gone, now) for gone in manifest.superseded}
        due = manifest.due(now, grace)
        assert {*due} == {gone for gone in since if now - since[gone] >= timedelta(seconds=grace)}
        manifest, there = manifest.without(due), there - {*due}


def test_a_file_that_is_written_anew_is_another_object() -> None:
    names = {object_name("sellers/crawl_date=2026-11-23/run.parquet", digit * 64) for digit in "ab"}
    assert names == {f"sellers/crawl_date=2026-11-23/run-{digit * 8}.parquet" for digit in "ab"}
    assert all(map(is_object_name, names))
    assert not is_object_name("sellers/crawl_date=2026-11-23/theirs.parquet")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "files": [{}]}'])
def test_what_is_no_manifest_is_named(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Manifest.read(content)


@given(st.text(max_size=40))
def test_an_address_has_a_bucket_and_a_folder_and_no_more(text: str) -> None:
    for address in (f"s3://{text}", text):
        try:
            found = StorageAddress.of(address)
        except ValueError:
            continue
        assert str(found) == address.rstrip("/")
        assert found.bucket
        assert not {"", ".", ".."} & {*found.root.split("/")}
