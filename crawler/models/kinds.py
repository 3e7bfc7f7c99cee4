"""The kinds of values that an option may have; `allowed` says for messages what a value must be."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

_NAMED_ENDS = 10**9
"""A range is said without its upper end where that is larger: nobody reaches it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    metavar: str = ""
    allowed: str = "true or false"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """The placeholder of the value in `--help`."""
        return "|".join(self.words)

    @property
    def allowed(self) -> str:
        """The words, as a list for people."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`; `above` leaves `low` itself out, `unit` may follow the number.

    `is_whole` takes whole numbers only; `word` is one that may be given instead of a number.
    """

    low: float = -inf
    high: float = inf
    noun: str = "a number"
    above: bool = False
    unit: str = ""
    is_whole: bool = False
    word: str = ""
    metavar: str = "N"

    def holds(self, value: float) -> bool:
        """Whether a number lies within the range."""
        return isfinite(value) and self.low <= value <= self.high and not (self.above and value == self.low)

    @property
    def range(self) -> str:
        """The range for people, empty where there is none."""
        if self.above:
            return f"above {self.low:g}"
        if self.high <= _NAMED_ENDS:
            return f"{self.low:.9g} to {self.high:.9g}"
        return "" if self.low == -inf else f"{self.low:g} or more"

    @property
    def allowed(self) -> str:
        """The kind of number and its range."""
        words = self.range.removesuffix(" or more")
        words = words if self.above or not words else f"from {words}"
        return " ".join(filter(None, (self.word and f"{self.word} or", self.noun, words)))


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a certain form."""

    form: Literal["address", "file", "folder", "column", "zone", "date", "hook", "template", "words", "codes"]
    allowed: str
    metavar: str = ""


Kind = Switch | Choice | Number | Text
