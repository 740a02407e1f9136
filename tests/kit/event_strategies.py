"""Events for the tests of the schemas package: one complete record, and Hypothesis strategies."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from auditlog_schemas.event import Actor, AuditEvent, Change, Context, Entity, Source
from auditlog_schemas.record import Record

OCCURRED_MICROS = 1_760_000_000_123_456

_FULL: Record = {
    "event_id": "0198f2a0-7c1e-7abc-8def-0123456789ab",
    "account_id": "acc_1",
    "occurred_at": OCCURRED_MICROS,
    "action": "license_updated",
    "action_version": 1,
    "entity": {"type": "license", "id": "lic_1", "name": "Pro seat"},
    "related": [{"type": "order", "id": "ord_1", "name": None}],
    "source": {"service": "billing", "instance_id": "billing-1", "sequence": 7},
    "actor": {
        "type": "platform_user",
        "id": "usr_1",
        "name": "Ada",
        "email": "ada@example.com",
        "impersonator_id": "usr_2",
    },
    "context": {"ip": "10.0.0.1", "user_agent": "curl/8", "request_id": "req_1"},
    "changes": [{"field": "seats", "before": "1", "after": "2"}],
    "metadata": {"source": "web"},
}


def full_record() -> Record:
    """Return a valid record in which every field is set."""
    return deepcopy(_FULL)


def with_value(record: Record, path: str, value: Any) -> Record:
    """Return the record with one value replaced; paths as in `FIELD_RULES`."""
    changed = deepcopy(record)
    if path == "metadata{key}":
        changed["metadata"] = {value: "x"}
    elif path == "metadata{value}":
        changed["metadata"] = {"key": value}
    elif "[]." in path:
        outer, inner = path.split("[].")
        changed[outer][-1][inner] = value
    elif "." in path:
        outer, inner = path.split(".")
        changed[outer][inner] = value
    else:
        changed[path] = value
    return changed


_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
_IDENTIFIER = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
_OPTIONAL = st.none() | _TEXT
_ENTITY = st.builds(Entity, type=_IDENTIFIER, id=_IDENTIFIER, name=_OPTIONAL)

EVENTS = st.builds(
    AuditEvent,
    event_id=st.uuids(),
    account_id=_IDENTIFIER,
    occurred_at=st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),
    action=_IDENTIFIER,
    action_version=st.integers(1, (1 << 31) - 1),
    entity=_ENTITY,
    related=st.lists(_ENTITY, max_size=3).map(tuple),
    source=st.builds(
        Source, service=_IDENTIFIER, instance_id=_IDENTIFIER, sequence=st.integers(0, (1 << 63) - 1)
    ),
    actor=st.builds(
        Actor,
        type=st.sampled_from(["platform_user", "api_key", "customer", "system"]),
        id=_IDENTIFIER,
        name=_OPTIONAL,
        email=_OPTIONAL,
        impersonator_id=st.none() | _IDENTIFIER,
    ),
    context=st.builds(Context, ip=_OPTIONAL, user_agent=_OPTIONAL, request_id=st.none() | _IDENTIFIER),
    changes=st.lists(st.builds(Change, field=_IDENTIFIER, before=_OPTIONAL, after=_OPTIONAL), max_size=4).map(
        tuple
    ),
    metadata=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=10),
        _TEXT,
        max_size=4,
    ),
)
