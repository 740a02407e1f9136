"""What the tests of the local stack share."""

from __future__ import annotations

import pytest

from local.http_call import value


@pytest.fixture
def table(fresh_database: str) -> str:
    value(
        fresh_database,
        "CREATE TABLE t (p UInt8, o UInt64, v String) ENGINE = MergeTree PARTITION BY p ORDER BY o "
        "SETTINGS non_replicated_deduplication_window = 100",
    )
    return fresh_database
