"""`crawler sql` and `crawler views`: ready SQL over what is published."""

from __future__ import annotations

import sys
from pathlib import Path

from crawler.options import Settings
from crawler.views.database import write_views
from crawler.views.queries import VIEWS, statement, summary


def sql_command(settings: Settings, name: str | None) -> int:
    """Print the SQL of a view, or all names with what a row of each is; 0.

    Raises `InputError` where there is no such view, or nothing is published.
    """
    if name is None:
        width = max(map(len, VIEWS))
        sys.stdout.writelines(f"{each:{width}}  {summary(each)}\n" for each in VIEWS)
    else:
        sys.stdout.write(statement(name, settings.run.data))
    return 0


def views_command(settings: Settings, file: Path) -> int:
    """Write the views into a DuckDB file, and say how to look at one; 0.

    Raises `InputError` where DuckDB is not installed or nothing is published, `OutputError` where the file
    cannot be written.
    """
    names = write_views(settings.run.data, file)
    sys.stdout.write(f"{file} has {len(names)} views over {settings.run.data}: {', '.join(names)}\n")
    return 0
