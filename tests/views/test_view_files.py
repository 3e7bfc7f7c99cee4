"""`crawler sql` and `crawler views`: what they print and write, wherever files lie and whatever is there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import view_history
from click.testing import CliRunner, Result

from crawler.cli import cli
from crawler.models.errors import InputError, OutputError
from crawler.store.schema import REGION_FILE_SCHEMA
from crawler.views.database import write_views
from crawler.views.queries import VIEWS, statement

USUAL = {"VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE"}
"""Types that data frames know."""
SUMS = "count(*), sum(total_views_cnt), count(DISTINCT region)"


@pytest.fixture
def data(played: view_history.History, tmp_path: Path) -> Path:
    """A copy in a folder whose name SQL and patterns would take for something else."""
    return shutil.copytree(
        played.folder, tmp_path / "o'clock [1] *" / "data", ignore=shutil.ignore_patterns("state")
    )


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), standalone_mode=False)


def printed(*words: str) -> str:
    result = call(*words)
    assert result.exception is None
    return result.stdout


def rows_of(database: duckdb.DuckDBPyConnection, name: str) -> list[tuple[object, ...]]:
    rows = database.execute(f"FROM {name}").fetchall()
    return sorted((tuple(rounded(value) for value in row) for row in rows), key=repr)


def rounded(value: object) -> object:
    """Sums of the same numbers in another order may differ in their last digits."""
    return round(value, 6) + 0.0 if isinstance(value, float) else value


def test_names_are_listed_with_what_a_row_is() -> None:
    lines = printed("sql").splitlines()
    assert [line.split()[0] for line in lines] == [*VIEWS]
    assert all(len(line) < 140 and line.endswith(".") for line in lines)
    assert next(line for line in lines if "gains_7d" in line).split(maxsplit=1)[1].startswith("A video that")


def test_each_statement_stands_by_itself_whatever_the_folder_is_called(data: Path) -> None:
    for name in VIEWS:
        with duckdb.connect() as database:
            text = printed("sql", name, "--data", str(data))
            assert database.execute(text).fetchone() is not None, name
            types = {row[1] for row in database.execute(f"DESCRIBE {text}").fetchall()}
        assert types <= USUAL, name


def sums_of(name: str, data: Path) -> list[tuple[object, ...]]:
    return duckdb.connect().execute(f"SELECT {SUMS} FROM ({statement(name, data)})").fetchall()


def test_a_file_of_views_moves_with_its_folder_and_says_the_same(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: rows_of_statement(name, data) for name in VIEWS}
    for file in (data / "views.duckdb", data.parent / "shop.duckdb"):
        assert str(file) in printed("views", str(file), "--data", str(data))
    moved = data.parent.parent / "moved [2]"
    data.parent.rename(moved)
    monkeypatch.chdir(moved)
    for file in (moved / "data" / "views.duckdb", Path("shop.duckdb"), Path("data/views.duckdb")):
        with duckdb.connect(file, read_only=True) as database:
            assert {name: rows_of(database, name) for name in VIEWS} == before


def rows_of_statement(name: str, data: Path) -> list[tuple[object, ...]]:
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW {name} AS {statement(name, data)}")
        return rows_of(database, name)


def test_where_the_file_is_attached_a_variable_names_the_folder(data: Path) -> None:
    printed("views", str(data / "v.duckdb"), "--data", str(data))
    with duckdb.connect() as database:
        database.execute("ATTACH '" + str(data / "v.duckdb").replace("'", "''") + "' AS shop (READ_ONLY)")
        with pytest.raises(duckdb.IOException, match="No files found"):
            database.execute("FROM shop.latest")
        database.execute("SET VARIABLE crawler_data = $data", {"data": str(data)})
        assert database.sql("SELECT count(*) FROM shop.latest").fetchall() > [(100,)]


def test_views_are_replaced_all_or_none_and_the_rest_of_the_file_stays(data: Path) -> None:
    file = data / "v.duckdb"
    with duckdb.connect(file) as database:
        database.execute("CREATE TABLE mine AS SELECT 1 AS one")
        database.execute("CREATE VIEW latest AS SELECT 2 AS two")
        database.execute("CREATE TABLE restatements AS SELECT 3 AS three")
    result = call("views", str(file), "--data", str(data))
    assert isinstance(result.exception, OutputError)
    assert "restatements" in str(result.exception)
    with duckdb.connect(file) as database:
        assert database.sql("FROM latest").fetchall() == [(2,)]
        database.execute("DROP TABLE restatements")
    for _ in range(2):
        printed("views", str(file), "--data", str(data))
    with duckdb.connect(file) as database:
        assert database.sql("FROM mine").fetchall() == [(1,)]
        assert database.sql("SELECT count(*) FROM latest").fetchall() > [(100,)]


def test_what_cannot_be_done_is_said_in_one_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "list.duckdb").write_text("seller_id\n")
    refused = {
        ("sql", "newest", "--data", str(data)): (InputError, "no view 'newest': there are latest,"),
        ("sql", "latest", "--data", str(data / "none")): (InputError, "nothing is published under"),
        ("views", str(data / "v.duckdb"), "--data", str(data / "none")): (InputError, "nothing is published"),
        ("views", str(data / "v.csv"), "--data", str(data)): (InputError, "is to end in .duckdb"),
        ("views", str(data / "list.duckdb"), "--data", str(data)): (OutputError, "the views cannot be"),
        ("views", str(data / "no" / "v.duckdb"), "--data", str(data)): (OutputError, "the views cannot be"),
    }
    for words, (kind, text) in refused.items():
        error = call(*words).exception
        assert isinstance(error, kind)
        assert text in str(error)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    error = call("views", str(data / "v.duckdb"), "--data", str(data)).exception
    assert isinstance(error, InputError)
    assert "pip install 'shop-video-crawler[duckdb]'" in str(error)
    assert not (data / "v.duckdb").exists()


@pytest.mark.parametrize("folder", ["videos", "videos/crawl_date=2026-01-01", "nights", "archive"])
def test_no_file_of_views_is_put_among_the_published_ones(data: Path, folder: str) -> None:
    file = data / folder / "x.duckdb"
    with pytest.raises(InputError, match="name another place"):
        write_views(data, file)
    assert not file.exists()


def nights(data: Path) -> list[Path]:
    return sorted((data / "videos").iterdir())


def archived(data: Path, folders: list[Path], name: str = "a.parquet") -> None:
    """Put nights together in one file of a month, as they are compacted."""
    rows = pa.concat_tables([ds.dataset(folder, format="parquet").to_table() for folder in folders])
    rows = rows.sort_by([(key, "ascending") for key in ("seller_id", "video_id", "snapshot_date")])
    month = data / "archive" / "month=2026-11"
    month.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, month / name)


def test_nights_in_the_archive_are_read_there_and_a_night_in_both_once(data: Path) -> None:
    printed("views", str(data / "v.duckdb"), "--data", str(data))
    with duckdb.connect(data / "v.duckdb") as database:
        before = {name: rows_of(database, name) for name in VIEWS}
    archived(data, nights(data)[:5])
    for folder in nights(data)[:4]:
        shutil.rmtree(folder)
    with duckdb.connect(data / "v.duckdb") as database:
        assert {name: rows_of(database, name) for name in VIEWS} == before
    archived(data, nights(data), "b.parquet")
    shutil.rmtree(data / "videos")
    with duckdb.connect(data / "v.duckdb") as database:
        once = "SELECT count(*) FROM (SELECT DISTINCT seller_id, video_id, crawl_date FROM videos)"
        assert database.sql(once).fetchall() == [(len(before["videos"]),)]
    (data / "archive" / "month=2026-11" / "a.parquet").unlink()
    archived(data, [data / "archive" / "month=2026-11" / "b.parquet"])


def test_nights_that_were_thinned_out_leave_what_the_others_say(data: Path) -> None:
    """Their rows are gone, and what they are and moved is still in `sellers/` and `changes/`."""
    *_, before_last, last = nights(data)
    before = {name: rows_of_statement(name, data) for name in ("coverage", "sellers_daily", "restatements")}
    shutil.rmtree(last)
    assert {name: rows_of_statement(name, data) for name in before} == before
    night = before_last.name.partition("=")[2]
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW latest AS {statement('latest', data)}")
        assert database.sql("SELECT max(crawl_date)::VARCHAR FROM latest").fetchall() == [(night,)]
        database.execute(f"CREATE VIEW creators AS {statement('creators_daily', data)}")
        gone = f"FROM creators WHERE crawl_date > DATE '{night}' AND (videos IS NOT NULL OR is_whole)"
        assert database.sql(f"SELECT count(*) {gone}").fetchall() == [(0,)]
        database.execute(f"CREATE VIEW decay AS {statement('decay', data)}")
        assert database.sql("SELECT count(*) FROM decay WHERE moved > videos").fetchall() == [(0,)]


def test_columns_that_older_files_lack_are_null_there(data: Path) -> None:
    before = rows_of_statement("sellers_daily", data)
    newest = max((data / "sellers").rglob("*.parquet"))
    rows = pq.ParquetFile(newest).read()
    pq.write_table(rows.append_column("later", pa.array(["x"] * len(rows))), newest)
    assert rows_of_statement("sellers_daily", data) == before
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW sellers AS {statement('sellers', data)}")
        found = database.sql("SELECT count(later), count(*) > 2 * count(later) FROM sellers").fetchall()
    assert found == [(len(rows), True)]


def test_files_of_sellers_that_all_lack_stretches_are_read(data: Path) -> None:
    for path in (data / "sellers").rglob("*.parquet"):
        pq.write_table(pq.ParquetFile(path).read().drop_columns(["stretches"]), path)
    assert rows_of_statement("coverage", data)


def test_without_changes_gains_are_not_known(data: Path) -> None:
    before = rows_of_statement("coverage", data)
    shutil.rmtree(data / "changes")
    shutil.rmtree(data / "nights", ignore_errors=True)
    printed("views", str(data / "v.duckdb"), "--data", str(data))
    with duckdb.connect(data / "v.duckdb") as database:
        assert rows_of(database, "coverage") == before
        assert database.sql("SELECT count(*) FROM changes").fetchall() == [(0,)]
        assert database.sql(f"SELECT {SUMS} FROM latest").fetchall() != [(0, None, 0)]
    error = call("sql", "nights", "--data", str(data)).exception
    assert isinstance(error, InputError)


def test_region_folders_are_read_too(data: Path) -> None:
    before = sums_of("latest", data)
    for folder in nights(data):
        rows = ds.dataset(folder, format="parquet").to_table()
        for file in folder.iterdir():
            file.unlink()
        for region in set(rows["region"].to_pylist()):
            inside = folder / f"region={region or '__HIVE_DEFAULT_PARTITION__'}"
            inside.mkdir()
            is_here = pa.array([each == region for each in rows["region"].to_pylist()])
            pq.write_table(rows.filter(is_here).select(REGION_FILE_SCHEMA.names), inside / "r.parquet")
    assert sums_of("latest", data) == before
    assert rows_of_statement("breakouts", data)
