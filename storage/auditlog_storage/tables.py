"""Every table of the audit log: columns, engines and settings, and the settings of an insert.

The one place to change for a cluster: engines (Replicated, Distributed) and settings are data here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from auditlog_storage.table import Column, Table

ACCOUNT_BUCKETS: Final = 8
"""`account_bucket` is ``kafkaMurmurHash(account_id) % 8``: Kafka's partition when a topic has eight."""

OFFSET_MAX: Final = (1 << 63) - 2
"""The last offset that Kafka can give: where its log ends then is the highest Int64."""

KEY_BYTES: Final = 32
"""Bytes of each key in `audit_keys`."""

BATCH_ROWS_MAX: Final = 1_000_000
"""Rows of one insert: the server splits a block at 1,048,449 rows, and a token names one block only."""

_TEXT: Final = pa.string()
_ENTITY: Final = pa.struct(
    [pa.field("type", _TEXT, False), pa.field("id", _TEXT, False), pa.field("name", _TEXT)]
)
_CHANGE: Final = pa.struct(
    [pa.field("field", _TEXT, False), pa.field("before", _TEXT), pa.field("after", _TEXT)]
)
_MICROS: Final = pa.timestamp("us", "UTC")
_MILLIS: Final = pa.timestamp("ms", "UTC")
_UUID: Final = pa.binary(16)


def bucket_of(account: str) -> str:
    """Return the SQL expression of the bucket of an account, given as a SQL expression."""
    return f"kafkaMurmurHash({account}) % {ACCOUNT_BUCKETS}"


EVENT_WORDS: Final = (
    "lowerUTF8(arrayStringConcat(arrayConcat("
    "[entity_id], [entity_name], [actor_id], [actor_name], [actor_email], related.id, related.name, "
    "changes.field, changes.before, changes.after, mapValues(metadata)), '\\n'))"
)
"""SQL expression of the text that free text is looked for in: a line for each of an event's own texts."""

# An acknowledged insert must survive a power cut: ClickHouse does not fsync by default.
_DURABLE: Final = {"fsync_after_insert": 1, "fsync_part_directory": 1}

# Counted in parts: of `audit_events` about 1,250 batches of eight entity types.
_TOKENS: Final = {"non_replicated_deduplication_window": 10_000, "replicated_deduplication_window": 10_000}

_WORD: Final = "LowCardinality(String)"
_NOTE: Final = "Nullable(String)"


def _text(name: str, type: str = "String", codec: str = "ZSTD(1)") -> Column:
    return Column(name, type, _TEXT, nullable="Nullable" in type, codec=codec)


def _word(name: str) -> Column:
    return _text(name, _WORD, codec="")


READER_INDEXES: Final = (
    "INDEX by_actor actor_id TYPE bloom_filter(0.01) GRANULARITY 1",
    "INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1",
    f"INDEX by_word {EVENT_WORDS} TYPE text(tokenizer = splitByNonAlpha, posting_list_codec = 'bitpacking')",
)
"""Indexes that came with migration 4; in `AUDIT_EVENTS` from then on."""

_DAY_KEYS: Final = (
    "account_bucket, account_id, toStartOfDay(occurred_at), entity_type, action, source_service, actor_type"
)
DAY_COUNTS: Final = f"PROJECTION counts_by_day (SELECT {_DAY_KEYS}, count() GROUP BY {_DAY_KEYS})"
"""How many events there were on each day: came with migration 5; in `AUDIT_EVENTS` from then on.

It answers what asks for nothing but its columns, so histograms and facets of a whole log do not read it all.
"""

_ACTOR_KEYS: Final = "account_bucket, account_id, actor_id"
_ADDRESS_KEYS: Final = "account_bucket, account_id, ifNull(ip, '')"
VALUE_COUNTS: Final = (
    f"PROJECTION counts_by_actor (SELECT {_ACTOR_KEYS}, count() GROUP BY {_ACTOR_KEYS})",
    f"PROJECTION counts_by_address (SELECT {_ADDRESS_KEYS}, count() GROUP BY {_ADDRESS_KEYS})",
)
"""How many events there were of each actor and from each address: came with migration 6.

The page shows both facets whenever somebody opens a log.
"""

PAGE_SETTINGS: Final[Mapping[str, int | str]] = {
    # A page opens every column of every entity type's part: one file for a string column, not two.
    "string_serialization_version": "single_stream",
    # Compressed by granule, so that a page's rows cost few other ones.
    "min_compress_block_size": 4_096,
}
"""Settings of `audit_events` that came with migration 6; older parts get them when they are merged."""

AUDIT_EVENTS: Final = Table(
    name="audit_events",
    columns=(
        Column("account_bucket", "UInt8", pa.uint8()),
        _word("account_id"),
        Column("occurred_at", "DateTime64(6, 'UTC')", _MICROS, codec="Delta(8), ZSTD(1)"),
        Column("event_id", "UUID", _UUID),
        _word("action"),
        Column("action_version", "UInt32", pa.uint32()),
        _word("entity_type"),
        _text("entity_id"),
        _text("entity_name", _NOTE),
        Column(
            "related",
            f"Array(Tuple(type {_WORD}, id String, name {_NOTE}))",
            pa.list_(pa.field("item", _ENTITY, False)),
            codec="ZSTD(1)",
        ),
        _word("source_service"),
        _text("source_instance_id"),
        Column("source_sequence", "Int64", pa.int64(), codec="Delta(8), ZSTD(1)"),
        _word("actor_type"),
        _text("actor_id"),
        _text("actor_name", _NOTE),
        _text("actor_email", _NOTE),
        _text("actor_impersonator_id", _NOTE),
        _text("ip", _NOTE),
        _text("user_agent", "LowCardinality(Nullable(String))", codec=""),
        _text("request_id", _NOTE),
        Column(
            "changes",
            f"Array(Tuple(field String, before {_NOTE}, after {_NOTE}))",
            pa.list_(pa.field("item", _CHANGE, False)),
            codec="ZSTD(1)",
        ),
        Column("metadata", "Map(String, String)", pa.map_(_TEXT, _TEXT), codec="ZSTD(1)"),
        Column("topic_id", "UUID", _UUID, codec="ZSTD(1)"),
        Column("kafka_partition", "Int32", pa.int32(), codec="ZSTD(1)"),
        Column("kafka_offset", "Int64", pa.int64(), codec="Delta(8), ZSTD(1)"),
        Column("received_at", "DateTime64(3, 'UTC')", _MILLIS, codec="Delta(8), ZSTD(1)"),
        # The items an event belongs to, as "type/id": its entity and every related entity.
        Column(
            "item_keys",
            "Array(String)",
            materialized="arrayDistinct(arrayConcat([concat(entity_type, '/', entity_id)], "
            "arrayMap((type, id) -> concat(type, '/', id), related.type, related.id)))",
            codec="ZSTD(1)",
        ),
    ),
    engine="MergeTree",
    partition_by="(account_bucket, entity_type)",
    order_by="(account_id, occurred_at, event_id)",
    extras=(
        # A row in the wrong bucket would be stored and never found by a reader that prunes by bucket.
        f"CONSTRAINT bucket_of_account CHECK account_bucket = {bucket_of('account_id')}",
        "INDEX by_item item_keys TYPE bloom_filter(0.01) GRANULARITY 1",
        "INDEX by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1",
        *READER_INDEXES,
        "PROJECTION by_offset (SELECT topic_id, kafka_partition, kafka_offset, account_id, event_id "
        "ORDER BY topic_id, kafka_partition, kafka_offset)",
        DAY_COUNTS,
        *VALUE_COUNTS,
    ),
    settings={
        **_DURABLE,
        **_TOKENS,
        # A page's rows lie far apart when they are an actor's or an item's: read little around each.
        "index_granularity": 1_024,
        **PAGE_SETTINGS,
        # Erasure and repair delete rows: the projection must follow.
        "lightweight_mutation_projection_mode": "rebuild",
    },
)

EVENT_ROWS: Final[pa.Schema] = AUDIT_EVENTS.rows
"""Arrow schema of the insertable columns of `audit_events`, in order.

UUIDs are 16 bytes, most significant first (`UUID.bytes`). `occurred_at` is in microseconds, `received_at`
in milliseconds, both UTC. String columns may also come dictionary-encoded, as string views or as large
strings: see `auditlog_storage.writer`.
"""

AUDIT_RANGES: Final = Table(
    name="audit_ranges",
    columns=(
        _word("topic"),
        Column("topic_id", "UUID", _UUID),
        Column("kafka_partition", "Int32", pa.int32()),
        Column("first_offset", "Int64", pa.int64(), codec="Delta(8), ZSTD(1)"),
        Column("last_offset", "Int64", pa.int64(), codec="Delta(8), ZSTD(1)"),
        Column("accepted", "Int64", pa.int64()),
        Column("rejected", "Int64", pa.int64()),
        Column("duplicates", "Int64", pa.int64()),
        Column("absent", "Int64", pa.int64()),
        _word("kind"),
        _word("consumer_group"),
        Column("recorded_at", "DateTime64(3, 'UTC')", _MILLIS, codec="Delta(8), ZSTD(1)"),
    ),
    # Of rows with the same start the one that reaches furthest stays: the ledger never moves backwards.
    engine="ReplacingMergeTree(last_offset)",
    order_by="(topic_id, kafka_partition, first_offset)",
    settings=_DURABLE,
)

AUDIT_CLAIMS: Final = Table(
    name="audit_claims",
    columns=(
        Column("topic_id", "UUID", _UUID),
        Column("number", "UInt32", pa.uint32()),
        _word("consumer_group"),
        Column("claimed_at", "DateTime64(3, 'UTC')", _MILLIS),
    ),
    engine="MergeTree",
    order_by="(topic_id, number)",
    settings={**_DURABLE, **_TOKENS},
)

AUDIT_REMOVALS: Final = Table(
    name="audit_removals",
    columns=(
        Column("removal_id", "UUID", _UUID),
        Column("topic_id", "UUID", _UUID),
        Column("kafka_partition", "Int32", pa.int32()),
        Column("kafka_offset", "Int64", pa.int64(), codec="Delta(8), ZSTD(1)"),
        _word("account_id"),
        Column("event_id", "UUID", _UUID),
        # Where the row was: with identical copies nothing else tells them apart.
        _word("partition_id"),
        _word("part"),
        Column("part_offset", "UInt64", pa.uint64()),
        _word("reason"),
        _word("removed_by"),
        Column("announced_at", "DateTime64(3, 'UTC')", _MILLIS),
        # 0 when announced, 1 once reading back found the row gone.
        Column("removed", "UInt8", pa.uint8()),
    ),
    engine="ReplacingMergeTree(removed)",
    order_by="(topic_id, kafka_partition, kafka_offset, removal_id, part, part_offset)",
    settings=_DURABLE,
)

AUDIT_ACTIONS: Final = Table(
    name="audit_actions",
    columns=(
        _text("action", codec=""),
        _text("action_group", codec=""),
        _text("entity_type", codec=""),
        _text("entity_title", codec=""),
        _text("kind", codec=""),
        _text("sentence", codec=""),
        Column("version", "UInt32", pa.uint32()),
        _text("catalog_version", codec=""),
    ),
    engine="MergeTree",
    order_by="action",
)

AUDIT_TOKENS: Final = Table(
    name="audit_tokens",
    columns=(
        # In hex. The token itself is nowhere.
        _text("token_sha256", codec=""),
        _text("token_id", codec=""),
        _text("account_id", codec=""),
        _word("scope"),
        _text("name", codec=""),
        Column("created_at", "DateTime64(3, 'UTC')", _MILLIS),
        _text("created_by", codec=""),
        Column("expires_at", "Nullable(DateTime64(3, 'UTC'))", _MILLIS, nullable=True),
        Column("revoked", "UInt8", pa.uint8()),
        Column("revoked_at", "Nullable(DateTime64(3, 'UTC'))", _MILLIS, nullable=True),
        _text("revoked_by", codec=""),
    ),
    # Whatever is written when, a revoked token stays revoked.
    engine="ReplacingMergeTree(revoked)",
    order_by="token_sha256",
    settings=_DURABLE,
)

AUDIT_TOKEN_USES: Final = Table(
    name="audit_token_uses",
    columns=(_text("token_id", codec=""), Column("used_at", "DateTime64(3, 'UTC')", _MILLIS)),
    engine="ReplacingMergeTree(used_at)",
    order_by="token_id",
)

AUDIT_KEYS: Final = Table(
    name="audit_keys",
    columns=(
        _text("name", codec=""),
        Column("key", f"FixedString({KEY_BYTES})", pa.binary(KEY_BYTES)),
        # By the server when the row comes, so that a row that was held up on its way is never the oldest.
        Column("created_at", "DateTime64(6, 'UTC')", materialized="now64(6)"),
    ),
    engine="MergeTree",
    order_by="name",
    settings=_DURABLE,
)

AUDIT_MIGRATIONS: Final = Table(
    name="audit_migrations",
    columns=(
        Column("version", "UInt32", pa.uint32()),
        _text("name", codec=""),
        Column("applied_at", "DateTime64(3, 'UTC')", _MILLIS),
    ),
    engine="ReplacingMergeTree",
    order_by="version",
    settings=_DURABLE,
)

FIRST: Final[Mapping[str, int]] = {"priority": 1}
"""Settings of what somebody waits for: inserts and short reads."""

YIELDING: Final[Mapping[str, int]] = {"priority": 2}
"""Settings of what may take hours: after a block it waits while a query of `FIRST` runs, a second at most."""

INSERT_SETTINGS: Final[Mapping[str, int]] = {
    **FIRST,
    "async_insert": 0,
    "max_insert_threads": 1,
    "max_partitions_per_insert_block": 512,
    # One record batch is one block, whatever its bytes.
    "max_insert_block_size": 1_048_449,
    "min_insert_block_size_rows": 1_048_449,
    "min_insert_block_size_bytes": 0,
    # A null or a missing column where none may be is an error, never a silent default.
    "input_format_null_as_default": 0,
    "input_format_arrow_allow_missing_columns": 0,
    # A part gets its skip indexes when it is first merged: new parts are small and read without, and somebody
    # waits for an insert.
    "materialize_skip_indexes_on_insert": 0,
}
"""Settings of every insert; `writer` and `ledger` add whether the server deduplicates by token."""

SMALL_READ_SETTINGS: Final[Mapping[str, int | str]] = {
    "max_threads": 1,
    "local_filesystem_read_method": "pread",
    "load_marks_asynchronously": 0,
    "optimize_move_to_prewhere": 0,
    "optimize_read_in_order": 0,
}
"""Settings of a SELECT that finds its rows by key: a granule or so in each part, of which there are hundreds.

Handing them to other threads, for reading, decompressing or merging what is sorted, costs several times what
the work does.
"""
