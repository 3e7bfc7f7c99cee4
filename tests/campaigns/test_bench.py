"""What the benches stand on: they are run by hand, and would break unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

BENCH = Path(__file__).parents[2] / "bench"


def test_the_memory_bench_fills_a_journal(tmp_path: Path) -> None:
    """What `make bench-memory` publishes is put into a journal by the store's parts as they are now."""
    subprocess.run([sys.executable, str(BENCH / "memory.py"), "shop", str(tmp_path), "3", "25"], check=True)
    (segment,) = tmp_path.glob("data/state/journal/*.segments/*.arrow")
    assert pa.ipc.open_file(str(segment)).read_all().num_rows == 3 * 25
