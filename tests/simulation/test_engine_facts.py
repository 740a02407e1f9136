"""What the model of ClickHouse takes as given and no single client can show: on the real engine only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Barrier
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pyarrow as pa
import pytest

from simulated.contract_clickhouse import Storage, real_storage

pytestmark = pytest.mark.integration


@pytest.fixture
def storage(fresh_database: str) -> Iterator[Storage]:
    with real_storage(fresh_database) as made:
        yield made


def test_a_live_engine_shows_a_part_before_it_calls_its_token_known(storage: Storage) -> None:
    """Of two inserts under one token at the same time, neither is answered before the rows can be read."""
    for number in range(25):
        together, token, offset = Barrier(2), f"race {number}", number * 10

        def insert_and_look(barrier: Barrier = together, token: str = token, offset: int = offset) -> int:
            barrier.wait(30)
            storage.insert(token, offset, offset + 1, offset + 2)
            return storage.stored.count(storage.topic_id, 0, offset, offset + 9)

        with ThreadPoolExecutor(2) as both:
            seen = [future.result(60) for future in [both.submit(insert_and_look) for _ in range(2)]]
        assert seen == [3, 3]
        assert storage.offsets(offset, offset + 9) == [offset, offset + 1, offset + 2]


def test_a_token_names_blocks_by_their_place_in_the_insert(storage: Storage, fresh_database: str) -> None:
    """The same rows under the same token as one record batch and as two: some are stored twice."""
    rows = storage.rows(0).column("account_id").to_pylist() * 4
    assert len(set(rows)) == 1
    same_place = pa.concat_tables([pa.table(storage.rows(offset)) for offset in range(4)])
    for batch_rows in (4, 2):
        send(fresh_database, same_place, batch_rows, "framed")
    assert storage.offsets() == [0, 1, 2, 2, 3, 3]


def send(url: str, rows: pa.Table, batch_rows: int, token: str) -> None:
    """Insert rows as record batches of so many, with the settings of an insert of ours."""
    body = BytesIO()
    with pa.ipc.new_stream(body, rows.schema) as stream:
        for batch in rows.combine_chunks().to_batches(max_chunksize=batch_rows):
            stream.write_batch(batch)
    settings = {
        "query": f"INSERT INTO audit_events ({', '.join(rows.schema.names)}) FORMAT ArrowStream",
        "database": urlsplit(url).path.strip("/"),
        "async_insert": "0",
        "max_insert_threads": "1",
        "deduplicate_insert": "enable",
        "insert_deduplicate": "1",
        "insert_deduplication_token": token,
        "min_insert_block_size_rows": "0",
        "min_insert_block_size_bytes": "0",
    }
    address = urlsplit(url)
    query = "&".join(f"{name}={quote(value)}" for name, value in settings.items())
    request = Request(f"http://{address.hostname}:{address.port}/?{query}", body.getvalue(), method="POST")
    with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
        answer.read()
