"""The one-machine stack: real Kafka and the ClickHouse engine as supervised processes."""
