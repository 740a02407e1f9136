"""The schema-registry client: schema ids to schemas and back, over Confluent's HTTP API."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from typing import Final

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

from auditlog_schemas.errors import ConfigError, RegistryUnavailable
from auditlog_schemas.resolution import Schema

UNKNOWN_ID_SECONDS: Final = 30.0
"""How long an id that the registry does not know is taken as unknown without asking again."""
UNKNOWN_IDS_MAX: Final = 100_000
"""How many of them are remembered, in 16 MB; the oldest give way. A batch of the usual size has no more."""
MEMORY_SECONDS: Final = 1.0
"""How long the registry is taken to remember what it knew. None restarts as quickly as this."""


class SchemaRegistry:
    """Asks one registry, from any number of threads.

    Answers are kept, since a schema id never changes its meaning: a known id costs one request ever, an
    unknown one at most one in `UNKNOWN_ID_SECONDS`, and a flood of unknown ones a request for each and one
    more every `MEMORY_SECONDS`. No id is called unknown without asking.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self._url = url
        self._client = SchemaRegistryClient({"url": url, "timeout": timeout_seconds, "max.retries": 0})
        # In the order in which they end, which is the order of asking.
        self._unknown_until: OrderedDict[int, float] = OrderedDict()
        self._unknown_lock = threading.Lock()
        self._known_id: int | None = None
        self._remembers_until = 0.0
        self._memory_lock = threading.Lock()

    def schema_by_id(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None when the registry has none.

        Raises:
            RegistryUnavailable: the registry did not answer, or answered with a server error.
        """
        if self._unknown_until.get(schema_id, 0.0) > time.monotonic():
            return None
        try:
            schema = self._fetch(schema_id)
            if schema is None:
                self._require_memory()
        except RegistryUnavailable:
            # It may be restarting, and then answers "unknown" too early.
            self._remembers_until = 0.0
            raise
        if schema is None:
            self._remember_unknown(schema_id)
        else:
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
        try:
            found = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            raise self._unavailable(error) from error
        except Exception as error:
            raise self._unavailable(error) from error
        try:
            return json.loads(found.schema_str or "null")
        except (ValueError, RecursionError):
            # Not Avro (a registry holds Protobuf schemas too): the name of no type, so nothing resolves it.
            return found.schema_str

    def _require_memory(self) -> None:
        """Raise RegistryUnavailable when the registry has forgotten an id that it knew.

        Registries that keep their data in Kafka answer "unknown" to every id until they have read it back
        after a restart. Believing that would reject good messages.
        """
        with self._memory_lock:
            if self._known_id is None or time.monotonic() < self._remembers_until:
                return
            asked = time.monotonic()
            # The answer must not come from the client's own cache.
            self._client.clear_caches()  # type: ignore[no-untyped-call]
            if self._fetch(self._known_id) is None:
                raise RegistryUnavailable(
                    f"schema registry {self._url} does not know id {self._known_id} any more, which it knew: "
                    "it is still starting, or has lost its data"
                )
            self._remembers_until = asked + MEMORY_SECONDS

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        return RegistryUnavailable(f"schema registry {self._url}: {error}")

    def _remember_unknown(self, schema_id: int) -> None:
        with self._unknown_lock:
            self._unknown_until.pop(schema_id, None)
            while len(self._unknown_until) >= UNKNOWN_IDS_MAX:
                self._unknown_until.popitem(last=False)
            self._unknown_until[schema_id] = time.monotonic() + UNKNOWN_ID_SECONDS
