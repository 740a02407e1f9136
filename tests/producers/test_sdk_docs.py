"""docs/publishing.md and docs/catalog.md: their examples load, their tables name what exists."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import auditlog_producers
from auditlog_producers import AuditEvent, AuditProducer, Entity, load_catalog
from auditlog_producers.kafka_config import REFUSED
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.catalog_file import _ActionEntry, _EntityTypeEntry
from kit.producing import MakeEvent

ROOT = Path(__file__).parents[2]
PUBLISHING = (ROOT / "docs" / "publishing.md").read_text("utf-8")
CATALOG = (ROOT / "docs" / "catalog.md").read_text("utf-8")


def _first_cells(text: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", text, re.M))


@pytest.fixture
def extended(tmp_path: Path) -> Catalog:
    found = re.search(r"```toml\n(.*?)```", CATALOG, re.S)
    assert found
    path = tmp_path / "webhooks.toml"
    path.write_text(found[1], "utf-8")
    return load_catalog([path])


def test_the_catalog_example_loads_and_reads_as_a_sentence(extended: Catalog, make_event: MakeEvent) -> None:
    event: AuditEvent = make_event(
        action="webhook_attached",
        entity=Entity(type="webhook", id="wh_1", name="Slack"),
        related=(Entity(type="product", id="prd_1", name="Editor"),),
        metadata={"event": "license.created"},
    )
    extended.check(event.to_record())
    assert extended.sentence(event) == "Ada attached webhook Slack to product Editor for license.created"
    assert extended.actions["webhook_updated"].version == 2


def test_the_catalog_page_explains_every_key_and_no_other() -> None:
    entity_types, actions = CATALOG.split("## Keys of an action")
    assert _first_cells(entity_types) == set(_EntityTypeEntry.model_fields)
    assert _first_cells(actions) == set(_ActionEntry.model_fields)


def test_the_catalog_page_lists_the_kinds() -> None:
    kinds = sorted({action.kind for action in load_catalog().actions.values()})
    listed = re.search(r"Kinds of the built-in catalog: (.*?)\.", CATALOG, re.S)
    assert listed
    assert listed[1].replace("\n", " ").split(", ") == kinds


def test_the_settings_table_is_the_signature() -> None:
    settings = PUBLISHING.split("## Settings")[1]
    assert _first_cells(settings) == set(inspect.signature(AuditProducer).parameters)
    for key in ("acks", "enable.idempotence", "partitioner", "max.in.flight", "retries", "transactional.id"):
        assert key in REFUSED


def test_the_errors_named_exist() -> None:
    errors = PUBLISHING.split("## Errors")[1].split("## With")[0]
    for name in _first_cells(errors):
        assert issubclass(getattr(auditlog_producers, name), auditlog_producers.AuditError)


def test_the_python_in_the_docs_is_python_and_the_example_is_the_same() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PUBLISHING, re.S)
    assert len(blocks) == 5
    for block in blocks:
        ast.parse(block)
    example = (ROOT / "examples" / "publish.py").read_text("utf-8")
    called = [line.strip() for line in blocks[0].splitlines() if line.startswith("    ")]
    assert called == [line.strip() for line in example.splitlines() if line.startswith("        ")]
