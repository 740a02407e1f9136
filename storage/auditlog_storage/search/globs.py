"""Text with stars: what a value of a search may look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BARE: Final = re.compile(r"[^\s\",*]+")
_LIKE_SPECIAL: Final = re.compile(r"([\\%_])")


@dataclass(frozen=True, slots=True)
class Glob:
    """Literal pieces with a star, which stands for any characters, between each two of them.

    ``license_*`` has the pieces ``license_`` and the empty text; a text without a star is one piece.
    """

    pieces: tuple[str, ...]

    @classmethod
    def exactly(cls, text: str) -> Glob:
        """Return the glob that only this text matches."""
        return cls((text,))

    @property
    def exact(self) -> str | None:
        """Return the only text that matches, or None when there is a star."""
        return self.pieces[0] if len(self.pieces) == 1 else None

    @property
    def text(self) -> str:
        """Return it as the language writes it."""
        return "*".join(written(piece) if piece else "" for piece in self.pieces) or '""'

    @property
    def like(self) -> str:
        """Return it as a pattern for LIKE."""
        return "%".join(_LIKE_SPECIAL.sub(r"\\\1", piece) for piece in self.pieces)

    def divided(self, separator: str) -> tuple[Glob, Glob | None]:
        """Return what stands before and behind the first `separator`; None behind when there is none."""
        for index, piece in enumerate(self.pieces):
            before, found, behind = piece.partition(separator)
            if found:
                return Glob((*self.pieces[:index], before)), Glob((behind, *self.pieces[index + 1 :]))
        return self, None

    def replaced(self, old: str, new: str) -> Glob:
        """Return it with a character replaced in its pieces."""
        return Glob(tuple(piece.replace(old, new) for piece in self.pieces))


def written(text: str) -> str:
    """Return a literal text as a value of the language, in quotes when it needs them."""
    return text if _BARE.fullmatch(text) else quoted_text(text)


def quoted_text(text: str) -> str:
    """Return a literal text in quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
