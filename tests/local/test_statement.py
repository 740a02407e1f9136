"""Dividing a request's text into statement and data, whatever the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_local.clickhouse.codecs import Decoder, choose_coding, encoder
from auditlog_local.clickhouse.errors import EngineError
from auditlog_local.clickhouse.statement import Shape, read_statement
from auditlog_local.clickhouse.tokens import quote_string, tokens, unquote


@given(st.text())
def test_a_quoted_string_is_one_token_and_reads_back(text: str) -> None:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return
    (token,) = tokens(quote_string(text))
    assert token.kind == "string"
    assert unquote(token) == text


@given(st.binary(max_size=300))
def test_any_bytes_have_tokens_that_follow_one_another(text: bytes) -> None:
    end = 0
    for token in tokens(text):
        assert token.start >= end
        assert token.text == text[token.start : token.end]
        assert token.depth >= 0
        end = token.end
    assert end <= len(text)


@given(st.binary(max_size=200))
def test_an_inserts_data_is_found_whatever_it_is(data: bytes) -> None:
    head = b"INSERT INTO `a``b` (`x;y`, z) SETTINGS a = 'FORMAT' /* VALUES */ FORMAT Native\n"
    statement = read_statement(head + data)
    assert (statement.shape, statement.format) == (Shape.INSERT, "Native")
    assert (head + data)[statement.data_start :] == data


@pytest.mark.parametrize(
    ("text", "shape", "data_format", "data"),
    [
        (b"INSERT INTO t VALUES (1)", Shape.INSERT, "Values", b" (1)"),
        (b"insert into values values(1)", Shape.INSERT, "Values", b"(1)"),
        (b"INSERT INTO format FORMAT CSV\r\n1", Shape.INSERT, "CSV", b"1"),
        (b"INSERT INTO t FORMAT CSV 1,2", Shape.INSERT, "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\n\n1", Shape.INSERT, "CSV", b"\n1"),
        (b"INSERT INTO t", Shape.INSERT, None, b""),
        (b"INSERT INTO t(a) SELECT 1 FORMAT CSV", Shape.OTHER, None, None),
        (b"INSERT INTO t (SELECT 1)", Shape.OTHER, None, None),
        (b"INSERT INTO t WITH 1 AS x SELECT x", Shape.OTHER, None, None),
        (b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n7", Shape.INSERT_FROM_INPUT, "CSV", b"7"),
        (b"-- INSERT\nSELECT 'INSERT INTO t VALUES'", Shape.SELECT, None, None),
        (b"", Shape.OTHER, None, None),
        (b"SHOW TABLES", Shape.OTHER, None, None),
    ],
)
def test_the_shapes_of_statements(
    text: bytes, shape: Shape, data_format: str | None, data: bytes | None
) -> None:
    statement = read_statement(text)
    assert (statement.shape, statement.format) == (shape, data_format)
    if data is not None:
        assert text[statement.data_start :] == data


def test_files_of_the_server_are_out_of_reach() -> None:
    for text in (b"SELECT 1 INTO OUTFILE '/tmp/x'", b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV"):
        with pytest.raises(EngineError, match="not allowed"):
            read_statement(text)


def test_a_hostile_statement_is_read_in_linear_time() -> None:
    for text in (b"SELECT " + b"'" * 200_001, b"SELECT '" + b"\\" * 200_001, b"SELECT " + b"(" * 50_000):
        assert read_statement(text).shape is Shape.SELECT


@given(
    st.lists(st.binary(max_size=5000), max_size=8), st.sampled_from(["zstd", "lz4", "gzip", "deflate", ""])
)
def test_what_is_encoded_is_decoded(pieces: list[bytes], coding: str) -> None:
    out = encoder(coding or None)
    packed = b"".join([*map(out.write, pieces), out.finish()])
    decoder = Decoder(coding)
    middle = len(packed) // 2
    assert decoder.write(packed[:middle]) + decoder.write(packed[middle:]) == b"".join(pieces)
    decoder.finish()


def test_codings_are_chosen_as_clickhouse_does() -> None:
    assert choose_coding("gzip, deflate, lz4;q=0.5") == "lz4"
    assert choose_coding("br, identity") is None
    assert choose_coding("") is None
    with pytest.raises(EngineError, match="Unknown compression method"):
        Decoder("br")
