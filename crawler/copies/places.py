"""Where copies go, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crawler.options import OutputSettings

PlaceKind = Literal["bucket"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place that gets copies, and how it is reached: `address` names it."""

    kind: PlaceKind
    address: str
    endpoint: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        return self.address


def places_of(output: OutputSettings) -> list[Place]:
    """The places that the settings name, in the order in which they get what is published."""
    places: list[Place] = []
    if output.url is not None:
        places.append(Place("bucket", output.url, output.endpoint, output.region))
    return places
