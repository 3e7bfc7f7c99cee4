"""The limits that keep each file and class small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from crawler import events
from crawler.events import LogEvent

CRAWLER = Path(__file__).parent.parent / "crawler"
MAX_IMPORTED_NAMES = 20
MAX_CLASS_LINES = 150
MAX_METHODS = 12

WIRING = "wires parts together and decides nothing: what it imports is what it wires"
STATEMENTS = "one SQL statement a method: split, a transaction would lie in two files"
STATES = "small methods on one state that must change together"
BEYOND_THE_LIMIT = {
    "api/client.py": "knows all errors that the wire raises, and all that the engine reads",
    "api/answers.py": "turns every answer that there is into a page or an error",
    "cli.py": WIRING,
    "cluster/coordinator.py": WIRING,
    "cluster/coordinator.py Coordinator": STATES,
    "cluster/shard_engine.py": WIRING,
    "commands/check.py": "looks at everything that a night needs",
    "commands/status.py": "prints what the ledger, the lock and the budget know",
    "engine/gates.py Gates": STATES,
    "engine/pace.py Pace": STATES,
    "engine/key_credits.py KeyCredits": STATES,
    "engine/next_work.py Parked": STATES,
    "engine/pool.py": WIRING,
    "engine/pool.py Crawl": STATES,
    "engine/reading.py": "names the events and actions of the table in seller.py, one by one",
    "engine/reading.py Reader": STATES,
    "engine/seller.py Seller": "one method a transition of the table: the seller's whole life in one file",
    "history/carried.py": "reads pinned files by their formats",
    "history/carrying.py": "reads pinned files by their formats",
    "nightly/by_hand.py": "both ways to publish by hand: each opens a date, publishes it and notes it",
    "nightly/engine.py": WIRING,
    "nightly/journal_opening.py": WIRING,
    "nightly/publishing.py": WIRING,
    "nightly/rereading.py": WIRING,
    "nightly/resumable.py": "knows all that earlier runs of a date may have left: journal, snapshot, logs",
    "nightly/workers.py": WIRING,
    "nightly/workers.py Workers": STATES,
    "options.py RunSettings": "one field an option, and nothing else",
    "planning/inputs.py": WIRING,
    "rules/address.py AddressCheck": STATES,
    "rules/lookahead.py Ahead": STATES,
    "rules/outage.py Breaker": STATES,
    "rules/shares.py Shares": STATES,
    "simulator/server.py Simulator": "one method a route",
    "store/journal.py": WIRING,
    "store/ledger.py Ledger": STATEMENTS,
    "store/repair.py": "looks at every table and file that can be damaged",
    "store/publishing.py": "publishes what every other part of the store has written",
}
"""What is beyond a limit, and why. Take a line away once it is not needed; add none without a reason."""

TREES = {path.relative_to(CRAWLER).as_posix(): ast.parse(path.read_text()) for path in CRAWLER.rglob("*.py")}


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield f"{path} {node.name}", node


def methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]


def imported(tree: ast.Module) -> set[tuple[str, str]]:
    """The names of this project that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "crawler":
            found |= {(node.module or "", alias.name) for alias in node.names}
    return found


def assigned(function: ast.AST) -> set[str]:
    """The attributes of `self` that a method sets."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def fields(node: ast.ClassDef) -> set[str]:
    """What the body of a class declares or sets."""
    targets: list[ast.expr] = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
    targets += [target for part in node.body if isinstance(part, ast.Assign) for target in part.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_no_module_knows_too_many_names() -> None:
    many = {path: len(imported(tree)) for path, tree in TREES.items()}
    many = {path: count for path, count in many.items() if count > MAX_IMPORTED_NAMES}
    assert many.keys() <= BEYOND_THE_LIMIT.keys(), many


def test_no_class_is_too_long() -> None:
    sizes = {name: ((node.end_lineno or 0) - node.lineno + 1, len(methods(node))) for name, node in classes()}
    large = {n: size for n, size in sizes.items() if size[0] > MAX_CLASS_LINES or size[1] > MAX_METHODS}
    assert large.keys() <= BEYOND_THE_LIMIT.keys(), large


def test_every_attribute_is_born_where_its_object_is() -> None:
    """In `__init__`, or as a field of the class: nothing is there only after some other method has run."""
    for name, node in classes():
        born = fields(node).union(*(assigned(m) for m in methods(node) if m.name == "__init__"))
        later = set[str]().union(*(assigned(method) for method in methods(node))) - born
        assert not later, f"{name} sets {later} outside __init__"


def test_nothing_is_logged_but_events_of_the_table() -> None:
    """Only a sentence can be logged, and only a call of an event makes one."""
    assert {path for path, tree in TREES.items() if imports(tree, "logging")} == {
        "events.py",
        "report/log_lines.py",
    }
    assert {path for path, tree in TREES.items() if calls(tree, "Sentence")} == {"events.py"}


def test_each_event_is_called_with_its_fields() -> None:
    called = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            for event in called_events(node):
                assert isinstance(node, ast.Call)
                called.add(event.name)
                given = sorted(str(keyword.arg) for keyword in node.keywords)
                assert given == sorted(event.given), f"{path}:{node.lineno}"
    assert called == events.EVENTS.keys(), "an event is never told, or not by `events.NAME(...)`"


def called_events(node: ast.AST) -> Iterator[LogEvent]:
    """The event that `events.NAME(...)` calls, or both of a choice."""
    if isinstance(node, ast.Call):
        what = node.func
        for each in (what.body, what.orelse) if isinstance(what, ast.IfExp) else (what,):
            if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "events":
                event = getattr(events, each.attr)
                assert isinstance(event, LogEvent)
                yield event


def imports(tree: ast.Module, name: str) -> bool:
    return any(
        getattr(node, "module" if isinstance(node, ast.ImportFrom) else "name") == name
        for node in ast.walk(tree)
        if isinstance(node, ast.alias | ast.ImportFrom)
    )


def calls(tree: ast.Module, name: str) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name
        for node in ast.walk(tree)
    )


def test_no_exception_is_for_what_is_gone() -> None:
    names = TREES.keys() | {name for name, _ in classes()}
    assert BEYOND_THE_LIMIT.keys() <= names, "take away the lines of what is gone"
