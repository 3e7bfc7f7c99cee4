"""The processes below one, as /proc has them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """A process: its ID may be another one's later, its start cannot."""

    pid: int
    parent: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Seen | None:
        """What runs under this ID; None where nothing does, or only its end is not noted yet."""
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] == "Z" else cls(pid, int(fields[1]), fields[19])
        return None

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        now = Seen.of(self.pid)
        return now is not None and now.started == self.started

    @property
    def command(self) -> bytes:
        """Its command line."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/cmdline").read_bytes()
        return b""


def processes_below(pid: int) -> list[Seen]:
    """All processes below one, by their parents."""
    children: dict[int, list[Seen]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if (seen := Seen.of(int(path.name))) is not None:
            children.setdefault(seen.parent, []).append(seen)
    found, left = list[Seen](), children.get(pid, [])
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one.pid, [])
    return found


def workers_of(pid: int) -> list[int]:
    """The processes of Dask workers below one: each has a nanny."""
    return [each.pid for each in processes_below(pid) if b"spawn_main" in each.command]
