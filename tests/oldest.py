"""Print constraints that pin each runtime dependency to the lowest version that pyproject.toml allows.

Everything else, the test tools included, stays as `constraints.txt` pins it. Used by `make test-oldest`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def lowest_versions() -> dict[str, str]:
    """Each runtime dependency's floor, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = (re.fullmatch(r"([\w-]+)>=([\d.]+)", line) for line in project["dependencies"])
    return {match[1]: match[2] for match in found if match}


def main() -> None:
    """Write the constraints to standard output."""
    floors = lowest_versions()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name = line.partition("==")[0]
        # What a floor needs of its own companions is for pip to find.
        if name not in floors and name not in {"pydantic", "pydantic_core"}:
            print(line)
    for name, version in floors.items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
