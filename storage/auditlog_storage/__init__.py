"""ClickHouse: connection, migrations, writer, reader, ledger."""
