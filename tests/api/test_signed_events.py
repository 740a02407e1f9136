"""Events with actions of the audit log itself are stored when it signed them, and never otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from auditlog_api.own_events import OwnEvents
from auditlog_producers import Actor, AuditProducer, Context, Entity, InvalidEvent
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.codec import encode
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.own_actions import SIGNATURE, signed
from auditlog_schemas.record import Record
from auditlog_storage.tokens import Token
from kit.events import make_event, make_record
from kit.pipeline import Pipeline

pytestmark = pytest.mark.integration

TOKEN = Token("0" * 64, "alt_1", "acc_1", "read", "CI", datetime.now(UTC), "tests")


@pytest.fixture
def pipeline(kafka_bootstrap: str, fresh_database: str) -> Iterator[Pipeline]:
    pipeline = Pipeline(kafka_bootstrap, fresh_database)
    yield pipeline
    pipeline.close()


def own_record() -> Record:
    entity = {"type": "audit_token", "id": "alt_1", "name": "CI"}
    return make_record(action="audit_token_revoked", entity=entity, metadata={})


def stored(pipeline: Pipeline) -> list[tuple[str, str, dict[str, str]]]:
    return pipeline.connection.query_rows(
        "SELECT account_id, action, metadata FROM audit_log_v1 ORDER BY action"
    )


def test_the_apis_events_are_stored_and_forged_ones_are_dead_letters(
    pipeline: Pipeline, kafka_bootstrap: str, catalog: Catalog
) -> None:
    own = OwnEvents(kafka_bootstrap, catalog, topic=pipeline.topic, key=pipeline.own_key)
    own.token_revoked(TOKEN, Actor(type="system", id="tests"), Context())
    own.token_created(replace(TOKEN, name=""), Actor(type="system", id="tests"), Context())
    own.close()
    right = signed(own_record(), pipeline.own_key())
    forged = [
        own_record(),
        signed(own_record(), b"guessed" * 4),
        right | {"account_id": "acc_2"},
        right | {"occurred_at": right["occurred_at"] + 1},
        right | {"source": right["source"] | {"sequence": 2}},
    ]
    pipeline.publish_raw([(b"acc_1", encode(record)) for record in forged])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert stored(pipeline) == [
        ("acc_1", "audit_token_created", {"scope": "read"}),
        ("acc_1", "audit_token_revoked", {}),
    ]
    letters = pipeline.dead_letters()
    assert [(letter.rule, letter.field) for letter in letters] == [("own_action_unsigned", "action")] * 5
    pipeline.check()


def test_a_signed_event_that_is_published_again_is_a_copy(pipeline: Pipeline) -> None:
    message = encode(signed(own_record(), pipeline.own_key()))
    pipeline.publish_raw([(b"acc_1", message)] * 3)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert len(stored(pipeline)) == 1
    assert pipeline.check().duplicates == 2


def test_the_sdk_refuses_them_to_services(pipeline: Pipeline, kafka_bootstrap: str) -> None:
    with AuditProducer(kafka_bootstrap, service="billing", topic=pipeline.topic) as audit:
        with pytest.raises(InvalidEvent, match="only the audit log itself") as raised:
            audit.record(
                account_id="acc_1",
                action="audit_token_revoked",
                entity=Entity(type="audit_token", id="alt_1"),
                actor=Actor(type="system", id="billing"),
            )
        assert raised.value.field == "action"
        event = make_event(action="audit_token_revoked", entity=Entity(type="audit_token", id="alt_1"))
        with pytest.raises(InvalidEvent, match="only the audit log itself"):
            audit.forward(event)
        assert audit.stats.invalid == 2


def test_a_consumer_without_the_key_takes_nothing_until_it_is_made(pipeline: Pipeline) -> None:
    key = pipeline.own_key()
    pipeline.publish_raw([(b"acc_1", encode(signed(own_record(), key)))])
    pipeline.connection.command("RENAME TABLE audit_keys TO audit_keys_away")
    with pytest.raises(ConfigError, match="auditlog migrate"), pipeline.running() as stop:
        stop.wait(20)
    assert stored(pipeline) == []
    pipeline.connection.command("RENAME TABLE audit_keys_away TO audit_keys")
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert [action for _, action, _ in stored(pipeline)] == ["audit_token_revoked"]
    assert pipeline.dead_letters() == []
    assert SIGNATURE not in str(stored(pipeline))
