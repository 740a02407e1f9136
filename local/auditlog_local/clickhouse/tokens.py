"""A lexer for ClickHouse SQL: just enough to find keywords without being fooled by strings and comments.

Source: ClickHouse's `src/Parsers/Lexer.cpp` (comments ``--``, ``#!``, ``# `` and ``/* */``, strings with
backslash and doubled-quote escapes, quoted identifiers, ``$tag$`` heredocs). Works on bytes, since a
statement's strings and the data behind an INSERT may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_PATTERN = re.compile(
    rb"""
      (?P<space>[\s\x00]+ | --[^\n]* | \#[!\x20][^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<string>'(?:[^'\\]++|\\.|'')*+(?:'|\\?\Z))
    | (?P<quoted>`(?:[^`\\]++|\\.|``)*+(?:`|\\?\Z) | "(?:[^"\\]++|\\.|"")*+(?:"|\\?\Z))
    | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<number>[0-9][0-9A-Za-z_.]*)
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = frozenset((b"(", b"[", b"{"))
_CLOSING = frozenset((b")", b"]", b"}"))


class Token(NamedTuple):
    """One token: kind (string, quoted, heredoc, word, number, symbol), text, place, depth in brackets."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, *keywords: bytes) -> bool:
        """Whether this is one of the keywords (given in upper case)."""
        return self.kind == "word" and self.text.upper() in keywords

    def is_symbol(self, symbol: bytes) -> bool:
        """Whether this is exactly that one character."""
        return self.kind == "symbol" and self.text == symbol


def tokens(sql: bytes, start: int = 0) -> Iterator[Token]:
    """The tokens of ``sql`` from ``start`` on, lazily; both brackets of a pair have the outer depth."""
    depth = 0
    position = start
    while (match := _PATTERN.match(sql, position)) is not None:
        position = match.end()
        kind = match.lastgroup
        if kind == "tag":
            kind = "heredoc"
        if kind is None or kind == "space":
            continue
        text = match.group()
        if kind == "symbol" and text in _CLOSING:
            depth = max(0, depth - 1)
        yield Token(kind, text, match.start(), match.end(), depth)
        if kind == "symbol" and text in _OPENING:
            depth += 1


_ESCAPES = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"0": b"\0",
    b"b": b"\b",
    b"f": b"\f",
    b"a": b"\a",
    b"v": b"\v",
}


def unquote(token: Token) -> str:
    """The value of a string literal, a quoted identifier or a bare word."""
    if token.kind not in ("string", "quoted"):
        return token.text.decode("utf-8", "replace")
    quote = token.text[:1]
    inner = token.text[1:-1].replace(quote * 2, b"\\" + quote)
    value = re.sub(rb"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), inner, flags=re.DOTALL)
    return value.decode("utf-8", "replace")


def quote_string(value: str) -> bytes:
    """``value`` as a ClickHouse string literal."""
    return (
        b"'" + value.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
    )


def quote_identifier(name: str) -> bytes:
    """``name`` as a quoted ClickHouse identifier."""
    return b"`" + name.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b"`", b"\\`") + b"`"
