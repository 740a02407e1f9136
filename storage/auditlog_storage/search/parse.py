"""From text to a search: the grammar, and every mistake with its place."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Final

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from auditlog_schemas.errors import BadFilter
from auditlog_storage.search.fields import FIELDS, TEXT, Field
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.mistake import BadSearch
from auditlog_storage.search.search import Search, Term, searching
from auditlog_storage.search.values import BadValue, Value

TEXT_CHARACTERS_MAX: Final = 2_000
TERMS_MAX: Final = 50
VALUES_MAX: Final = 200
"""Alternatives in all terms together."""

GRAMMAR: Final = r"""
start: _WS? (term (_WS term)* _WS?)?
term: NOT? (FIELD value ("," value)* | free)
value: (BARE | QUOTED)+
free: (WORD | QUOTED) (WORD | QUOTED)*

_WS: /\s+/
NOT: "-"
FIELD.2: /[A-Za-z_]+(\.([^\s":,*]+|"(\\.|[^"\\])*"))?:/
QUOTED: /"(\\.|[^"\\])*"/s
BARE: /[^\s",]+/
WORD: /[^\s"\-:,][^\s"]*/
"""

_EXPECTED: Final = {
    "NOT": "",
    "FIELD": "a field such as action:",
    "WORD": "text to look for",
    "BARE": "a value",
    "QUOTED": "text in quotes",
    "COMMA": "a comma and another value",
    "_WS": "a space",
    "$END": "the end",
}
_OPERATORS: Final = {"OR", "AND", "NOT"}
_ESCAPE: Final = re.compile(r"\\([\\\"])")


def parse_search(text: str, now: datetime) -> Search:
    """Return what a text asks for.

    Args:
        text: at most `TEXT_CHARACTERS_MAX` characters with `TERMS_MAX` terms and `VALUES_MAX` values. An
            empty text asks for everything.
        now: what relative times such as ``3d`` count from (aware).

    Raises:
        BadSearch: the text is not of the language; it says where and what was expected.
        BadFilter: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise BadFilter("search: the time it counts from needs a time zone")
    if len(text) > TEXT_CHARACTERS_MAX:
        expected = f"at most {TEXT_CHARACTERS_MAX:,} characters, these are {len(text):,}"
        raise BadSearch(text, TEXT_CHARACTERS_MAX, "too long", [expected])
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _mistake(text, error) from None
    trees = [child for child in tree.children if isinstance(child, Tree)]
    if len(trees) > TERMS_MAX:
        raise BadSearch(text, _start(trees[TERMS_MAX]), "one term too many", [f"at most {TERMS_MAX} terms"])
    return searching(_Reading(text, now).terms(trees), now)


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual")


class _Reading:
    """The terms of one text; counts their values."""

    def __init__(self, text: str, now: datetime) -> None:
        self._text = text
        self._now = now
        self._values = 0

    def terms(self, trees: list[Tree[Token]]) -> list[Term]:
        return [self._term(tree) for tree in trees]

    def _term(self, tree: Tree[Token]) -> Term:
        children = list(tree.children)
        negated = isinstance(children[0], Token) and children[0].type == "NOT"
        head = children[1] if negated else children[0]
        if isinstance(head, Tree):
            self._refuse_operator(head)
            return Term(TEXT, (self._value(head, FIELDS[TEXT]),), negated=negated)
        field, key = self._field(head)
        values = [self._value(child, field) for child in children if isinstance(child, Tree)]
        return Term(field.name, tuple(dict.fromkeys(values)), key, negated)

    def _field(self, token: Token) -> tuple[Field, str]:
        name, _, key = token[:-1].partition(".")
        field = FIELDS.get(name.lower())
        at = token.start_pos or 0
        if field is None or (key and not field.has_key):
            names = [f"{each.name}{'.KEY' if each.has_key else ''}:" for each in FIELDS.values()]
            quotes = "quotes around it if it is text to look for"
            raise BadSearch(self._text, at, f"no field {str(token)[:-1]!r:.60}", [*names, quotes])
        if field.has_key and not key:
            expected = [f".KEY, as in {field.name}.source:web"]
            raise BadSearch(self._text, at + len(token) - 1, "no key", expected)
        return field, _unquoted(key) if key.startswith('"') else key

    def _value(self, tree: Tree[Token], field: Field) -> Value:
        at = _start(tree)
        self._values += 1
        if self._values > VALUES_MAX:
            raise BadSearch(self._text, at, "one value too many", [f"at most {VALUES_MAX} values"])
        try:
            return field.read(_glob(tree), self._now)
        except BadValue as error:
            raise BadSearch(self._text, at, f"{error}", error.expected) from None

    def _refuse_operator(self, tree: Tree[Token]) -> None:
        word = str(tree.children[0])
        if len(tree.children) == 1 and word in _OPERATORS:
            expected = [
                "a space where both must hold",
                "a comma between values where one is enough (action:a,b)",
                "a minus before what must not hold",
                f'"{word}" in quotes for the word',
            ]
            raise BadSearch(self._text, _start(tree), f"no operator {word}", expected)


def _glob(tree: Tree[Token]) -> Glob:
    pieces = [""]
    for token in tree.children:
        assert isinstance(token, Token)
        first, *rest = [_unquoted(token)] if token.type == "QUOTED" else token.split("*")
        pieces[-1] += first
        pieces += rest
    # Two stars in a row are one.
    inner = [piece for piece in pieces[1:-1] if piece]
    return Glob((pieces[0], *inner, pieces[-1]) if len(pieces) > 1 else (pieces[0],))


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(r"\1", text[1:-1])


def _start(tree: Tree[Token]) -> int:
    first = next(tree.scan_values(lambda value: isinstance(value, Token)))
    return int(first.start_pos or 0)


def _mistake(text: str, error: UnexpectedInput) -> BadSearch:
    names: set[str] = set()
    at = len(text)
    if isinstance(error, UnexpectedCharacters):
        names = set(error.allowed)
        at = error.pos_in_stream or 0
        if text[at] == '"':
            return BadSearch(text, at, "a quote that is not closed", ['a closing " behind it'])
    elif isinstance(error, UnexpectedToken):
        names = set(error.accepts or error.expected)
        if error.token.type != "$END":
            at = error.token.start_pos or 0
    found = repr(text[at]) if at < len(text) else "the end"
    expected = [words for name, words in _EXPECTED.items() if name in names and words]
    return BadSearch(text, at, f"unexpected {found}", expected or ["a term"])
