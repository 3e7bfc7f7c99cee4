"""A seller list as a value: unique IDs in their order. `reading.py` makes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Any

from crawler import events

SLICE = 65_536
"""Entries that are looked at together."""
_MIN_ARRAYS_COMPARED = 2


@dataclass(frozen=True, slots=True)
class SellerList:
    """Seller IDs, unique, in order of first appearance, held once in one Arrow string array.

    `repeated` counts the entries that named a seller again, `bad_count` those that were left out.
    `warnings` are for the user: of what was left out, and of IDs that look rounded.
    """

    name: str
    ids: Any
    repeated: int
    bad_count: int
    warnings: tuple[events.Sentence, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return texts_of(self.ids)

    def without(self, known: Iterable[Any]) -> SellerList:
        """The sellers that are in none of some Arrow string arrays."""
        return replace(self, ids=missing(self.ids, known))

    def digest(self) -> str:
        """Equal for two lists of the same sellers in the same order."""
        digest = blake2b(digest_size=16)
        for start in range(0, len(self.ids), SLICE):
            digest.update("\n".join([*self.ids.slice(start, SLICE).to_pylist(), ""]).encode())
        return digest.hexdigest()

    def contains(self, ids: list[str]) -> list[bool]:
        """Whether each ID is in the list."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415

        # A hash table of these few, and not of the whole list.
        wanted = pa.array(ids, pa.string())
        found = self.ids.filter(pc.is_in(self.ids, value_set=wanted))
        return [bool(inside) for inside in pc.is_in(wanted, value_set=found).to_pylist()]


def texts_of(ids: Any) -> Iterator[str]:
    """The texts of an Arrow string array, of which few are there at a time."""
    for start in range(0, len(ids), SLICE):
        yield from ids.slice(start, SLICE).to_pylist()


def missing(ids: Any, known: Iterable[Any]) -> Any:
    """The IDs of an Arrow string array that are in none of others."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    inside: Any = None
    arrays = iter(known)
    # A hash table of all would weigh more than they do.
    while some := list(islice(arrays, max(_MIN_ARRAYS_COMPARED, len(ids) // SLICE // 16))):
        found: Any = pc.is_in(ids, value_set=pa.concat_arrays(some))
        inside = found if inside is None else pc.or_(inside, found)
    pa.default_memory_pool().release_unused()
    return ids if inside is None or inside.true_count == 0 else ids.filter(pc.invert(inside))
