"""What one HTTP request asks the engine to do: a statement divided from the data behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from auditlog_local.clickhouse.errors import INCORRECT_DATA, UNKNOWN_TYPE_OF_QUERY, EngineError
from auditlog_local.clickhouse.tokens import Token, quote_string, tokens

# A SELECT's result is streamed through a pipe; every other answer is small.
_STREAMED = (b"SELECT", b"WITH", b"FROM")


class Shape(Enum):
    """How a statement is run."""

    SELECT = "select"
    INSERT = "insert"
    INSERT_FROM_INPUT = "insert from input()"
    OTHER = "other"


@dataclass(frozen=True)
class Statement:
    """A statement without its data.

    Attributes:
        sql: the statement; for INSERT and INSERT_FROM_INPUT without its FORMAT or VALUES and the data.
        format: the format named by the statement; for an INSERT its data's format; None when none is named.
        data_start: where an INSERT's inline data starts in the text the statement was read from.
        select_end: where ``INTO OUTFILE`` (of a SELECT) or ``FROM INFILE`` (of an INSERT) belongs in ``sql``.
        input_call: for INSERT_FROM_INPUT, where ``input(`` starts and ends in ``sql``.
    """

    shape: Shape
    sql: bytes
    format: str | None = None
    data_start: int = 0
    select_end: int = 0
    input_call: tuple[int, int] = (0, 0)
    creates_temporary: bool = False
    first_word: bytes = b""

    def with_output(self, path: str, default_format: str) -> bytes:
        """The SELECT with its result written to ``path``, which exists already (a pipe's end)."""
        head, tail = self.sql[: self.select_end], self.sql[self.select_end :]
        clause = b"\nINTO OUTFILE " + quote_string(path) + b" APPEND "
        if self.format is None:
            tail = b"FORMAT " + default_format.encode()
        return head + clause + tail

    def with_data(self, path: str) -> bytes:
        """The INSERT with its data read from ``path``.

        By ``FROM INFILE``, or with ``input('structure')`` replaced by ``file(path, format, 'structure')``
        since chDB gives ``input()`` nothing to read.
        """
        data_format = (self.format or "Values").encode()
        quoted = quote_string(path)
        if self.shape is Shape.INSERT_FROM_INPUT:
            start, after_bracket = self.input_call
            call = b"file(" + quoted + b", '" + data_format + b"', "
            return self.sql[:start] + call + self.sql[after_bracket:]
        head, tail = self.sql[: self.select_end], self.sql[self.select_end :]
        clause = b"\nFROM INFILE " + quoted + b" COMPRESSION 'none' "
        return head + clause + tail + b"\nFORMAT " + data_format


def read_statement(text: bytes) -> Statement:
    """Divide ``text`` (a statement, perhaps followed by data) into statement and data.

    Raises:
        EngineError: the statement writes to a file of the server (INTO OUTFILE).
    """
    first = next((t for t in tokens(text) if not t.is_symbol(b"(")), None)
    if first is None:
        return Statement(Shape.OTHER, text)
    if first.is_word(b"INSERT"):
        return _read_insert(text, first.start)
    found = list(tokens(text))
    if any(a.is_word(b"INTO") and b.is_word(b"OUTFILE") and a.depth == 0 for a, b in pairwise(found)):
        raise EngineError(UNKNOWN_TYPE_OF_QUERY, "INTO OUTFILE is not allowed")
    if not first.is_word(*_STREAMED):
        temporary = first.is_word(b"CREATE") and len(found) > 1 and found[1].is_word(b"TEMPORARY", b"OR")
        word = first.text.upper()
        return Statement(Shape.OTHER, text, creates_temporary=temporary, first_word=word)
    return _read_select(text, found)


def _read_select(text: bytes, found: list[Token]) -> Statement:
    while found and found[-1].is_symbol(b";"):
        found.pop()
    end = found[-1].end
    sql = text[:end]
    clause = _trailing_format(found)
    if clause is None:
        return Statement(Shape.SELECT, sql, None, select_end=end)
    keyword, name = clause
    return Statement(Shape.SELECT, sql, name.text.decode(), select_end=keyword.start)


def _trailing_format(found: list[Token]) -> tuple[Token, Token] | None:
    """The last top-level ``FORMAT name`` that ends the statement or is followed by SETTINGS only."""
    for index in range(len(found) - 2, -1, -1):
        keyword, name = found[index], found[index + 1]
        if keyword.depth == 0 and keyword.is_word(b"FORMAT") and name.kind == "word":
            is_last = index + 2 == len(found)
            if is_last or found[index + 2].is_word(b"SETTINGS"):
                return keyword, name
    return None


def _read_insert(text: bytes, start: int) -> Statement:
    previous: Token | None = None
    settings_start: int | None = None
    scanned = tokens(text, start)
    for index, token in enumerate(scanned):
        opens_select = previous is not None and previous.is_symbol(b"(") and token.depth == 1
        if token.is_word(b"SELECT", b"WITH") and (token.depth == 0 or opens_select):
            return _read_insert_select(text, start)
        if token.depth == 0 and index > 1 and previous is not None:
            if token.is_word(b"VALUES") and not previous.is_word(b"INTO", b"TABLE"):
                return _insert(text[: token.start], "Values", token.end, settings_start)
            if token.is_word(b"FORMAT") and not previous.is_word(b"INTO", b"TABLE"):
                name = next(scanned, None)
                if name is None or name.kind != "word":
                    raise EngineError(INCORRECT_DATA, "FORMAT of the INSERT names no format")
                data_start = _data_start(text, name.end)
                return _insert(text[: token.start], name.text.decode(), data_start, settings_start)
            if token.is_word(b"SETTINGS") and not previous.is_word(b"INTO", b"TABLE"):
                settings_start = token.start
            if token.is_word(b"INFILE") and previous.is_word(b"FROM"):
                raise EngineError(UNKNOWN_TYPE_OF_QUERY, "FROM INFILE is not allowed")
        previous = token
    stripped = text.rstrip().removesuffix(b";")
    return _insert(stripped, None, len(text), settings_start)


def _insert(sql: bytes, data_format: str | None, data_start: int, settings_start: int | None) -> Statement:
    infile = len(sql) if settings_start is None else settings_start
    return Statement(Shape.INSERT, sql, data_format, data_start, select_end=infile)


def _read_insert_select(text: bytes, start: int) -> Statement:
    """INSERT ... SELECT: data follows only if the SELECT reads ``input(...)`` and names its FORMAT."""
    previous: Token | None = None
    call: tuple[int, int] | None = None
    scanned = tokens(text, start)
    for token in scanned:
        if token.is_symbol(b"(") and previous is not None and previous.is_word(b"INPUT") and call is None:
            call = (previous.start, token.end)
        if call is not None and token.depth == 0 and token.is_word(b"FORMAT"):
            name = next(scanned, None)
            if name is not None and name.kind == "word":
                return Statement(
                    Shape.INSERT_FROM_INPUT,
                    text[: token.start],
                    name.text.decode(),
                    _data_start(text, name.end),
                    input_call=call,
                )
        previous = token
    if call is not None:
        return Statement(Shape.INSERT_FROM_INPUT, text, None, len(text), input_call=call)
    return Statement(Shape.OTHER, text)


def _data_start(text: bytes, position: int) -> int:
    """Where data starts behind ``FORMAT name``: after blanks and one line break, as ClickHouse reads it."""
    while text[position : position + 1] in (b" ", b"\t", b"\f"):
        position += 1
    if text[position : position + 1] == b";":
        position += 1
    if text[position : position + 2] == b"\r\n":
        return position + 2
    return position + 1 if text[position : position + 1] == b"\n" else position
