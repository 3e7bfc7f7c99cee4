"""Faults on demand: what goes wrong, how often, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from crawler.errors import InputError

KINDS = (
    "status=N",
    "code=N",
    "reset",
    "cut",
    "slow",
    "hang",
    "malformed",
    "html",
    "control",
    "surrogate",
    "null",
    "object",
    "odd",
)
"""What can be asked for: `status=500:0.01,reset:0.005` and so on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault and its share of the requests, 0 to 1."""

    kind: str
    share: float
    number: int = 0


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read `kind[=number]:share,…`; raises `InputError` that names the part it cannot read."""
    return tuple(_parse_fault(part.strip()) for part in text.split(",") if part.strip())


def drawn(faults: tuple[Fault, ...], seed: int, seller_id: str, page_num: int, attempt: int) -> Fault | None:
    """The fault of one attempt at one page, whatever order requests come in."""
    if not faults:
        return None
    told = f"{seed} {seller_id} {page_num} {attempt}".encode()
    chance = int.from_bytes(blake2b(told, digest_size=8).digest(), "big") / 2**64
    for fault in faults:
        if chance < fault.share:
            return fault
        chance -= fault.share
    return None


def _parse_fault(part: str) -> Fault:
    what, _, share = part.partition(":")
    kind, _, number = what.partition("=")
    known = {k.partition("=")[0] for k in KINDS}
    try:
        fault = Fault(kind, float(share), int(number or 0))
    except ValueError:
        raise InputError(f"fault {part!r}: kind:share is wanted, such as status=500:0.01") from None
    if kind not in known or not 0 <= fault.share <= 1:
        raise InputError(f"fault {part!r}: one of {', '.join(KINDS)} is wanted, with a share from 0 to 1")
    return fault
