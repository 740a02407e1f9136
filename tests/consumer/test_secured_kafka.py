"""Brokers with TLS and logins: messages flow on every way in, and who is refused is told why, at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import auditlog_consumer.topics
from auditlog_consumer.fetch.bootstrap import require_entry
from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.service import consume
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import BrokerUnavailable, ConfigError
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings
from kit.certificates import KEY_PASSWORD, Authority
from kit.events import make_event
from kit.fetching import fetching
from kit.pipeline import Pipeline
from kit.record_batches import Record, record_batch, send
from kit.secured_kafka import (
    ODD_PASSWORD,
    ODD_USER,
    REAUTHENTICATE_MILLIS,
    SecuredKafka,
    has_ipv6,
    login,
    secured_kafka,
)
from kit.stopwatch import Stopwatch

pytestmark = pytest.mark.integration

AT_ONCE_SECONDS_MAX: Final = 5.0
ODD_LOGIN: Final = {"sasl.username": ODD_USER, "sasl.password": ODD_PASSWORD}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("secured")) as kafka:
        yield kafka


def ways_in(secured: SecuredKafka, directory: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Return by name a bootstrap address, and the settings that open it."""
    files = {
        "authority.pem": secured.authority.pem,
        "client.pem": secured.client.pem,
        "client.key": secured.client.locked_key,
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    mutual = {
        "security.protocol": "SSL",
        "ssl.ca.location": str(directory / "authority.pem"),
        "ssl.certificate.location": str(directory / "client.pem"),
        "ssl.key.location": str(directory / "client.key"),
        "ssl.key.password": KEY_PASSWORD,
    }
    anyhow = {"security.protocol": "ssl", "enable.ssl.certificate.verification": "false"}
    nameless = secured.tls | {"ssl.endpoint.identification.algorithm": "none"}
    scram = login("SCRAM-SHA-256")
    both = {name: value for name, value in scram.items() if name != "sasl.mechanism"} | {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-256",
        "ssl.ca.pem": secured.authority.pem,
    }
    return {
        "PLAIN": (secured.at("login"), login("PLAIN")),
        "SCRAM-SHA-256": (secured.at("login"), scram),
        "SCRAM-SHA-512": (secured.at("login"), login("SCRAM-SHA-512")),
        "a password that SASLprep would change": (secured.at("login"), login("SCRAM-SHA-512") | ODD_LOGIN),
        "TLS": (secured.at("tls"), secured.tls),
        "TLS, whatever certificate": (secured.at("expired"), anyhow),
        "TLS, whatever name": (secured.at("tls", "localhost"), nameless),
        "mutual TLS": (secured.at("mutual"), mutual),
        "TLS and SCRAM": (secured.at("tlslogin"), both),
        "TLS and PLAIN": (
            secured.at("tlslogin"),
            login("PLAIN") | {"security.protocol": "sasl_ssl", "ssl.ca.pem": secured.authority.pem},
        ),
    }


WAYS: Final = (
    "PLAIN",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512",
    "a password that SASLprep would change",
    "TLS",
    "TLS, whatever certificate",
    "TLS, whatever name",
    "mutual TLS",
    "TLS and SCRAM",
    "TLS and PLAIN",
)


@pytest.mark.parametrize("way", WAYS)
def test_events_are_stored(secured: SecuredKafka, fresh_database: str, way: str, tmp_path: Path) -> None:
    kafka, config = ways_in(secured, tmp_path)[way]
    pipeline = Pipeline(kafka, fresh_database, kafka_config=config)
    events = [make_event() for _ in range(20)]
    pipeline.publish(events)
    pipeline.publish_raw([(b"k", b"not an event")])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    assert pipeline.check().accepted == len(events)
    assert len(pipeline.dead_letters()) == 1
    pipeline.close()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_broker_on_ipv6_is_read(secured: SecuredKafka) -> None:
    kafka, topic = secured.addresses["six"], f"six-{uuid.uuid4().hex[:8]}"
    Topics(kafka).ensure(topic, f"{topic}.dead", partitions=1)
    send(secured.at("plaintext"), topic, 0, record_batch([Record(b"x")] * 3))
    with fetching(kafka, topic, {0: 0}) as read:
        read.until_offset(2)
        assert read.offsets() == [0, 1, 2]
        assert set(read.fetcher._leaders.values()) == {("::1", int(kafka.rpartition(":")[2]))}


def refusals(secured: SecuredKafka) -> dict[str, tuple[str, dict[str, str], str]]:
    """Return by name a bootstrap address, settings that do not open it, and what is said."""
    refused = r"sasl\.username, sasl\.password: Kafka at 127\.0\.0\.1:\d+ refuses the login: "
    to_both = {"security.protocol": "SASL_SSL", "ssl.ca.pem": secured.authority.pem}
    stranger = Authority("a stranger")
    client = stranger.sign("the stranger's client")
    untrusted = r"ssl\.ca\.location: .*certificate is not trusted: "
    unidentified = r"ssl\.certificate\.location, ssl\.key\.location: .* refuses the connection: "
    return {
        "wrong PLAIN password": (secured.at("login"), login("PLAIN", "wrong"), refused),
        "wrong SCRAM password": (secured.at("login"), login("SCRAM-SHA-512", "wrong"), refused),
        "unknown user": (secured.at("login"), login("SCRAM-SHA-256") | {"sasl.username": "eve"}, refused),
        "wrong password behind TLS": (secured.at("tlslogin"), login("PLAIN", "x") | to_both, refused),
        "mechanism that the broker does not have": (
            secured.at("tlslogin"),
            login("SCRAM-SHA-512") | to_both,
            r"sasl\.mechanism: .* has no SCRAM-SHA-512; it has PLAIN, SCRAM-SHA-256",
        ),
        "OAUTHBEARER": (secured.at("login"), login("OAUTHBEARER"), r"sasl\.mechanism: .*'OAUTHBEARER'"),
        "GSSAPI": (secured.at("login"), login("GSSAPI"), r"sasl\.mechanism: .*'GSSAPI'"),
        "login where none is": (
            secured.at("plaintext"),
            login("PLAIN"),
            r"security\.protocol: .* has no login at this port",
        ),
        "another authority": (secured.at("tls"), secured.tls | {"ssl.ca.pem": stranger.pem}, untrusted),
        "the system's authorities": (secured.at("tls"), {"security.protocol": "ssl"}, untrusted),
        "another host name": (
            secured.at("tls", "localhost"),
            secured.tls,
            r"ssl\.endpoint\.identification\.algorithm: .*'localhost'; .*advertised\.listeners",
        ),
        "no certificate of ours": (secured.at("mutual"), secured.tls, unidentified),
        "a stranger's certificate": (
            secured.at("mutual"),
            secured.tls | {"ssl.certificate.pem": client.pem, "ssl.key.pem": client.key},
            unidentified,
        ),
    }


REFUSALS: Final = (
    "wrong PLAIN password",
    "wrong SCRAM password",
    "unknown user",
    "wrong password behind TLS",
    "mechanism that the broker does not have",
    "OAUTHBEARER",
    "GSSAPI",
    "login where none is",
    "another authority",
    "the system's authorities",
    "another host name",
    "no certificate of ours",
    "a stranger's certificate",
)


@pytest.mark.parametrize("name", REFUSALS)
def test_who_is_refused_is_told_which_setting(secured: SecuredKafka, name: str) -> None:
    kafka, config, said = refusals(secured)[name]
    settings = ConsumerSettings.load(kafka=kafka, kafka_config=config, topic="a", group="a")
    nowhere = Connection(StorageSettings.load(url="http://127.0.0.1:1/nothing"))
    watch = Stopwatch()
    with pytest.raises(ConfigError, match=f"^AUDITLOG_KAFKA_CONFIG: {said}"):
        consume(settings, nowhere, threading.Event())
    assert watch.seconds < AT_ONCE_SECONDS_MAX
    nowhere.close()


def test_a_certificate_that_has_expired_is_said_to_have(secured: SecuredKafka) -> None:
    with pytest.raises(ConfigError, match=r"certificate is not trusted: certificate has expired; renew it"):
        require_entry(secured.at("expired"), secured.tls)


def test_the_command_ends_before_it_joins(secured: SecuredKafka) -> None:
    environment = {
        "AUDITLOG_KAFKA": secured.at("login"),
        "AUDITLOG_KAFKA_CONFIG": '{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "OAUTHBEARER"}',
        "AUDITLOG_CLICKHOUSE_URL": "http://127.0.0.1:1/nothing",
    }
    command = [sys.executable, "-m", "auditlog_cli", "consume"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "AUDITLOG_KAFKA_CONFIG: sasl.mechanisms: the consumer logs in with PLAIN, SCRAM-SHA-256" in line


def test_commands_that_look_at_topics_say_why_they_get_no_answer(
    secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditlog_consumer.topics, "REQUEST_SECONDS_MAX", 1.0)
    with pytest.raises(ConfigError, match="refuses the login"):
        Topics(secured.at("login"), login("PLAIN", "wrong")).describe("a")


@pytest.mark.parametrize(
    ("listener", "config"),
    [("login", {}), ("tls", {}), ("plaintext", {"security.protocol": "ssl"}), ("tls", login("PLAIN"))],
)
def test_another_protocol_is_waited_for_and_suspected(
    secured: SecuredKafka, listener: str, config: dict[str, str]
) -> None:
    """A broker that starts or stops closes connections as well: so it is no error for good."""
    fetcher = Fetcher(secured.at(listener), config, "a", "test")
    fetcher.start(0, 0)
    deadline = time.monotonic() + 30
    while not (trouble := fetcher.take(1).trouble):
        assert time.monotonic() < deadline
        fetcher.wait(0.1)
    fetcher.close()
    assert isinstance(trouble[0], BrokerUnavailable)
    assert "has another security.protocol than AUDITLOG_KAFKA_CONFIG" in str(trouble[0])


def test_a_running_fetcher_that_is_refused_says_so(secured: SecuredKafka) -> None:
    fetcher = Fetcher(secured.at("login"), login("PLAIN", "wrong"), "a", "test")
    fetcher.start(0, 0)
    fetcher.wait(30)
    with pytest.raises(ConfigError, match="refuses the login"):
        fetcher.take(1)
    fetcher.close()


def test_logins_that_run_out_are_renewed_without_a_word(secured: SecuredKafka) -> None:
    topic = f"short-{uuid.uuid4().hex[:8]}"
    Topics(secured.at("plaintext")).ensure(topic, f"{topic}.dead", partitions=1)
    fetcher = Fetcher(secured.at("short"), login("SCRAM-SHA-512"), topic, "test")
    fetcher.start(0, 0)
    offsets: list[int] = []
    logins_over = 3.5 * REAUTHENTICATE_MILLIS / 1000
    started, sent = time.monotonic(), 0
    while time.monotonic() < started + logins_over or len(offsets) < sent:
        assert time.monotonic() < started + 60, f"{len(offsets)} of {sent} came"
        if time.monotonic() < started + logins_over:
            send(secured.at("plaintext"), topic, 0, record_batch([Record(b"x")]))
            sent += 1
        fetcher.wait(0.05)
        polled = fetcher.take(1_000)
        assert not polled.trouble
        if 0 in polled.messages:
            offsets += polled.messages[0].offsets.tolist()
    fetcher.close()
    assert offsets == list(range(sent))
