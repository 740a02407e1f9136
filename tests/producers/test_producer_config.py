"""What a producer may be made with, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from confluent_kafka import KafkaError

from auditlog_producers import AuditError, AuditProducer, BrokerUnavailable, ConfigError, TerminalError
from auditlog_producers.kafka_config import REFUSED
from auditlog_producers.kafka_errors import TABLE, translate

NOWHERE = "http://127.0.0.1:1"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kafka": " "}, "kafka: is empty"),
    ({"service": ""}, "service"),
    ({"service": "a\nb"}, "service"),
    ({"service": "a\ud800"}, "service"),
    ({"service": None}, "service"),
    ({"instance_id": ""}, "instance_id"),
    ({"instance_id": "x" * 257}, "instance_id"),
    ({"topic": "audit events"}, "topic"),
    ({"topic": ".."}, "topic"),
    ({"buffer_messages_max": 0}, "buffer_messages_max"),
    ({"buffer_bytes_max": 1000}, "buffer_bytes_max"),
    ({"block_seconds_max": -1}, "block_seconds_max"),
    ({"delivery_timeout_seconds": 0}, "delivery_timeout_seconds"),
    ({"kafka_config": {"no.such.key": 1}}, "no.such.key"),
    ({"kafka_config": {"security.protocol": "carrier-pigeon"}}, "security.protocol"),
]


@pytest.mark.parametrize(("wrong", "named"), WRONG, ids=[str(wrong) for wrong, _ in WRONG])
def test_a_wrong_parameter_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        AuditProducer(**{"kafka": "127.0.0.1:1", "service": "s"} | wrong)


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_settings_that_carry_a_promise_cannot_be_changed(key: str) -> None:
    with pytest.raises(ConfigError, match=f"kafka_config: {key} cannot be set: "):
        AuditProducer("127.0.0.1:1", service="s", kafka_config={key: 1})


def test_other_settings_pass(mock_kafka: str, parts: dict[str, Any]) -> None:
    extra = {"security.protocol": "plaintext", "client.id": "x", "linger.ms": 0, "compression.type": "zstd"}
    with AuditProducer(mock_kafka, service="s", kafka_config=extra) as producer:
        producer.record(**parts).result(60)


def test_two_producers_never_share_an_instance_id(mock_kafka: str) -> None:
    with AuditProducer(mock_kafka, service="s") as one, AuditProducer(mock_kafka, service="s") as two:
        assert one.instance_id != two.instance_id
        assert (one.service, repr(one)) == ("s", f"<AuditProducer s {one.instance_id}>")


def test_a_registry_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "auditlog_schemas.registry", None)
    with pytest.raises(ConfigError, match=r"pip install 'auditlog\[registry\]'"):
        AuditProducer("127.0.0.1:1", service="s", registry=NOWHERE)


def test_importing_the_sdk_loads_no_registry_client() -> None:
    program = "import auditlog_producers, sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"httpx", "httpx2", "authlib", "numpy", "pyarrow", "clickhouse_connect", "chdb"}
    assert heavy & set(done.stdout.split()) == set()


def test_every_kafka_error_says_what_to_do() -> None:
    for code, (kind, advice) in TABLE.items():
        error = translate(KafkaError(code))
        assert type(error) is kind
        assert str(error).endswith(advice)


def test_an_unknown_kafka_error_is_terminal() -> None:
    error: AuditError = translate(KafkaError(KafkaError._BAD_COMPRESSION))
    assert type(error) is TerminalError


def test_a_timeout_carries_the_last_trouble() -> None:
    error = translate(KafkaError(KafkaError._MSG_TIMED_OUT), "Connection refused")
    assert isinstance(error, BrokerUnavailable)
    assert "(last trouble: Connection refused)" in str(error)
