"""What workers ask and the driver replies: plain values, so that nothing from the wire is unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar


class MessageError(Exception):
    """A message has not the form that it should have."""


class LostError(Exception):
    """The driver does not know the attempt any more: it must not send, spend or write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A worker asks for an attempt at a shard.

    `can_share`: it reads and writes the driver's data folder.
    """

    shard: int
    worker: str
    version: str
    can_share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """An attempt, or why there is `nothing` to do.

    `sellers`, `first_pages` and `to_repair` are as `shard_sellers` makes them. Pages go to the file `log`, or
    to the driver where it is empty. `slots` are the share that the same worker had in its last attempt.
    `trusts_others`: an answer that others had speaks against a seller that has none here.
    """

    fence: int = 0
    run_id: str = ""
    lease_s: float = 0.0
    sellers: Sequence[dict[str, Any]] = ()
    first_pages: Sequence[Sequence[Any]] = ()
    to_repair: Sequence[Sequence[Any]] = ()
    log: str = ""
    workers: int | None = None
    version: int = 0
    slots: Sequence[int] = ()
    trusts_others: bool = False
    is_address_proven: bool = False
    nothing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an attempt has sent so far, and how it ended; see `RequestCounts`.

    `by_key`: how requests ended with each of several keys.
    """

    sent: int = 0
    ok: int = 0
    retried: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    last_error: Sequence[Any] | None = None
    latencies: Sequence[int] = ()
    latency_s: float = 0.0
    probes: Sequence[int] = (0, 0, 0, 0)
    by_key: Sequence[dict[str, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """An attempt goes on.

    It has `applied` the share of that version, and `wants` so many places a window. `charged` are the credits
    that have gone with its requests, by key. `durable` bytes of its log are on disk. `slowed` are its
    bursts of 429s since the last renewal, see `Slowdown`. `retired` are keys that the API refused:
    number, why, and in words. `logs`: event, sentence and fields of each line of its log.
    """

    fence: int
    applied: int
    wants: int
    charged: Sequence[int]
    durable: int
    figures: dict[str, Any]
    has_answer: bool = False
    is_address_proven: bool = False
    slowed: Sequence[Sequence[Any]] = ()
    retired: Sequence[Sequence[Any]] = ()
    clock: Sequence[float] | None = None
    logs: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The lease of an attempt is renewed: its share by key, and what the others have met."""

    version: int
    slots: Sequence[int]
    stop: str = ""
    slowed: Sequence[Sequence[Any]] = ()
    retired: Sequence[Sequence[Any]] = ()
    others_have_answer: bool = False
    is_address_proven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """An attempt asks for credits of a key; `in_use` are in use or wanted.

    Asked again under the same `number`, it is answered the same: the reply before may have been lost.
    """

    fence: int
    number: int
    key: int
    in_use: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Credits; or why there are none: others may return theirs, a budget is spent, or only the key's is."""

    credits: int = 0
    must_wait: bool = False
    spent: str = ""
    key_spent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """An attempt's records, see `record_frames`; they are durable when the reply comes.

    A frame that comes again under the same `number` is written once.
    """

    fence: int
    number: int
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An attempt is over; nobody sends by it any more. See `Outcome` for the words.

    `refused` are requests in doubt, one a seller: seller, page, what the API said, and its kind.
    """

    fence: int
    outcome: str
    message: str
    charged: Sequence[int]
    durable: int
    figures: dict[str, Any]
    has_answer: bool = False
    is_address_proven: bool = False
    refused: Sequence[Sequence[Any]] = ()
    logs: Sequence[Sequence[Any]] = ()


_KINDS: dict[str, type[Any]] = {
    "begin": Begin,
    "renew": Renew,
    "reserve": Reserve,
    "keep": Keep,
    "end": End,
}
_OPS = {kind: op for op, kind in _KINDS.items()}
_T = TypeVar("_T")

Message = Begin | Renew | Reserve | Keep | End


def as_plain(message: Any) -> dict[str, Any]:
    """A message or a reply as it travels."""
    plain = asdict(message)
    if type(message) in _OPS:
        plain["op"] = _OPS[type(message)]
    return plain


def message_of(plain: dict[str, Any]) -> Message:
    """A message as it came. Raises `MessageError` where it is none."""
    kind = _KINDS.get(plain.get("op", ""))
    if kind is None:
        raise MessageError(f"{plain.get('op')!r} is no message")
    found: Message = _filled(kind, {name: value for name, value in plain.items() if name != "op"})
    return found


def reply_of(kind: type[_T], plain: dict[str, Any]) -> _T:
    """A reply as it came. Raises `LostError` where the attempt is given up, or `MessageError`."""
    if plain.get("lost"):
        raise LostError
    return _filled(kind, plain)


LOST: dict[str, Any] = {"lost": True}
STOP_AT_ONCE = "interrupted"
"""What `Granted.stop` says where requests in flight get no longer than `run.grace`."""


def _filled(kind: type[_T], plain: dict[str, Any]) -> _T:
    unknown = plain.keys() - {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise MessageError(f"{kind.__name__} has no {', '.join(sorted(map(str, unknown)))}")
    try:
        return kind(**plain)
    except TypeError as error:
        raise MessageError(str(error)) from None
