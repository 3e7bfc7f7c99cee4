"""What comparing and judging a snapshot costs: publishing with both, and without either.

`changes.py [FOLDER]`; in the environment `ROWS` is how many rows each of the two dates has, `ROUNDS` how
often the second one is published. The journals are filled as in `memory.py`; each publishing is the command
line in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from memory import DATE, NEXT_DATE, Peak, command, measured, own
from place import new_folder
from spread import in_words, keep, spread

SELLER_ROWS = 100
_WITHOUT = "without"


def published(folder: Path, date: str, *mode: str) -> Peak:
    """Publish a date, anew where it is published already."""
    shutil.rmtree(folder / "data" / "changes" / f"crawl_date={date}", ignore_errors=True)
    python, _, _, *options = command(folder, date=date)
    peak = measured([python, __file__, "crawler", *mode, *options, "--late"])
    if peak.code:
        raise SystemExit(f"publishing {date} ended with exit code {peak.code}")
    return peak


def crawler(arguments: list[str]) -> None:
    """The command line in this process; `without` as the first argument takes comparison and verdict away."""
    from crawler.__main__ import main  # noqa: PLC0415 - the process that measures stays small

    if arguments[:1] == [_WITHOUT]:
        del arguments[0]
        _take_away()
    sys.argv = ["crawler", *arguments]
    main()


def _take_away() -> None:
    """Review nothing. The command line first chooses Arrow's memory pool, so Arrow is not imported yet."""
    from crawler.settings import load as module  # noqa: PLC0415

    usual = module.load

    def load(*arguments: Any) -> module.Loaded:
        from crawler.history import review  # noqa: PLC0415
        from crawler.store.snapshot import Reviewed  # noqa: PLC0415

        review.review_staged = lambda *_: Reviewed()
        return usual(*arguments)

    module.load = load


def line(name: str, rounds: list[Peak]) -> str:
    """What one of the two took, in words."""
    wall, cpu, mib = ([getattr(each, at) for each in rounds] for at in ("seconds", "cpu", "mib"))
    return f"{name:8} {in_words(wall, '.1f')} s, {in_words(cpu, '.1f')} s CPU, {in_words(mib, '.0f')} MiB"


def report(rows: int, rounds: list[tuple[Peak, Peak]], load: tuple[float, float, float]) -> None:
    """Print and keep what was measured."""
    compared, plain = ([each[at] for each in rounds] for at in (0, 1))
    wall = [one.seconds / other.seconds for one, other in rounds]
    cpu = [one.cpu / other.cpu for one, other in rounds]
    print(f"two dates of {rows:,} rows; the second one published")
    print(line("with", compared))
    print(line(_WITHOUT, plain))
    print(f"with / without: {in_words(wall)} time, {in_words(cpu)} CPU", flush=True)
    kept = [{"with": one._asdict(), _WITHOUT: other._asdict()} for one, other in rounds]
    about = {"rows": rows, "seller_rows": SELLER_ROWS, "cpus": os.cpu_count(), "load_before": load}
    peak, without = (max(each.mib for each in peaks) for peaks in (compared, plain))
    peaks = {"peak_mib": peak, "peak_mib_without": without}
    ratios = {"time_ratio": spread(wall), "cpu_ratio": spread(cpu)}
    keep("changes", {**about, **peaks, **ratios, "rounds": kept})


def main() -> None:
    """All rounds, or in a child one publishing."""
    if sys.argv[1:2] == ["crawler"]:
        crawler(sys.argv[2:])
        return
    rows, load = int(os.environ.get("ROWS", "10000000")), os.getloadavg()
    with new_folder() as name:
        folder = Path(name)
        for date in (DATE, NEXT_DATE):
            own("shop", folder, rows // SELLER_ROWS, SELLER_ROWS, date)
        published(folder, DATE)
        count = int(os.environ.get("ROUNDS", "3"))
        rounds = [
            (published(folder, NEXT_DATE), published(folder, NEXT_DATE, _WITHOUT)) for _ in range(count)
        ]
        report(rows, rounds, load)


if __name__ == "__main__":
    main()
