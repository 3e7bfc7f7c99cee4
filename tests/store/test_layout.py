"""Paths below the data folder are made in `store/layout.py`, and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import crawler
from crawler.store.layout import SELLERS, VIDEOS, JournalFiles, Layout, RunFolder, StagedFolder

ROOM = Path(crawler.__file__).parent
DATE = date(2026, 11, 23)
DATA = Path("data")
LAYOUT = "store/layout.py"
WITH_OWN_FILES = {
    "commands/demo.py": "the seller list of the demo, and what its reader is to type",
    "models/dataset.py": "columns, one of which has the name of a folder",
    "store/files.py": "temporary files beside the one that is written",
    "nightly/shell.py": "the program's own path",
    "views/queries.py": "the SQL files of the package itself",
    "scaffold/job.py": "the program's own path, for who has no PATH",
}
NAMES = re.compile(
    r"crawl_date=|\.sqlite\b|\.stdin\.parquet|\*\.parquet|\.list$|\.sha256$|\.segments$|\.carried$"
    r"|^(journal|staging|runs|lock)$|^(report\.(json|html)|rejects\.jsonl)$"
)
JOINING = {"joinpath", "with_name", "with_suffix", "with_stem", "glob", "rglob"}


def _texts(node: ast.AST) -> Iterator[str]:
    """The text of a string, as far as it is written in the code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield from (part.value for part in node.values if isinstance(part, ast.Constant))  # type: ignore[misc]


def _offences(source: str) -> Iterator[str]:
    """Where a path is joined with a name that is written there, or a name of the layout is spelled."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if any(isinstance(side, ast.JoinedStr) or list(_texts(side)) for side in (node.left, node.right)):
                yield f"{node.lineno}: a path is joined: {ast.unparse(node)}"
            if any(isinstance(part, ast.Name) and part.id == "data" for part in (node.left,)):
                yield f"{node.lineno}: a path is joined: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = node.func.attr in JOINING
            if named and any(isinstance(a, ast.JoinedStr) or set(_texts(a)) - {"*"} for a in node.args):
                yield f"{node.lineno}: a path is named: {ast.unparse(node)}"


def _spelled(source: str) -> Iterator[str]:
    """The names of the layout that a path is made of by other means, as constants of a module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            for part in ast.walk(node.value):
                yield from (f"{node.lineno}: {text!r}" for text in _texts(part) if NAMES.search(text))


def test_no_other_module_joins_paths() -> None:
    found = [
        f"{name}:{offence}"
        for path in sorted(ROOM.rglob("*.py"))
        if (name := path.relative_to(ROOM).as_posix()) != LAYOUT
        and name not in WITH_OWN_FILES
        and not name.startswith("simulator/")
        for offence in (*_offences(path.read_text()), *_spelled(path.read_text()))
    ]
    assert not found, "\n".join(found)
    assert all((ROOM / name).is_file() for name in WITH_OWN_FILES)


@pytest.mark.parametrize(
    "line",
    [
        "path = data / 'state'",
        "path = folder / f'{name}.arrow'",
        "path = data / kind",
        "path.with_suffix('.segments')",
        "folder.glob(f'{day}.*.sqlite')",
        "_PARTITION = 'crawl_date='",
    ],
)
def test_a_path_that_is_joined_elsewhere_is_found(line: str) -> None:
    assert [*_offences(line), *_spelled(line)]


def test_the_contract_s_paths_are_these() -> None:
    layout, run = Layout(DATA), RunFolder(DATA, "RUN")
    journal = JournalFiles(layout.journal(DATE, 2))
    assert {path.as_posix() for path in (layout.lock, layout.ledger, layout.snapshot(VIDEOS, DATE))} == {
        "data/state/lock",
        "data/state/ledger.sqlite",
        "data/videos/crawl_date=2026-11-23",
    }
    assert [path.as_posix() for path in (run.report, run.page, run.rejects)] == [
        "data/runs/RUN/report.json",
        "data/runs/RUN/report.html",
        "data/runs/RUN/rejects.jsonl",
    ]
    paths = (journal.journal, journal.segments, journal.pin(DATE))
    beside = (*paths, journal.required_sellers, journal.piped_list)
    assert [path.as_posix().removeprefix("data/state/journal/2026-11-23.2.") for path in beside] == [
        "sqlite",
        "segments",
        "carried/crawl_date=2026-11-23",
        "sqlite.list",
        "sqlite.stdin.parquet",
    ]
    staged = StagedFolder(DATA, "RUN")
    assert staged.snapshot(SELLERS, DATE).as_posix() == "data/state/staging/RUN/sellers/crawl_date=2026-11-23"
    assert journal.crawl_date == "2026-11-23"


def test_everything_private_is_below_state() -> None:
    layout = Layout(DATA)
    private = (layout.lock, layout.ledger, layout.journals, layout.staging, layout.digests)
    assert all(path.is_relative_to(layout.state) for path in private)
    assert not any(path.is_relative_to(layout.state) for path in (layout.runs, layout.kind(VIDEOS)))
