"""Long parameters travel in a form, as clickhouse-connect sends them, and arrive as they were sent."""

from __future__ import annotations

import pytest

from auditlog_local.clickhouse.errors import EngineError
from auditlog_local.clickhouse.form import boundary_of, read_form
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings
from local.http_call import call

HOSTILE = ("it's", 'say "x"', "back\\slash", "\\N", "nul\0a", "a\r\n--b\r\n", "😀", "{x:String}", "")


@pytest.mark.integration
def test_many_long_values_come_back(clickhouse_url: str) -> None:
    values = [f"{text}{number}" + "x" * 300 for number in range(100) for text in HOSTILE]
    with Connection(StorageSettings.load(url=clickhouse_url)) as connection:
        sql = "SELECT arrayJoin({values:Array(String)}), {one:String}"
        assert connection.query_rows(sql, {"values": values, "one": "a\nb"}) == [(v, "a\nb") for v in values]


BODY = (
    b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="param_x"\r\nContent-Type: text/plain\r\n\r\n'
    b"a\r\n\r\nb\r\n--b--\r\n"
)


def test_the_fields_of_a_form() -> None:
    assert read_form(BODY, "b") == {"query": b"SELECT {x:String}", "param_x": b"a\r\n\r\nb"}
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="b"') == "b"
    assert boundary_of("text/plain") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x" + BODY,
        BODY[:-8],
        BODY.replace(b"name=", b"nome="),
        BODY.replace(b'"query"', b'"q"; filename="f"'),
    ],
)
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(EngineError):
        read_form(body, "b")


@pytest.mark.integration
def test_a_multipart_body_of_another_kind_is_refused(clickhouse_url: str) -> None:
    answer = call(clickhouse_url, b"SELECT 1", {"Content-Type": "multipart/mixed; boundary=b"})
    assert (answer.status, answer.code) == (400, 36)
