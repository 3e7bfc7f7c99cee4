"""The way from a worker to its driver: `comms.py` has the real one, tests bring others."""

from __future__ import annotations

from typing import Any, Protocol


class LinkError(Exception):
    """A message was not answered: whether it arrived is not known."""


class Link(Protocol):
    """Carries one message at a time to the driver, and its reply back."""

    async def call(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a message and return the reply. Raises `LinkError` where none comes in time."""
