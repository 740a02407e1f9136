"""The registry client and the SDK's Confluent framing against a real schema registry (Apicurio)."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest

from auditlog_producers import AuditProducer, BrokerUnavailable, ConfigError, RegistryUnavailable
from auditlog_schemas import registry as registry_module
from auditlog_schemas.codec import EVENT_SCHEMA, MessageDecoder, WriterSchemas, encode
from auditlog_schemas.errors import UnknownSchema
from auditlog_schemas.registry import MEMORY_SECONDS, SCHEMA_ID_MAX, SchemaRegistry
from auditlog_schemas.schema_ids import Unusable
from kit.producing import MakeEvent, Read
from kit.registry_front import FAULTS, UNKNOWN_FROM, RegistryFront
from kit.registry_server import RegistryServer

OpenClient: TypeAlias = Callable[..., SchemaRegistry]

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    opened: list[SchemaRegistry] = []

    def open_(url: str, timeout_seconds: float = 60) -> SchemaRegistry:
        opened.append(SchemaRegistry(url, timeout_seconds=timeout_seconds))
        return opened[-1]

    yield open_
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(registry_server: RegistryServer, open_client: OpenClient) -> SchemaRegistry:
    return open_client(registry_server.url)


def test_the_sdk_frames_with_the_id_that_the_registry_gives(
    registry_server: RegistryServer,
    registry: SchemaRegistry,
    mock_kafka: str,
    topic: str,
    parts: dict[str, Any],
    read: Read,
) -> None:
    # A registry takes long for the first schema of its life, longer than the SDK waits.
    registry.register("first-value", "string")
    with AuditProducer(mock_kafka, service="s", topic=topic, registry=registry_server.url) as producer:
        handle = producer.record(**parts)
        handle.result(60)
    [message] = read(mock_kafka, topic, 1)
    value = message.value() or b""
    schema_id = registry.register(f"{topic}-value", EVENT_SCHEMA)
    assert value[:5] == struct.pack(">bI", 0, schema_id)
    decoder = MessageDecoder(WriterSchemas(lookup=registry))
    assert decoder.decode(value)["event_id"] == str(handle.event_id)


def test_registering_twice_gives_the_same_id_and_the_schema_comes_back(registry: SchemaRegistry) -> None:
    schema_id = registry.register("twice-value", EVENT_SCHEMA)
    assert registry.register("twice-value", EVENT_SCHEMA) == schema_id
    assert registry.schema_by_id(schema_id) == EVENT_SCHEMA


def test_a_second_client_finds_the_schema_too(
    registry_server: RegistryServer, registry: SchemaRegistry, open_client: OpenClient
) -> None:
    schema_id = registry.register("second-value", EVENT_SCHEMA)
    assert open_client(registry_server.url).register("second-value", EVENT_SCHEMA) == schema_id
    assert open_client(registry_server.url).schema_by_id(schema_id) == EVENT_SCHEMA


def test_a_newer_writers_schema_is_resolved_by_its_id(
    registry: SchemaRegistry, make_event: MakeEvent
) -> None:
    newer = EVENT_SCHEMA | {
        "fields": [*EVENT_SCHEMA["fields"], {"name": "shard", "type": "int", "default": 0}]
    }
    schema_id = registry.register("newer-value", newer)
    record = make_event().to_record()
    message = encode(record, schema_id) + b"\x0e"
    assert MessageDecoder(WriterSchemas(lookup=registry)).decode(message) == record


def test_an_unknown_id_is_none_and_the_message_is_refused(registry: SchemaRegistry) -> None:
    assert registry.schema_by_id(2_000_000_000) is None
    decoder = MessageDecoder(WriterSchemas(lookup=registry))
    with pytest.raises(UnknownSchema) as caught:
        decoder.decode(struct.pack(">bI", 0, 2_000_000_000) + b"x")
    assert caught.value.rule == "unknown_schema_id"


class Requests:
    """Counts what a client asks its registry, by id."""

    def __init__(self, registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: list[str] = []
        get = registry._client._rest_client.get

        def counted(url: str, query: Any = None) -> Any:
            self.ids.append(url.rpartition("/")[2])
            return get(url, query)

        monkeypatch.setattr(registry._client._rest_client, "get", counted)


def test_a_flood_of_unknown_ids_costs_one_request_for_each(
    registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.register("flood-value", EVENT_SCHEMA)
    assert registry.schema_by_id(known) == EVENT_SCHEMA
    requests = Requests(registry, monkeypatch)
    began = time.monotonic()
    unknown = list(range(2_000_001_000, 2_000_001_200))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(registry.schema_by_id, unknown)) == [None] * 200
    checks = [id for id in requests.ids if id == str(known)]
    assert 1 <= len(checks) <= 1 + (time.monotonic() - began) / MEMORY_SECONDS
    assert len(requests.ids) == 200 + len(checks)
    assert registry.schema_by_id(known) == EVENT_SCHEMA


def test_after_a_failure_the_registry_has_to_show_that_it_remembers(
    registry_server: RegistryServer, registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MEMORY_SECONDS", 1000)
    schema_id = registry.register("shown-value", EVENT_SCHEMA)
    assert registry.schema_by_id(schema_id) == EVENT_SCHEMA
    assert registry.schema_by_id(2_000_003_000) is None
    registry_server.stop()
    with pytest.raises(RegistryUnavailable):
        registry.schema_by_id(2_000_003_001)
    registry_server.start()
    with pytest.raises(RegistryUnavailable, match="lost its data"):
        registry.schema_by_id(2_000_003_001)


AWAY = frozenset({"error", "overloaded", "forbidden", "drop", "hang"})
"""Faults of a registry that is the right one; all others come from something else."""


@pytest.mark.parametrize("fault", [*FAULTS, "drop", "hang"])
def test_what_is_no_answer_of_a_registry_says_nothing_about_an_id(
    fault: str, registry_front: RegistryFront, registry: SchemaRegistry, open_client: OpenClient
) -> None:
    schema_id = registry.register("fault-value", EVENT_SCHEMA)
    client = open_client(registry_front.url, 2)
    registry_front.faults = {0: fault}
    for asked in (schema_id, UNKNOWN_FROM):
        with pytest.raises(RegistryUnavailable, match=registry_front.url) as caught:
            client.schema_by_id(asked)
        said = str(caught.value)
        assert ("is the URL right?" in said) == (fault not in AWAY)
        assert len(said) < 700
    registry_front.faults = {}
    assert client.schema_by_id(schema_id) == EVENT_SCHEMA
    assert client.schema_by_id(UNKNOWN_FROM) is None


def test_ids_that_no_registry_can_have_are_unknown_unasked(
    registry_front: RegistryFront, open_client: OpenClient
) -> None:
    client = open_client(registry_front.url)
    assert client.schema_by_id(SCHEMA_ID_MAX) is None
    assert client.schema_by_id(SCHEMA_ID_MAX + 1) is None
    assert client.schema_by_id(0xFFFFFFFF) is None
    assert registry_front.asked == {SCHEMA_ID_MAX: 1}


@pytest.mark.parametrize("text", ["", "null", "[[[", '"long"', "7", '{"type":"object"}', "[" * 100_000])
def test_a_schema_that_is_not_avro_is_an_answer(
    text: str, registry_front: RegistryFront, open_client: OpenClient
) -> None:
    registry_front.schemas[5] = text
    client = open_client(registry_front.url)
    assert client.schema_by_id(5) is not None
    answer = WriterSchemas(lookup=client).by_id.ask(5)
    assert isinstance(answer, Unusable)
    assert answer.rule == "schema_incompatible"


def test_threads_that_doubt_the_registry_together_wait_for_one_check(
    registry_front: RegistryFront, registry: SchemaRegistry, open_client: OpenClient
) -> None:
    schema_id = registry.register("doubt-value", EVENT_SCHEMA)
    client = open_client(registry_front.url, 1)
    assert client.schema_by_id(schema_id) == EVENT_SCHEMA
    registry_front.faults = {schema_id: "hang"}

    def outcome(unknown: int) -> str:
        with pytest.raises(RegistryUnavailable) as caught:
            client.schema_by_id(unknown)
        return str(caught.value)

    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        assert len([*threads.map(outcome, range(UNKNOWN_FROM, UNKNOWN_FROM + 8))]) == 8
    assert registry_front.asked[schema_id] == 2
    assert time.monotonic() - began < 5
    registry_front.faults = {}
    assert client.schema_by_id(UNKNOWN_FROM) is None


def test_a_registry_that_lost_its_data_is_away_not_right(
    registry_server: RegistryServer, registry: SchemaRegistry
) -> None:
    schema_id = registry.register("forgotten-value", EVENT_SCHEMA)
    assert registry.schema_by_id(schema_id) == EVENT_SCHEMA
    assert registry.schema_by_id(2_000_000_001) is None
    registry_server.stop()
    registry_server.start()  # it keeps its artifacts in memory
    with pytest.raises(RegistryUnavailable, match="lost its data"):
        registry.schema_by_id(2_000_000_002)


def test_an_incompatible_schema_is_refused(registry: SchemaRegistry) -> None:
    registry.register("strict-value", EVENT_SCHEMA)
    registry._client.set_compatibility("strict-value", "BACKWARD")
    other = {
        "type": "record",
        "name": "AuditEvent",
        "namespace": "auditlog.v1",
        "fields": [{"name": "required_now", "type": "long"}],
    }
    with pytest.raises(ConfigError, match="strict-value"):
        registry.register("strict-value", other)


def test_a_registry_that_is_away_is_unavailable(
    nobody: str, mock_kafka: str, parts: dict[str, Any], open_client: OpenClient
) -> None:
    address = f"http://{nobody}"
    registry = open_client(address, 1)
    with pytest.raises(RegistryUnavailable, match=nobody):
        registry.schema_by_id(1)
    with pytest.raises(RegistryUnavailable, match=nobody):
        registry.register("x-value", EVENT_SCHEMA)
    with (
        AuditProducer(mock_kafka, service="s", registry=registry) as producer,
        pytest.raises(RegistryUnavailable, match=nobody),
    ):
        producer.record(**parts)
    assert not isinstance(RegistryUnavailable(""), BrokerUnavailable)


def test_the_sdk_goes_on_by_itself_when_the_registry_is_back(
    registry_server: RegistryServer, mock_kafka: str, topic: str, parts: dict[str, Any]
) -> None:
    registry_server.stop()
    with AuditProducer(mock_kafka, service="s", topic=topic, registry=registry_server.url) as producer:
        with pytest.raises(RegistryUnavailable):
            producer.record(**parts)
        registry_server.start()
        deadline = time.monotonic() + 120
        while True:
            try:
                assert producer.record(**parts).result(60).topic == topic
                break
            except RegistryUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert producer.stats.accepted == 1
