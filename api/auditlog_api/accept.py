"""Choosing the form of an answer by the request's Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from auditlog_api.problem import Problem


def chosen(accept: str | None, offered: Sequence[str]) -> str:
    """Return the media type to answer with: of those offered, the one that is liked best.

    Args:
        accept: the header; None or empty accepts everything.
        offered: media types; among equally liked ones the first.

    Raises:
        Problem: 406, none of them is accepted.
    """
    if not accept or accept == "*/*":
        return offered[0]
    ranges = [_range(part) for part in accept.split(",")[:50]]
    liked = [(_quality(media_type, ranges), -place) for place, media_type in enumerate(offered)]
    quality, place = max(liked)
    if quality <= 0:
        raise Problem(406, "not-acceptable", f"this is answered as {', '.join(offered)}")
    return offered[-place]


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    return name, quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return how much a media type is liked: the most specific range that covers it says so."""
    group = media_type.partition("/")[0] + "/*"
    for wanted in (media_type, group, "*/*"):
        found = [quality for name, quality in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0
