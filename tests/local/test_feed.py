"""What the engine reads an insert's data from: a file that it can seek in, whatever the size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auditlog_local.clickhouse.body import Body
from auditlog_local.clickhouse.feed import feed

DATA = bytes(range(256)) * 4096


@pytest.mark.parametrize("memory_bytes_max", [1 << 30, 1 << 16])
def test_the_data_behind_the_statement_can_be_read_and_sought(tmp_path: Path, memory_bytes_max: int) -> None:
    with Body(tmp_path, memory_bytes_max) as body:
        body.write(b"INSERT INTO t FORMAT Arrow")
        for start in range(0, len(DATA), 100_000):
            body.write(DATA[start : start + 100_000])
        assert body.in_memory == (memory_bytes_max > len(DATA))
        with feed(body, 26) as path:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                assert os.fstat(descriptor).st_size == len(DATA)
                os.lseek(descriptor, 1_000_000, os.SEEK_SET)
                assert os.read(descriptor, 1 << 20) == DATA[1_000_000:]
            finally:
                os.close(descriptor)
    assert not list(tmp_path.iterdir())
