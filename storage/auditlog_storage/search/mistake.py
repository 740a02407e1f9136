"""A mistake in a search: where it is and what was expected there."""

from __future__ import annotations

from collections.abc import Sequence

from auditlog_schemas.errors import BadFilter


class BadSearch(BadFilter):
    """A search that cannot be understood.

    Attributes:
        text: the whole search.
        position: index of the character where the mistake is, from 0; ``len(text)`` for its end.
        problem: what is wrong, in a few words.
        expected: what could stand there instead, each in a few words; never empty.
    """

    def __init__(self, text: str, position: int, problem: str, expected: Sequence[str]) -> None:
        self.text = text
        self.position = position
        self.problem = problem
        self.expected = list(expected)
        super().__init__(f"search: {problem} at character {position + 1}; expected {_joined(self.expected)}")


def _joined(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
