"""Campaigns by seed: each seed in a folder of its own, on several processes, and what broke a promise."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Played = tuple[int, str | None, str, int, int]
"""A seed; what broke, or None; a digest of how it went; its runs, and its requests."""


@contextmanager
def own_folder(prefix: str) -> Iterator[Path]:
    """A folder that is removed again; in memory where there is room: every commit waits for its disk."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def quiet_down() -> None:
    """Abandoned tasks of killed runs are expected; their complaints are not."""
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _error: None
    gc.freeze()


def play_all(
    play: Callable[[int], Played], seeds: range, jobs: int, noun: str, seeds_a_process: int, chunk: int = 1
) -> int:
    """Play seeds and print what broke; the exit code is 1 where any did."""
    began, runs, requests, broken = time.monotonic(), 0, 0, 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, quiet_down, maxtasksperchild=seeds_a_process) as pool:
        for seed, what, _, of_seed, sent in pool.imap_unordered(play, seeds, chunk):
            runs, requests = runs + of_seed, requests + sent
            if what is not None:
                broken += 1
                print(f"seed {seed} broke a promise: {what}", flush=True)
    wall = time.monotonic() - began
    print(
        f"{len(seeds)} {noun}, {runs} runs, {requests} requests, {broken} broken; "
        f"{len(seeds) / wall * 60:.0f} {noun} a minute"
    )
    return 1 if broken else 0
