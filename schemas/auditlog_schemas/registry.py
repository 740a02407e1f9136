"""The schema-registry client: schema ids to schemas and back, over Confluent's HTTP API."""

from __future__ import annotations

import json
import time
from typing import Final

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

from auditlog_schemas.errors import ConfigError, RegistryUnavailable
from auditlog_schemas.resolution import Schema

UNKNOWN_ID_SECONDS: Final = 30.0
"""How long an id that the registry does not know is taken as unknown without asking again."""
UNKNOWN_IDS_MAX: Final = 10_000


class SchemaRegistry:
    """Asks one registry; answers are kept, since a schema id never changes its meaning."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._client = self._new_client()
        self._unknown_until: dict[int, float] = {}
        self._known_id: int | None = None

    def schema_by_id(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None when the registry has none.

        Raises:
            RegistryUnavailable: the registry did not answer, or answered with a server error.
        """
        if self._unknown_until.get(schema_id, 0.0) > time.monotonic():
            return None
        schema = self._fetch(self._client, schema_id)
        if schema is None:
            self._require_memory()
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

    def _fetch(self, client: SchemaRegistryClient, schema_id: int) -> Schema | None:
        try:
            found = client.get_schema(schema_id)
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
        if self._known_id is None:
            return
        with self._new_client() as client:
            forgotten = self._fetch(client, self._known_id) is None
        if forgotten:
            raise RegistryUnavailable(
                f"schema registry {self._url} does not know id {self._known_id} any more, which it knew: "
                "it is still starting, or has lost its data"
            )

    def _new_client(self) -> SchemaRegistryClient:
        # Made anew where an answer must not come from the client's own cache.
        return SchemaRegistryClient({"url": self._url, "timeout": self._timeout_seconds, "max.retries": 0})

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        return RegistryUnavailable(f"schema registry {self._url}: {error}")

    def _remember_unknown(self, schema_id: int) -> None:
        if len(self._unknown_until) >= UNKNOWN_IDS_MAX:
            self._unknown_until.clear()
        self._unknown_until[schema_id] = time.monotonic() + UNKNOWN_ID_SECONDS
