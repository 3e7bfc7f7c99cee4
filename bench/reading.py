"""What one tool finds in a folder of `videos/`: run by bench/readers.py in an environment that has the tool.

    python bench/reading.py TOOL JOB

JOB is JSON: the folders, a night, a seller. Prints what was found as JSON. Open it to add a tool.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

SUMMARY = (
    "SELECT count(*), sum(total_views_cnt), count(DISTINCT region), "
    "sum(CASE WHEN region IS NULL THEN 1 ELSE 0 END), count(DISTINCT crawl_date), max(create_time) "
    "FROM {videos}"
)
SHOWN = ("crawl_date", "snapshot_date", "region", "create_time", "total_views_cnt", "late")
NO_CRAWL_DATE = "none: it is in the path alone"


class Reader(Protocol):
    """A tool that has opened a folder."""

    def summary(self) -> list[Any]:
        """Rows, sum of views, regions, null regions, dates, and the newest creation in Unix milliseconds."""

    def night(self, column: str, day: dt.date) -> int:
        """The sum of the views of one night, found by `crawl_date` or by `snapshot_date`."""

    def types(self) -> dict[str, str]:
        """The types of `SHOWN`, as the tool names them."""


def millis(moment: Any) -> int:
    """A moment in Unix milliseconds; one without a zone is in UTC."""
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp() * 1000)


class _Sql:
    """A tool that takes SQL; `query` returns the rows."""

    def __init__(self, videos: str, query: Callable[[str], list[Any]], date_of: str = "DATE '{day}'") -> None:
        self._videos, self._query, self._date_of = videos, query, date_of

    def summary(self) -> list[Any]:
        *counts, newest = self._query(SUMMARY.format(videos=self._videos))[0]
        return [*map(int, counts), millis(newest)]

    def night(self, column: str, day: dt.date) -> int:
        night = self._date_of.format(day=day)
        sql = f"SELECT sum(total_views_cnt) FROM {self._videos} WHERE {column} = {night}"
        return int(self._query(sql)[0][0])


class DuckDb(_Sql):
    def __init__(self, folder: str) -> None:
        import duckdb

        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        videos = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        super().__init__(videos, lambda sql: self._database.execute(sql).fetchall())

    def types(self) -> dict[str, str]:
        rows = self._query(f"DESCRIBE SELECT * FROM {self._videos}")
        return {row[0]: row[1] for row in rows}


class Polars:
    def __init__(self, folder: str) -> None:
        import polars as pl

        self._pl: Any = pl
        self._videos = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)

    def summary(self) -> list[Any]:
        col = self._pl.col
        found = self._videos.select(
            self._pl.len(),
            col("total_views_cnt").sum(),
            col("region").drop_nulls().n_unique().alias("regions"),
            col("region").is_null().sum().alias("nulls"),
            col("crawl_date").n_unique().alias("dates"),
            col("create_time").max(),
        )
        *counts, newest = found.collect().row(0)
        return [*counts, millis(newest)]

    def night(self, column: str, day: dt.date) -> int:
        rows = self._videos.filter(self._pl.col(column) == day).select("total_views_cnt")
        return int(rows.collect()["total_views_cnt"].sum())

    def types(self) -> dict[str, str]:
        return {name: str(kind) for name, kind in self._videos.collect_schema().items()}


class Pandas:
    def __init__(self, folder: str) -> None:
        import pandas as pd

        self._pd: Any = pd
        self._folder = folder

    def summary(self) -> list[Any]:
        rows = self._pd.read_parquet(
            self._folder, columns=["total_views_cnt", "region", "crawl_date", "create_time"]
        )
        counts = (
            *(len(rows), rows["total_views_cnt"].sum(), rows["region"].nunique()),
            *(rows["region"].isna().sum(), rows["crawl_date"].nunique()),
        )
        return [*map(int, counts), millis(rows["create_time"].max().to_pydatetime())]

    def night(self, column: str, day: dt.date) -> int:
        # Keys of folders are text here, as pyarrow infers them.
        value = day.isoformat() if column == "crawl_date" else day
        rows = self._pd.read_parquet(
            self._folder, columns=["total_views_cnt"], filters=[(column, "==", value)]
        )
        return int(rows["total_views_cnt"].sum())

    def types(self) -> dict[str, str]:
        found = self._pd.read_parquet(self._folder, columns=[*SHOWN])
        return {name: str(kind) for name, kind in found.dtypes.items()}


class Arrow:
    def __init__(self, folder: str) -> None:
        import pyarrow.dataset as ds

        self._videos = self._opened(ds, folder)

    def _opened(self, ds: Any, folder: str) -> Any:
        return ds.dataset(folder, format="parquet", partitioning="hive")

    def summary(self) -> list[Any]:
        import pyarrow.compute as pc

        rows = self._videos.to_table(columns=["total_views_cnt", "region", "crawl_date", "create_time"])
        counts = (
            *(
                len(rows),
                pc.sum(rows["total_views_cnt"]),
                pc.count_distinct(rows["region"], mode="only_valid"),
            ),
            *(rows["region"].null_count, pc.count_distinct(rows["crawl_date"])),
        )
        newest = pc.max(rows["create_time"]).as_py()
        return [*(int(c.as_py() if hasattr(c, "as_py") else c) for c in counts), millis(newest)]

    def night(self, column: str, day: dt.date) -> int:
        import pyarrow.compute as pc

        is_text = str(self._videos.schema.field(column).type) == "string"
        of_night = pc.field(column) == (day.isoformat() if is_text else day)
        rows = self._videos.to_table(columns=["total_views_cnt"], filter=of_night)
        return int(pc.sum(rows["total_views_cnt"]).as_py())

    def types(self) -> dict[str, str]:
        return {field.name: str(field.type) for field in self._videos.schema}


class Delta(Arrow):
    """The table of the same nights, by deltalake's Arrow data set."""

    def _opened(self, _ds: Any, folder: str) -> Any:
        from deltalake import DeltaTable

        return DeltaTable(f"{folder}-delta/videos").to_pyarrow_dataset()


class Spark(_Sql):
    def __init__(self, folder: str) -> None:
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.driver.memory", "2g")
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        self._frame = session.read.parquet(folder)
        self._frame.createOrReplaceTempView("videos")
        super().__init__("videos", lambda sql: [tuple(row) for row in session.sql(sql).collect()])

    def summary(self) -> list[Any]:
        # Spark hands times over in this process's zone.
        sql = SUMMARY.replace("max(create_time)", "unix_millis(max(create_time))").format(videos="videos")
        return [int(value) for value in self._query(sql)[0]]

    def types(self) -> dict[str, str]:
        return dict(self._frame.dtypes)


class DataFusion(_Sql):
    def __init__(self, folder: str) -> None:
        import pyarrow as pa
        from datafusion import SessionContext

        context = SessionContext()
        keys: list[tuple[str, Any]] = [("crawl_date", pa.date32())]
        keys += [("region", pa.string())] if [*Path(folder).glob("*/region=*")] else []
        context.register_parquet("videos", folder, table_partition_cols=keys)
        self._context = context
        super().__init__("videos", self._rows)

    def _rows(self, sql: str) -> list[Any]:
        return [tuple(row.values()) for row in self._context.sql(sql).to_arrow_table().to_pylist()]

    def types(self) -> dict[str, str]:
        return {field.name: str(field.type) for field in self._context.table("videos").schema()}


class ChDb(_Sql):
    def __init__(self, folder: str) -> None:
        super().__init__(f"file('{folder}/**/*.parquet', Parquet)", self._rows)

    def _rows(self, sql: str) -> list[Any]:
        import chdb

        lines = str(chdb.query(sql, "JSONCompactEachRow")).splitlines()
        return [json.loads(line) for line in lines]

    def types(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self._rows(f"DESCRIBE (SELECT * FROM {self._videos})")}


class Iceberg:
    """A table of the same files, which `add_files` takes as they are."""

    def __init__(self, folder: str) -> None:
        import pyarrow.parquet as pq
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("readers", uri="sqlite://", warehouse=f"file://{folder}-iceberg")
        files = sorted(map(str, Path(folder).glob("*/*.parquet")))
        catalog.create_namespace("shop")
        self._table = catalog.create_table("shop.videos", schema=pq.read_schema(files[0]))
        self._table.add_files(files)

    def summary(self) -> list[Any]:
        import pyarrow.compute as pc

        names = ("total_views_cnt", "region", "snapshot_date", "create_time")
        rows = self._table.scan(selected_fields=names).to_arrow()
        counts = (
            *(len(rows), pc.sum(rows["total_views_cnt"]).as_py()),
            *(pc.count_distinct(rows["region"], mode="only_valid").as_py(), rows["region"].null_count),
            pc.count_distinct(rows["snapshot_date"]).as_py(),
        )
        return [*counts, millis(pc.max(rows["create_time"]).as_py())]

    def night(self, column: str, day: dt.date) -> int:
        import pyarrow.compute as pc

        if column == "crawl_date":
            raise LookupError(NO_CRAWL_DATE)
        rows = self._table.scan(row_filter=f"{column} = '{day}'", selected_fields=("total_views_cnt",))
        return int(pc.sum(rows.to_arrow()["total_views_cnt"]).as_py())

    def types(self) -> dict[str, str]:
        kinds = {field.name: str(field.field_type) for field in self._table.schema().fields}
        return {"crawl_date": NO_CRAWL_DATE, **kinds}


TOOLS: dict[str, tuple[str, Callable[[str], Reader]]] = {
    "DuckDB": ("duckdb", DuckDb),
    "Polars": ("polars", Polars),
    "pandas": ("pandas", Pandas),
    "pyarrow": ("pyarrow", Arrow),
    "Spark": ("pyspark", Spark),
    "DataFusion": ("datafusion", DataFusion),
    "chdb": ("chdb", ChDb),
    "Delta": ("deltalake", Delta),
    "Iceberg": ("pyiceberg", Iceberg),
}
"""By name: the package, and what opens a folder."""
_ROUNDS = 3
_BY_THEIR_OWN_LOG = {"Delta", "Iceberg"}


def found_by(
    tool: str, folder: Path, year: Path | None, pages_only_of: Path, by_region: Path | None, day: dt.date
) -> dict[str, Any]:
    """What a tool finds in a folder, whether it reads a night alone, and how long sums take."""
    package, opened = TOOLS[tool]
    reader = opened(str(folder))
    found: dict[str, Any] = {"version": version(package), "types": _shown(reader.types())}
    for name, where in (("month", folder), ("year", year)):
        if where is not None:
            begun, seconds = opened(str(where)), []
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                summary = begun.summary()
                seconds.append(time.perf_counter() - began)
            found[name] = {"summary": summary, "seconds": round(min(seconds), 2)}
    is_of_folders = by_region is not None and tool not in _BY_THEIR_OWN_LOG
    found["region"] = _tried(lambda: opened(str(by_region)).summary()) if is_of_folders else None
    for column in ("crawl_date", "snapshot_date"):
        found[column] = _tried(lambda column=column: reader.night(column, day))  # type: ignore[misc]
        alone = _tried(lambda column=column: opened(str(pages_only_of)).night(column, day))  # type: ignore[misc]
        found[f"{column}_alone"] = alone == found[column] and isinstance(alone, int)
    return found


def _shown(types: dict[str, str]) -> dict[str, str]:
    return {name: types[name] for name in SHOWN if name in types}


def _tried(look: Callable[[], Any]) -> Any:
    """What `look` returns, or why it cannot: a tool that reads what is rubbish may raise anything."""
    try:
        return look()
    except BaseException as error:  # noqa: BLE001 - some raise panics
        return str(error) or type(error).__name__


if __name__ == "__main__":
    job = json.loads(sys.argv[2])
    places = [job[name] and Path(job[name]) for name in ("month", "year", "alone", "region")]
    print(json.dumps(found_by(sys.argv[1], *places, dt.date.fromisoformat(job["day"]))))
