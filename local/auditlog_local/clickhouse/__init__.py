"""ClickHouse's HTTP interface over the engine inside chDB, so that storage talks to it as to any server."""
