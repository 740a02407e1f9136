"""Context is what strangers say: it fits whatever it is, and what was cut shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from auditlog_schemas.codec import MessageDecoder, WriterSchemas, encode
from auditlog_schemas.event import AuditEvent, Context
from auditlog_schemas.limits import ID_BYTES_MAX, TEXT_BYTES_MAX
from kit.event_strategies import full_record

LIMITS = {"ip": TEXT_BYTES_MAX, "user_agent": TEXT_BYTES_MAX, "request_id": ID_BYTES_MAX}
OTHER = (
    st.integers() | st.floats() | st.booleans() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
)

# A short pattern many times is what overlong headers are; with half characters, as WSGI and JSON may hold.
texts = st.text(st.characters(), max_size=40) | st.text("\ud800\udcff\x00\n\x85aé語\U0001f512…", max_size=400)
repeated = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 7, 60, 3_000]))
strange = st.none() | repeated | repeated.map(lambda text: text.encode("utf-8", "surrogatepass"))
strange |= st.binary(max_size=2_000) | st.binary(max_size=2_000).map(bytearray)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(strange, strange, strange)
def test_nothing_that_came_with_a_request_makes_an_event_fail(
    ip: Any, user_agent: Any, request_id: Any
) -> None:
    context = Context(ip=ip, user_agent=user_agent, request_id=request_id)
    event = AuditEvent.parse(
        full_record() | {"occurred_at": "2026-11-01T09:30:00Z", "context": context.model_dump()}
    )
    assert event.context == context, "what fits is not changed again"
    assert MessageDecoder(WriterSchemas()).decode(encode(event.to_record())) == event.to_record()


@unhurried
@given(st.sampled_from(list(LIMITS)), repeated)
def test_text_stays_as_it_is_or_shows_what_was_done(name: str, text: str) -> None:
    fitting = getattr(Context(**{name: text}), name)
    limit = LIMITS[name]
    whole = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    if name == "request_id":
        whole = "".join("\ufffd" if char < " " or "\x7f" <= char <= "\x9f" else char for char in whole)
    if fitting != (whole or None if name == "request_id" else whole):
        size = len(fitting.encode())
        assert fitting.endswith("…")
        assert whole.startswith(fitting[:-1])
        assert limit - 3 <= size <= limit


def test_a_text_at_its_limit_is_not_cut() -> None:
    for name, limit in LIMITS.items():
        for char in ("a", "é", "語", "🔒"):
            whole = char * (limit // len(char.encode()))
            assert getattr(Context(**{name: whole}), name) == whole
            assert getattr(Context(**{name: whole + char}), name).endswith("…")


def test_a_list_of_a_million_addresses_is_its_beginning() -> None:
    addresses = "203.0.113.9, " * 1_000_000
    in_bytes: Any = addresses.encode()
    context = Context(ip=addresses, user_agent=in_bytes, request_id=addresses)
    assert context.ip is not None
    assert context.ip.startswith("203.0.113.9, 203.0.113.9, ")
    assert context.ip == context.user_agent


def test_an_empty_request_id_is_none() -> None:
    values: tuple[Any, ...] = ("", b"", bytearray())
    assert [Context(request_id=value).request_id for value in values] == [None, None, None]
    assert Context(ip="").ip == ""


@unhurried
@given(st.sampled_from(list(LIMITS)), OTHER)
def test_a_value_of_another_type_is_a_mistake_of_the_caller(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Context(**{name: value})
