"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at and what was found.

    Attributes:
        name: what was looked at, in a word or two.
        status: ``note`` is worth knowing and no failure.
        found: in one line.
        next: what to do about it; empty when there is nothing to do.
    """

    name: str
    status: Status
    found: str
    next: str = ""
