"""Imports between the parts run one way only, and each driver stays in its part."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# Which other parts a part may import. `local` is bound tighter below.
ARROWS: dict[str, set[str]] = {
    "schemas": set(),
    "producers": {"schemas"},
    "storage": {"schemas"},
    "consumer": {"schemas", "storage"},
    "exports": {"schemas", "storage", "producers"},
    "api": {"schemas", "storage", "producers", "exports"},
    "local": {"schemas"},
    "cli": {"schemas", "producers", "storage", "consumer", "exports", "api", "local"},
}
# Kept to some parts: module -> places, each a part or one module of a part.
DRIVERS: dict[str, set[str]] = {
    "confluent_kafka": {"producers", "consumer"},
    "confluent_kafka.schema_registry": {"producers", "consumer", "schemas/registry.py"},
    "clickhouse_connect": {"storage"},
}


def imported_modules(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted module) of every import, also of those in functions and under TYPE_CHECKING.

    `from a import b` yields `a.b`, which is a module or a name in one: either way it says whose it is.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__", "importorskip"}:
                yield node.lineno, str(node.args[0].value)


def is_within(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f"{parent}.")


def arrow_fault(part: str, module: str) -> str | None:
    """Say why `part` may not import `module`, or None."""
    target = module.split(".")[0].removeprefix("auditlog_")
    if not module.startswith("auditlog_") or target == part:
        return None
    if target not in ARROWS[part]:
        return f"{part} may not import {module}"
    if part == "local" and not is_within(module, "auditlog_schemas.errors"):
        return f"local may import auditlog_schemas.errors only, not {module}"
    return None


def driver_fault(part: str, file: str, module: str) -> str | None:
    """Say why `file` of `part` may not import the driver `module`, or None."""
    drivers = [driver for driver in DRIVERS if is_within(module, driver)]
    if not drivers:
        return None
    places = DRIVERS[max(drivers, key=len)]
    if part in places or f"{part}/{file}" in places:
        return None
    return f"{part}/{file} may not import {module}"


def faults(part: str, file: str, source: str) -> list[str]:
    """Return every forbidden import of one module, each with its line."""
    return [
        f"line {line}: {fault}"
        for line, module in imported_modules(source)
        for fault in (arrow_fault(part, module), driver_fault(part, file, module))
        if fault
    ]


def test_every_import_runs_the_right_way(root: Path, source_files: list[Path]) -> None:
    assert len(source_files) > 5
    found = []
    for path in source_files:
        part, _, *inner = path.relative_to(root).parts
        found += [
            f"{path.relative_to(root)} {fault}" for fault in faults(part, "/".join(inner), path.read_text())
        ]
    assert found == []


def test_every_part_has_its_one_package(root: Path, source_files: list[Path]) -> None:
    for path in source_files:
        part, package, *_ = path.relative_to(root).parts
        assert package == f"auditlog_{part}", path


def test_the_arrows_have_no_cycle() -> None:
    left = {part: set(targets) for part, targets in ARROWS.items()}
    while left:
        free = {part for part, targets in left.items() if not targets & set(left)}
        assert free, f"a cycle among {sorted(left)}"
        left = {part: targets for part, targets in left.items() if part not in free}


@pytest.mark.parametrize(
    ("part", "file", "source"),
    [
        ("schemas", "event.py", "import auditlog_storage"),
        ("schemas", "event.py", "from auditlog_producers.producer import AuditProducer"),
        ("producers", "producer.py", "from auditlog_consumer import batch"),
        ("storage", "writer.py", "import auditlog_producers.producer as p"),
        ("consumer", "service.py", "import auditlog_producers"),
        ("consumer", "service.py", "import auditlog_api"),
        ("api", "app.py", "from auditlog_consumer.service import run"),
        ("exports", "job.py", "def f() -> None:\n    import auditlog_api"),
        ("storage", "writer.py", "if TYPE_CHECKING:\n    from auditlog_consumer import batch"),
        ("local", "stack.py", "from auditlog_schemas.catalog import Catalog"),
        ("local", "stack.py", "from auditlog_schemas import event"),
        ("consumer", "service.py", "from auditlog_local import stack"),
        ("producers", "producer.py", "importlib.import_module('auditlog_cli.main')"),
        ("storage", "writer.py", "import confluent_kafka"),
        ("schemas", "registry.py", "from confluent_kafka import Producer"),
        ("schemas", "registry.py", "import confluent_kafka"),
        ("schemas", "codec.py", "from confluent_kafka.schema_registry import SchemaRegistryClient"),
        ("local", "topics.py", "from confluent_kafka.admin import AdminClient"),
        ("consumer", "store.py", "import clickhouse_connect"),
        ("cli", "main.py", "from clickhouse_connect.driver import Client"),
    ],
)
def test_a_wrong_arrow_is_caught(part: str, file: str, source: str) -> None:
    assert len(faults(part, file, source)) == 1


@pytest.mark.parametrize(
    ("part", "file", "source"),
    [
        ("consumer", "service.py", "from auditlog_storage.writer import Writer\nfrom . import batch"),
        ("consumer", "service.py", "import confluent_kafka\nfrom auditlog_schemas import event"),
        ("schemas", "registry.py", "from confluent_kafka.schema_registry import SchemaRegistryClient"),
        ("storage", "connection.py", "import clickhouse_connect.driver.exceptions"),
        ("local", "stack.py", "from auditlog_schemas.errors import ConfigError"),
        ("cli", "main.py", "import auditlog_local, auditlog_consumer"),
        ("storage", "reader.py", "import confluent_kafka_lookalike"),
    ],
)
def test_a_right_arrow_passes(part: str, file: str, source: str) -> None:
    assert faults(part, file, source) == []
