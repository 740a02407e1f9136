"""docker-compose.yml as written and as interpolated."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
Document = dict[str, Any]

WHO = ("MIGRATE", "CLICKHOUSE_CONSUMER", "CLICKHOUSE_API", "CLICKHOUSE_EXPORTS", "ANALYST")

# Only the forms our file uses: $$, ${NAME}, ${NAME:-default} and ${NAME:?message}.
# https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
REFERENCE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class VariableMissing(Exception):
    """A required variable has no value; the message is the file's own."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Return `value` with every reference in its strings replaced.

    Raises:
        VariableMissing: a variable without a default is unset or empty.
    """
    if isinstance(value, dict):
        return {key: interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        found = variables.get(match["name"], "")
        if found:
            return found
        if match["kind"] == "-":
            return match["rest"]
        raise VariableMissing(f"{match['name']}: {match['rest']}")

    return REFERENCE.sub(replacement, value)


@pytest.fixture(scope="session")
def compose_source() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="session")
def compose(compose_source: str) -> Document:
    """The file as written, anchors resolved, references left in place."""
    document: Document = yaml.safe_load(compose_source)
    return document


@pytest.fixture(scope="session")
def interpolated() -> Callable[[Document, Mapping[str, str]], Document]:
    return interpolate


@pytest.fixture(scope="session")
def variable_missing() -> type[Exception]:
    return VariableMissing


@pytest.fixture(scope="session")
def secrets_given() -> Mapping[str, str]:
    return {f"AUDITLOG_{who}_PASSWORD": who.lower() for who in WHO}
