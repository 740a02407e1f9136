"""Kafka -> validated batches -> storage; dead letters; recovery."""
