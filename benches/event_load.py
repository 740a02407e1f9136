"""A topic full of ordinary events, fast: a pool is encoded once, then repeated with new ids and times.

Encoding by fastavro gives about 60,000 events a second, which would be most of a bench. The pool is real
events through the real codec, kept in the system's temporary directory; of each round of it the id's last 12
digits and the time are overwritten in the bytes, so that all events differ.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import sample_messages as samples
from confluent_kafka import Producer

POOL_EVENTS: Final = 100_000
STEP_MICROS: Final = 100

# Single-object header (10), the id's length (1) and 36 characters, the account's length (1) and 10
# characters, then the time: 8 bytes of zigzag varint for any time between 1979 and 3111.
_ID_TAIL: Final = 10 + 1 + 24
_ACCOUNT: Final = slice(10 + 1 + 36 + 1, 10 + 1 + 36 + 1 + 10)
_MICROS: Final = _ACCOUNT.stop
_MICROS_BYTES: Final = 8

Longs: TypeAlias = npt.NDArray[np.int64]
Octets: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pool:
    """Encoded events: message `i` is ``data[starts[i]:starts[i + 1]]``."""

    data: Octets
    starts: Longs

    def accounts(self) -> list[bytes]:
        """Return each message's Kafka key."""
        whole = self.data.tobytes()
        return [whole[at + _ACCOUNT.start : at + _ACCOUNT.stop] for at in self.starts[:-1]]

    def round(self, number: int, first_micros: int) -> list[bytes]:
        """Return the messages with ids of their own and times from `first_micros` on."""
        data, at = self.data.copy(), self.starts[:-1]
        tails = np.random.default_rng(number).integers(0, 16, (len(at), 12), np.uint8)
        digits = np.frombuffer(b"0123456789abcdef", np.uint8)
        data[at[:, None] + np.arange(_ID_TAIL, _ID_TAIL + 12)] = digits[tails]
        zigzag = 2 * (first_micros + STEP_MICROS * np.arange(len(at), dtype=np.int64))
        groups = zigzag[:, None] >> (7 * np.arange(_MICROS_BYTES)) & 0x7F
        groups[:, :-1] |= 0x80
        data[at[:, None] + np.arange(_MICROS, _MICROS + _MICROS_BYTES)] = groups
        whole = data.tobytes()
        return [whole[start:end] for start, end in pairwise(self.starts.tolist())]


def load_topic(kafka: str, topic: str, events: int) -> int:
    """Write so many ordinary events; return the bytes of their values."""
    writer = Producer(
        {
            "bootstrap.servers": kafka,
            # As the SDK: so a topic of 8 partitions has one account bucket in each.
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 2 * POOL_EVENTS,
            "queue.buffering.max.kbytes": 1_000_000,
            "acks": "all",
        }
    )
    size_bytes = 0
    for keys, values in _rounds(events):
        messages = [{"key": key, "value": value} for key, value in zip(keys, values, strict=True)]
        if writer.produce_batch(topic, messages) != len(messages):
            raise RuntimeError("the producer's queue took only a part of a round")
        size_bytes += sum(map(len, values))
        while len(writer) > POOL_EVENTS // 2:
            writer.poll(0.01)
    if left := writer.flush(120):
        raise RuntimeError(f"Kafka did not acknowledge {left} of {events} messages")
    return size_bytes


def _rounds(events: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
    pool = ordinary_pool()
    keys = pool.accounts()
    first_micros = int(time.time() * 1e6) - events * STEP_MICROS
    for number, done in enumerate(range(0, events, POOL_EVENTS)):
        values = pool.round(number, first_micros + done * STEP_MICROS)
        count = min(POOL_EVENTS, events - done)
        yield keys[:count], values[:count]


def ordinary_pool() -> Pool:
    """Return the pool, from the temporary directory when it is there."""
    path = _cache_path()
    if not path.exists():
        messages = samples.sample_messages("ordinary", POOL_EVENTS)
        starts = np.cumsum([0, *map(len, messages)], dtype=np.int64)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(half, data=np.frombuffer(b"".join(messages), np.uint8), starts=starts)
        half.replace(path)
    with np.load(path) as kept:
        return Pool(kept["data"], kept["starts"])


def _cache_path() -> Path:
    """Return a path that changes with the events, the codec and the schema."""
    import auditlog_schemas

    sources = [samples.__file__, *sorted(map(str, Path(auditlog_schemas.__path__[0]).glob("*.avsc")))]
    digest = hashlib.sha256(b"".join(Path(source or "").read_bytes() for source in sources)).hexdigest()
    return Path(tempfile.gettempdir()) / f"auditlog-bench-{os.getuid()}" / f"ordinary-{digest[:12]}.npz"
