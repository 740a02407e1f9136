"""The schema-registry client: schema ids to schemas and back, over Confluent's HTTP API."""

from __future__ import annotations

import json
import threading
import time
from typing import Final

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

from auditlog_schemas.errors import ConfigError, RegistryUnavailable
from auditlog_schemas.inert import inert, shortened
from auditlog_schemas.resolution import Schema

MEMORY_SECONDS: Final = 1.0
"""How long the registry is taken to remember what it knew. None restarts as quickly as this."""
SCHEMA_ID_MAX: Final = (1 << 31) - 1
"""Registries number schemas by Java's int: about more they were never meant to be asked."""
WHY_CHARACTERS_MAX: Final = 500


class SchemaRegistry:
    """Asks one registry, from any number of threads. Keeps no answers: `SchemaIds` does.

    No id is called unknown without asking, nor while the registry does not show that it remembers what it
    knew: for a flood of unknown ids that is one more request every `MEMORY_SECONDS`.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        """Connect to nothing yet.

        Args:
            url: of Confluent's API.
            timeout_seconds: how long to wait for a connection, and for each next piece of an answer.
        """
        self._url = url
        self._client = SchemaRegistryClient({"url": url, "timeout": timeout_seconds, "max.retries": 0})
        self._known_id: int | None = None
        self._remembers_until = 0.0
        self._doubted_at = float("-inf")
        self._memory_lock = threading.Lock()

    def schema_by_id(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None when the registry has none.

        Raises:
            RegistryUnavailable: the registry did not answer, or not as a registry does.
        """
        if schema_id > SCHEMA_ID_MAX:
            return None
        asked = time.monotonic()
        try:
            schema = self._fetch(schema_id)
            if schema is None:
                self._require_memory(asked)
        except RegistryUnavailable:
            # It may be restarting, and then answers "unknown" too early.
            self._remembers_until = 0.0
            raise
        if schema is not None:
            self._known_id = schema_id
        return schema

    def register(self, subject: str, schema: Schema) -> int:
        """Register a schema under a subject, or find it there, and return its id.

        Raises:
            ConfigError: the registry refuses the schema, for example as incompatible with earlier ones.
            RegistryUnavailable: the registry did not answer, or answered with a server error.
        """
        try:
            return self._client.register_schema(subject, RegistrySchema(json.dumps(schema), "AVRO"))
        except SchemaRegistryError as error:
            if 400 <= error.http_status_code < 500:
                raise ConfigError(
                    f"schema registry {self._url} refuses subject {subject}: {error}"
                ) from error
            raise self._unavailable(error) from error
        except Exception as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _fetch(self, schema_id: int) -> Schema | None:
        # The client keeps every schema for ever, and what it kept says nothing about the registry's memory.
        self._client.clear_caches()  # type: ignore[no-untyped-call]
        try:
            found = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            status = error.http_status_code
            if status == 404 and _is_of_a_registry(error):
                return None
            if status == 404 or 300 <= status < 400:
                raise self._no_registry(error) from error
            raise self._unavailable(error) from error
        except (ValueError, TypeError, AttributeError) as error:
            # The client takes any answer of status 200 for a registry's.
            raise self._no_registry(error) from error
        except Exception as error:
            raise self._unavailable(error) from error
        text = found.schema_str
        if not isinstance(text, str):
            raise self._no_registry("it has no schema")
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError):
            schema = None
        # Not Avro (a registry holds Protobuf schemas too): the name of no type, so nothing resolves it.
        return text if schema is None else schema

    def _require_memory(self, asked: float) -> None:
        """Raise RegistryUnavailable when the registry has forgotten an id that it knew.

        Registries that keep their data in Kafka answer "unknown" to every id until they have read it back
        after a restart. Believing that would reject good messages.

        Args:
            asked: when the unknown id was asked for. A check that failed since then is not repeated: threads
                that doubt together would wait one after the other.
        """
        with self._memory_lock:
            if self._known_id is None or time.monotonic() < self._remembers_until:
                return
            doubt = f"schema registry {self._url} does not show that it still knows id {self._known_id}"
            if asked <= self._doubted_at:
                raise RegistryUnavailable(doubt)
            began = time.monotonic()
            try:
                if self._fetch(self._known_id) is None:
                    raise RegistryUnavailable(f"{doubt}: it is still starting, or has lost its data")
            except RegistryUnavailable:
                self._doubted_at = time.monotonic()
                raise
            self._remembers_until = began + MEMORY_SECONDS

    def _unavailable(self, error: Exception | str) -> RegistryUnavailable:
        # It may be a whole page of whoever answered.
        return RegistryUnavailable(
            f"schema registry {self._url}: {inert(shortened(str(error), WHY_CHARACTERS_MAX))}"
        )

    def _no_registry(self, error: Exception | str) -> RegistryUnavailable:
        return self._unavailable(f"the answer is not a registry's, is the URL right? {error}")


def _is_of_a_registry(error: SchemaRegistryError) -> bool:
    """Tell a registry's "no such schema" from the 404 of a wrong path or of a proxy, which says no code."""
    return error.error_code not in (None, -1, 404)
