"""Fetching record batches from Kafka and taking them apart in bounded memory, whatever was published."""
