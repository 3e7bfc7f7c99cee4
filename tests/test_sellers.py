"""The seller list: every dialect that people save, and every way it goes wrong."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import InputError
from crawler.sellers import read_sellers

A, B = "7494662098975951181", "0123"


def read(tmp_path: Path, content: bytes | str, **options: object) -> list[str]:
    path = tmp_path / "list.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_sellers(str(path), **options))  # type: ignore[arg-type]  # options of the case


@pytest.mark.parametrize(
    "content",
    [
        f"seller_id\n{A}\n{B}\n",
        f"{A}\n{B}",
        f"\ufeffSeller_ID \r\n{A}\r\n\r\n{B}\r\n",
        f"name;seller_id\nx;{A}\ny;{B}\n",
        f"name\tseller_id\nx\t{A}\ny\t{B}\n",
        f'"name","seller_id"\n"a, ""b""\nc","{A}"\nz,"{B}"\n',
        f"# a comment\n\n {A} \n# more\n{B}\n",
        f'seller_id\n="{A}"\n\'{B}\n',
        f"shop\n{A}\n{B}\n",
        f"seller_id,\n{A},\n{B},\n",
        f"seller_id\n{A}\n{B}\n".encode("utf-16"),
        f"name,seller_id\n\xff,{A}\n,{B}\n".encode("latin-1"),
    ],
)
def test_dialects(tmp_path: Path, content: bytes | str) -> None:
    assert read(tmp_path, content) == [A, B]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("seller_id\n7.49467E+18\n", "line 2: '7.49467E+18': a spreadsheet ruined"),
        ("seller_id\n1\n7494662098975951181.0\n", "line 3"),
        ("seller_id\n1\nshop7\n", "line 3: 'shop7'"),
        ("a,b\n1,2\n", "no column seller_id among: a, b"),
        ("a,seler_id\n1,2\n", "did you mean --column 'seler_id'"),
        ("1,2\n3,4\n", "line 1: no header"),
        ("", "empty"),
        ("seller_id\n\n", "empty"),
        (b"\0\1\2\3", "binary"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8brest", "gzip"),
        ("<!DOCTYPE html><html>", "HTML"),
        ("seller_id\n\u0661\u0662\n", "no seller ID"),
        (b"PAR1 but not really", "Parquet"),
        (b"seller_id\n" + b"9" * 200_000, "CSV"),
    ],
)
def test_faults_say_where_and_what(tmp_path: Path, content: bytes | str, told: str) -> None:
    with pytest.raises(InputError, match=r"list\.csv") as caught:
        read(tmp_path, content)
    assert told in str(caught.value)


def test_skip_bad_ids_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("seller_id\n1\nx\n1\n2\n")
    listed = read_sellers(str(path), skip_bad_ids=True)
    assert (list(listed), listed.bad_count, listed.repeated) == (["1", "2"], 1, 1)
    path.write_text("seller_id\nx\n")
    with pytest.raises(InputError):
        read_sellers(str(path), skip_bad_ids=True)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.int64(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "list.parquet"
    values = [7494662098975951181, 5] if kind == pa.int64() else ["7494662098975951181", "5"]
    pq.write_table(pa.table({"x": ["a", "b"], "Seller_Id": pa.array(values, kind)}), path)
    assert list(read_sellers(str(path))) == [A, "5"]


def test_parquet_of_doubles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"seller_id": [7.49e18]}), path)
    with pytest.raises(InputError, match="double"):
        read_sellers(str(path))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BufferedReader(io.BytesIO(f"seller_id\n{A}\n".encode()))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stdin))
    assert list(read_sellers("-")) == [A]


def test_missing_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "sellers.csv").write_text("1")
    with pytest.raises(InputError, match=r"did you mean sellers\.csv"):
        read_sellers(str(tmp_path / "seller.csv"))
    with pytest.raises(InputError, match="folder"):
        read_sellers(str(tmp_path))


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.from_regex(r"[0-9]{1,32}", fullmatch=True), min_size=1, max_size=40),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    quote=st.sampled_from(["", '"']),
    columns=st.integers(1, 3),
    header=st.booleans(),
)
def test_any_dialect_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[str],
    delimiter: str,
    end: str,
    mark: str,
    quote: str,
    columns: int,
    header: bool,
) -> None:
    rest = [f"x{n}" for n in range(columns - 1)]
    lines = [delimiter.join([f"{quote}{i}{quote}", *rest]) for i in ids]
    if header or columns > 1:
        lines.insert(0, delimiter.join(["seller_id", *(f"c{n}" for n in range(columns - 1))]))
    folder = tmp_path_factory.mktemp("list")
    assert read(folder, mark + end.join(lines)) == list(dict.fromkeys(ids))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_rubbish_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        assert read(tmp_path_factory.mktemp("list"), content)
    except InputError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, no other is
