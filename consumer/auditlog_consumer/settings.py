"""How the consumer reaches Kafka and how it batches, from the environment or from code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from auditlog_consumer.intent import WINDOW_MAX
from auditlog_schemas.bad_setting import bad_setting
from auditlog_schemas.errors import ConfigError

PREFIX: Final = "AUDITLOG_"
DEAD_SUFFIX: Final = ".dead"

Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1024)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class ConsumerSettings(BaseSettings):
    """Settings of one consumer process; each is read from AUDITLOG_<NAME>.

    Attributes:
        kafka: bootstrap servers, ``host:port[,host:port]``.
        kafka_config: further librdkafka settings as a JSON object, for TLS and SASL.
        topic: where events are published; dead letters go to this name plus ``.dead``.
        group: the consumer group.
        schema_registry_url: of a registry with Confluent's API; needed for Confluent framing only.
        catalog: extra catalog files, separated as in PATH.
        schemas: files of further writer schemas (.avsc), separated as in PATH.
        batch_rows_max, batch_bytes_max, flush_interval_seconds: a partition's batch is stored when it
            reaches the first of these; bytes are those of the message values.
        buffered_bytes_max: memory for messages that are not stored yet, of all partitions together;
            when it is in use, nothing more is read of partitions with a backlog.
        backlog_turns_max: how many partitions with a backlog are read at the same time; the fewer, the larger
            are their batches.
        storing_threads: batches stored at the same time.
        window_offsets: a second copy of an event (same account, same event id) is dropped when the first
            one was accepted within so many offsets before, in the same partition. 24 to 48 bytes of
            memory for each, in each partition.
        session_timeout_seconds: after which Kafka gives the partitions of a silent member away.
        takes_over_group: another group whose ledger this one goes on with, after a change of `group`.
        stop_seconds_max: how long a stop waits for batches under way.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    kafka: Annotated[str, Field(min_length=1)]
    kafka_config: dict[str, str] = {}
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "audit.events"
    group: Annotated[str, Field(min_length=1, max_length=200)] = "auditlog"
    schema_registry_url: str | None = None
    catalog: Annotated[tuple[Path, ...], NoDecode] = ()
    schemas: Annotated[tuple[Path, ...], NoDecode] = ()
    batch_rows_max: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    batch_bytes_max: Bytes = 20 * 1024 * 1024
    flush_interval_seconds: Seconds = 1.0
    buffered_bytes_max: Bytes = 88 * 1024 * 1024
    backlog_turns_max: Count = 1
    storing_threads: Count = 4
    window_offsets: Annotated[int, Field(ge=0, le=WINDOW_MAX)] = 1_000_000
    session_timeout_seconds: Seconds = 30.0
    takes_over_group: str | None = None
    stop_seconds_max: Seconds = 7.0

    @property
    def insert_seconds_max(self) -> float:
        """Return how long after its announcement an insert may begin.

        Half a session: the next owner cannot start before a whole one is over, less a heartbeat, so the
        insert has the rest of it to become visible.
        """
        return self.session_timeout_seconds / 2

    @property
    def dead_topic(self) -> str:
        """Return the topic of the dead letters."""
        return self.topic + DEAD_SUFFIX

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given here comes before it.

        Raises:
            ConfigError: a value is missing or wrong; the message names the variable.
        """
        for name in ("catalog", "schemas"):
            if name not in given and (paths := os.environ.get(PREFIX + name.upper())):
                given[name] = tuple(Path(path) for path in paths.split(os.pathsep) if path)
        try:
            return cls(**given)
        except SettingsError as error:
            raise ConfigError(f"{PREFIX}KAFKA_CONFIG: is not a JSON object: {error.__cause__}") from None
        except ValidationError as error:
            raise bad_setting(error, PREFIX) from None
