"""How certain it is that a video is among those that gained most."""

from __future__ import annotations

from enum import StrEnum


class Certainty(StrEnum):
    """Whether a mover is certainly among the K that gained most, or as far as was read."""

    PROVED = "proved"
    LIKELY = "likely"
