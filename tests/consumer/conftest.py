"""A pipeline of the test's own on the session's servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.pipeline import Pipeline


@pytest.fixture
def pipeline(kafka_bootstrap: str, fresh_database: str) -> Iterator[Pipeline]:
    made = Pipeline(kafka_bootstrap, fresh_database)
    yield made
    made.close()
