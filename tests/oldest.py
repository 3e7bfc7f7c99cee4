"""Print constraints that pin each dependency of the program and its extras to the lowest version allowed.

Of the extras these are the ones that the tests use: those whose packages `dev` has as well.

The test tools stay as `constraints.txt` pins them; what either needs in turn is for pip to find. Used by
`make test-oldest`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent


def floors(requirements: Iterable[str]) -> dict[str, str]:
    """Each requirement's lowest version, by its name."""
    found = (re.fullmatch(r"([\w-]+)>=([\d.]+)", line) for line in requirements)
    return {match[1]: match[2] for match in found if match}


def main() -> None:
    """Write the constraints to standard output."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    dev = floors(extras.pop("dev"))
    used = [names for each in extras.values() if (names := floors(each)).keys() <= dev.keys()]
    lowest = floors(project["dependencies"])
    for of_extra in used:
        lowest |= of_extra
    tools = {name.lower() for name in dev} - lowest.keys()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.partition("==")[0].lower() in tools:
            print(line)
    for name, version in lowest.items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
