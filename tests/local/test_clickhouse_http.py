from __future__ import annotations

import clickhouse_connect
import pytest

pytestmark = pytest.mark.integration


def test_a_fresh_database_is_there(fresh_database: str) -> None:
    client = clickhouse_connect.get_client(dsn=fresh_database)
    assert client.query("SELECT currentDatabase()").result_rows[0][0] == fresh_database.rpartition("/")[2]
    client.close()
