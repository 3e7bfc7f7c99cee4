"""docs/promises.md: each promise names a module that keeps it and a test that holds it, and both exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"
FIRST_PARTS = {str(number) for number in range(1, 8)}
"""The numbered promises; what is promised of snapshots, exit codes and secrets follows them."""


def faults(page: str) -> list[str]:
    """What is wrong with a page of promises, each fault in a sentence."""
    found: list[str] = []
    parts = re.split(r"^\*\*(\d+\.\d+)\*\*", page, flags=re.MULTILINE)[1:]
    numbers = parts[::2]
    found += [
        f"promise {number} is there twice" for number in sorted({n for n in numbers if numbers.count(n) > 1})
    ]
    for number, text in zip(numbers, parts[1::2], strict=True):
        for label, folder in (("kept by", "crawler/"), ("held by", "tests/")):
            line = re.search(rf"^- {label}: (.*)$", text, re.MULTILINE)
            named = re.findall(r"`([^`]+)`", line[1]) if line else []
            if not named:
                found.append(f"promise {number} has no line '- {label}: `{folder}…`'")
            found += [fault for name in named if (fault := fault_of(number, name, folder))]
    missing = FIRST_PARTS - {number.partition(".")[0] for number in numbers}
    return found + [f"promise {number} is missing" for number in sorted(missing)]


def fault_of(number: str, name: str, folder: str) -> str:
    path, _, function = name.partition("::")
    where = f"promise {number} names `{name}` (docs/promises.md)"
    if not path.startswith(folder) or not (ROOT / path).is_file():
        return f"{where}: there is no file {path}; name the file that has taken its place"
    if function and not re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE):
        return f"{where}: {path} has no {function}; name the test that has taken its place, or the file alone"
    return ""


def test_each_promise_has_a_module_and_a_test_that_exist() -> None:
    assert faults(PAGE.read_text()) == []


def test_what_is_missing_is_named() -> None:
    page = PAGE.read_text()
    assert faults("") == [f"promise {number} is missing" for number in sorted(FIRST_PARTS)]
    assert faults(f"{page}\n**2.1** Again.\n")[:1] == ["promise 2.1 is there twice"]
    for harmed, what in (
        (
            page.replace("crawler/rules/recovery.py", "crawler/rules/again.py"),
            "no file crawler/rules/again.py",
        ),
        (page.replace("::test_promise_4", "::test_promise_x"), "has no test_promise_x"),
        (
            page.replace("- held by: `tests/engine/test_outage.py`", "- `tests/engine/test_outage.py`"),
            "held by",
        ),
        (page.replace("`crawler/rules/outage.py`", "`tests/engine/test_outage.py`"), "no file tests"),
    ):
        assert any(what in fault for fault in faults(harmed)), what
