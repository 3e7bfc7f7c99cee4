"""Where copies go, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crawler.options import OutputSettings

PlaceKind = Literal["bucket", "delta"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place that gets copies, and how it is reached: `address` names it."""

    kind: PlaceKind
    address: str
    endpoint: str | None = None
    region: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of this machine."""
        return "://" not in self.address

    def __str__(self) -> str:
        return self.address


def places_of(output: OutputSettings) -> list[Place]:
    """The places that the settings name, in the order in which they get what is published."""
    places: list[Place] = []
    if output.url is not None:
        places.append(Place("bucket", output.url, output.endpoint, output.region))
    if output.delta is not None:
        is_folder = "://" not in output.delta
        address = str(Path(output.delta).absolute()) if is_folder else output.delta
        reach = (None, None) if is_folder else (output.endpoint, output.region)
        places.append(Place("delta", address, *reach))
    return places
