"""Parameters travel beside the statement and arrive as they were sent, whatever is in them."""

from __future__ import annotations

import uuid

import pytest

from local.http_call import (
    call,
    escaped,
    quoted,
    rows,
    value,
)

pytestmark = pytest.mark.integration

HOSTILE = [
    "",
    "it's",
    'say "hi"',
    "back\\slash",
    "tab\tnew\nline\rreturn",
    "nul\0byte",
    "\\N",
    "\\n",
    "NULL",
    "'); DROP TABLE t; --",
    "{x:String}",
    "ünïcödé 😀",
    "%27 + & = ?",
    "$$ $tag$",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_string_parameters_arrive_unchanged(clickhouse_url: str, text: str) -> None:
    answer = call(
        clickhouse_url,
        "SELECT {s:String} AS s, {a:Array(String)} AS a, {t:Array(Tuple(String, Nullable(String)))} AS t, "
        "length({s:String}) AS n FORMAT JSONEachRow",
        param_s=escaped(text),
        param_a=f"[{quoted(text)},'b']",
        param_t=f"[({quoted(text)},NULL),('x',{quoted(text)})]",
        output_format_json_named_tuples_as_objects="0",
        output_format_json_quote_64bit_integers="0",
    )
    assert rows(answer) == [
        {"s": text, "a": [text, "b"], "t": [[text, None], ["x", text]], "n": len(text.encode())}
    ]


def test_parameters_are_typed(clickhouse_url: str) -> None:
    sql = "SELECT {n:Int64} + 1, {d:DateTime64(6, 'UTC')}, {x:Nullable(String)} IS NULL, {u:UUID}, {b:Bool}"
    identity = str(uuid.uuid4())
    given = {"param_n": "41", "param_d": "2024-01-02 03:04:05.678901", "param_x": "\\N", "param_b": "true"}
    line = value(clickhouse_url, sql, param_u=identity, **given)
    assert line == f"42\t2024-01-02 03:04:05.678901\t1\t{identity}\ttrue"
    assert call(clickhouse_url, "SELECT {n:Int64}", param_n="1; DROP TABLE t").code == 457
    assert call(clickhouse_url, "SELECT {n:Array(Int64)}", param_n="[1,'x']").status >= 400


def test_identifier_parameters_cannot_break_out(table: str) -> None:
    value(table, "INSERT INTO {name:Identifier} (o, v) VALUES (1, 'a')", param_name="t")
    assert value(table, "SELECT v FROM {name:Identifier}", param_name="t") == "a"
    assert (
        call(table, "SELECT * FROM {name:Identifier}", param_name="t WHERE 1 UNION ALL SELECT 1").code == 60
    )


def test_parameters_work_in_inserts(table: str) -> None:
    text = HOSTILE[4] + HOSTILE[1]
    value(table, "INSERT INTO t (o, v) SELECT 1, {v:String}", param_v=escaped(text))
    assert rows(call(table, "SELECT v FROM t FORMAT JSONEachRow")) == [{"v": text}]
