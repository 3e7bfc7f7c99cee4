"""`crawler verify`: print what is damaged, missing or foreign, and how much was read."""

from __future__ import annotations

import sys
from dataclasses import asdict

import orjson

from crawler.commands.gc import in_units
from crawler.models.errors import OutputError
from crawler.nightly.verifying import verify
from crawler.options import Settings


def verify_command(settings: Settings, *, as_json: bool) -> int:
    """Read all that is there and say what is wrong with it; 0 where nothing is.

    Raises `InputError` where it is no data folder, `OutputError` where anything is wrong.
    """
    done = verify(settings.run.data)
    for note in done.notes:
        sys.stderr.write(f"crawler: {note}\n")
    if as_json:
        sys.stdout.write(orjson.dumps(asdict(done), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        for each in done.findings:
            sys.stdout.write(f"{each.kind:8}  {each.path}: {each.reason}\n")
        sys.stdout.write(
            f"{done.nights} nights: {done.files} files, {in_units(done.bytes)}, {done.rows} rows, and "
            f"{done.databases} databases were read\n"
        )
    if done.findings:
        raise OutputError(f"{len(done.findings)} findings under {settings.run.data}: see standard output")
    return 0
