"""The settings `[plausibility]` as the judge takes them."""

from __future__ import annotations

from crawler.options import PlausibilitySettings
from crawler.rules.plausibility import Limits, Range


def limits_of(settings: PlausibilitySettings) -> Limits:
    """The floor and the ceiling of each measure."""
    return Limits(
        *(Range(*(getattr(settings, f"{name}_{end}") for end in Range._fields)) for name in Limits._fields)
    )
