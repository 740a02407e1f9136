"""Shares: who may have how much of something of which there is only so much.

Whoever asks is a path, from the whole to the part: an account, all its viewer tokens, one of them. Every
step of it has a most of its own, so that no part can use up what the parts beside it are to have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from auditlog_api import metrics
from auditlog_api.problem import Problem

VIEWERS: Final = "viewers"


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the part before it, and how much it may have at the same time."""

    name: str
    most: int


Path: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose share something is taken from.

    Attributes:
        account_id: the account's.
        token: and in it that of this token; no secret.
        is_viewer: whether it is a viewer token, which an end user's browser has.
    """

    account_id: str
    token: str
    is_viewer: bool = False

    def path(self, account_most: int) -> Path:
        """Return the path of who asks, when an account may have so many.

        An API token may have all of its account's. All viewer tokens together have three quarters of it at
        most, and one of them half: what end users do leaves something to the vendor's own programs, and to
        other end users.
        """
        account = Step(self.account_id, account_most)
        if not self.is_viewer:
            return (account, Step(self.token, account_most))
        viewers = Step(VIEWERS, max(1, account_most - account_most // 4))
        return (account, viewers, Step(self.token, max(1, account_most // 2)))


class Places:
    """Counts what is under way, in all and for each step of a path; for one event loop.

    Args:
        account_most: for one account.
        limit: what refusals are counted as, one of `metrics.REFUSALS`.
        what: what is counted, for whoever has too many.
        retry_seconds: when those may try again.
    """

    def __init__(self, account_most: int, limit: str, what: str, retry_seconds: int) -> None:
        self._account_most = account_most
        self._limit = limit
        self._what = what
        self._retry_seconds = retry_seconds
        self._taken: Counter[tuple[str, ...]] = Counter()

    @property
    def taken(self) -> int:
        """How many are under way in all."""
        return self._taken[()]

    def require(self, asker: Asker) -> None:
        """Raise a Problem, 429, unless there is room for one more."""
        for depth, step in enumerate(asker.path(self._account_most)):
            if self._taken[self._keys(asker)[depth + 1]] >= step.most:
                metrics.REFUSED.labels(self._limit).inc()
                whose = ("this account has", "its viewer tokens have", "this viewer token has")[depth]
                detail = f"{whose} {step.most} {self._what} already; send fewer at a time"
                raise Problem(429, "too-many-requests", detail, {"Retry-After": str(self._retry_seconds)})

    def take(self, asker: Asker) -> None:
        """Count one more.

        Raises:
            Problem: 429, there is no room; nothing was counted.
        """
        self.require(asker)
        self._taken.update(self._keys(asker))

    def give_back(self, asker: Asker) -> None:
        """Count one less of an asker's."""
        for key in self._keys(asker):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    @contextmanager
    def one_more(self, asker: Asker) -> Iterator[None]:
        """Count one more while inside; raises as `take` does."""
        self.take(asker)
        try:
            yield
        finally:
            self.give_back(asker)

    def _keys(self, asker: Asker) -> list[tuple[str, ...]]:
        names = [step.name for step in asker.path(self._account_most)]
        return [tuple(names[:length]) for length in range(len(names) + 1)]
