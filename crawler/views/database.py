"""The views in a DuckDB file. Open it to change how its views find the data folder."""

from __future__ import annotations

import os
from pathlib import Path

from crawler.models.errors import InputError, OutputError
from crawler.store.layout import published_folders
from crawler.views.queries import definitions, literal, pattern_of

FOLDER_VARIABLE = "crawler_data"
"""The DuckDB variable that names the data folder where the file is not opened by its own path."""

SUFFIX = ".duckdb"

_READABLE_SINCE = "v1.0.0"
"""The storage version: each DuckDB since can open the file."""

_DATA_FOLDER = """\
CREATE OR REPLACE MACRO data_folder() AS
    coalesce(
        getvariable({variable}),
        regexp_extract(current_setting('temp_directory'), '.*/') || {below}
    )
"""
# By default DuckDB keeps temporary files beside the database. No other setting says where that is.
_PATTERN = "regexp_replace(data_folder(), '([*?\\[])', '[\\1]', 'g') || {pattern}"


def write_views(data: Path, file: Path) -> list[str]:
    """Write the views over a data folder into a DuckDB file, which is made where it is not there.

    Views of these names are replaced, all at once or none; whatever else is in the file stays. Returns their
    names. Raises `InputError` where DuckDB is not installed, nothing is published, or the file is called
    otherwise or lies among the published ones, `OutputError` where it cannot be written.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError(
            "crawler views needs DuckDB: pip install 'shop-video-crawler[duckdb]'; "
            "crawler sql prints the same views without it"
        ) from None
    if file.suffix != SUFFIX:
        # DuckDB takes other names for data files at times, and would keep the views in memory.
        raise InputError(f"{file}: the name of the file is to end in {SUFFIX}")
    if any(file.resolve().is_relative_to(folder.resolve()) for folder in published_folders(data)):
        raise InputError(
            f"{file} would lie among the published files, where readers want Parquet alone; "
            f"name another place, such as views{SUFFIX} in {data}"
        )
    pattern_of(data.absolute())
    texts = definitions(data, lambda pattern: _PATTERN.format(pattern=literal(f"/{pattern}")))
    below = os.path.relpath(data.resolve(), file.resolve().parent)
    folder = _DATA_FOLDER.format(variable=literal(FOLDER_VARIABLE), below=literal(below))
    try:
        with duckdb.connect(file, config={"storage_compatibility_version": _READABLE_SINCE}) as database:
            database.execute("BEGIN")
            database.execute(folder)
            for name, text in texts.items():
                database.execute(f"CREATE OR REPLACE VIEW {name} AS\n{text}")
            database.execute("COMMIT")
    except duckdb.Error as error:
        raise OutputError(f"{file}: the views cannot be written: {error}") from None
    return list(texts)
