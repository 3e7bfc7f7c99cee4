"""Print constraints that pin each runtime dependency to the lowest version that pyproject.toml allows.

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
    lowest = floors([*project["dependencies"], *extras["duckdb"]])
    tools = {name.lower() for name in floors(extras["dev"])} - lowest.keys()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.partition("==")[0].lower() in tools:
            print(line)
    for name, version in lowest.items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
