"""Reading catalog files: the built-in ones and the files a company adds to them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditlog_schemas.bad_setting import read_file
from auditlog_schemas.catalog import PLACEHOLDER, Action, Catalog, EntityType
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.limits import ENTITY_TYPES_MAX, METADATA_KEY_BYTES_MAX
from auditlog_schemas.own_actions import OWN_PREFIX

BUILTIN: Final = ("catalog.toml", "catalog_own.toml")
"""The actions of the platform, and those of the audit log itself."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
Title = Annotated[str, Field(min_length=1, max_length=200)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=METADATA_KEY_BYTES_MAX)]


class _ActionEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    group: Title
    entity_type: Name
    kind: Name
    sentence: Title
    version: Annotated[int, Field(ge=1)] = 1
    changes_required: bool = False
    required_metadata: list[MetadataKey] = []
    required_related: list[Name] = []
    sensitive: list[str] = []


class _EntityTypeEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: Title


class _CatalogFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    entity_types: dict[Name, _EntityTypeEntry] = {}
    actions: dict[Name, _ActionEntry] = {}


def load_catalog(extra_paths: Iterable[Path | str] = ()) -> Catalog:
    """Load the built-in files and merge the extra files into it, in order.

    An extra file adds actions and entity types; it cannot redefine one, so that an action means the same
    in every service.

    Raises:
        ConfigError: a file cannot be read or is wrong; the message names the file and the line or the key.
    """
    builtin = files("auditlog_schemas")
    sources = [(f"{name} (built in)", (builtin / name).read_text("utf-8")) for name in BUILTIN]
    extra = [(str(path), read_file("catalog file", Path(path))) for path in extra_paths]
    actions: dict[str, Action] = {}
    entity_types: dict[str, EntityType] = {}
    origin: dict[str, str] = {}
    for number, (name, text) in enumerate(sources + extra):
        entries = _parse(name, text)
        if number >= len(sources):
            _refuse_own(name, entries)
        for key, entity in entries.entity_types.items():
            _claim(origin, f"entity_types.{key}", name)
            entity_types[key] = EntityType(key, entity.title)
        for key, entry in entries.actions.items():
            _claim(origin, f"actions.{key}", name)
            actions[key] = _action(key, entry)
        _check_entity_types(name, entries, entity_types)
    return Catalog(MappingProxyType(actions), MappingProxyType(entity_types))


def _parse(name: str, text: str) -> _CatalogFile:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"catalog file {name}: is not TOML: {error}") from error
    try:
        entries = _CatalogFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise ConfigError(f"catalog file {name}: {key}: {first['msg']}") from error
    for key, entry in entries.actions.items():
        _check_sentence(name, key, entry)
    return entries


def _refuse_own(name: str, entries: _CatalogFile) -> None:
    for key in entries.actions:
        if key.startswith(OWN_PREFIX):
            reserved = f"names that begin with {OWN_PREFIX} are reserved for the audit log itself"
            raise ConfigError(f"catalog file {name}: actions.{key}: {reserved}; choose another one")


def _claim(origin: dict[str, str], key: str, name: str) -> None:
    if key in origin:
        raise ConfigError(f"catalog file {name}: {key}: is already defined in {origin[key]}")
    origin[key] = name


def _action(name: str, entry: _ActionEntry) -> Action:
    return Action(
        name=name,
        group=entry.group,
        entity_type=entry.entity_type,
        kind=entry.kind,
        sentence=entry.sentence,
        version=entry.version,
        changes_required=entry.changes_required,
        required_metadata=tuple(entry.required_metadata),
        required_related=tuple(entry.required_related),
        sensitive=frozenset(entry.sensitive),
    )


def _check_entity_types(name: str, entries: _CatalogFile, known: Mapping[str, Any]) -> None:
    if len(known) > ENTITY_TYPES_MAX:
        raise ConfigError(
            f"catalog file {name}: entity_types: {len(known)} in all, allowed are {ENTITY_TYPES_MAX}"
        )
    for key, entry in entries.actions.items():
        if entry.entity_type not in known:
            raise ConfigError(_undefined(name, f"actions.{key}.entity_type", entry.entity_type))
        for entity_type in entry.required_related:
            if entity_type not in known:
                raise ConfigError(_undefined(name, f"actions.{key}.required_related", entity_type))


def _undefined(name: str, key: str, entity_type: str) -> str:
    return (
        f"catalog file {name}: {key}: unknown entity type {entity_type!r}; add [entity_types.{entity_type}]"
    )


def _check_sentence(name: str, key: str, entry: _ActionEntry) -> None:
    """A sentence may only use what every event of the action has."""
    allowed = {"actor", "entity"}
    allowed |= {f"metadata.{item}" for item in entry.required_metadata}
    allowed |= {f"related.{item}" for item in entry.required_related}
    used = set(PLACEHOLDER.findall(entry.sentence))
    unknown = sorted(used - allowed)
    where = f"catalog file {name}: actions.{key}.sentence"
    if unknown:
        raise ConfigError(f"{where}: {{{unknown[0]}}} is not one of {', '.join(sorted(allowed))}")
    if re.search(r"[{}]", PLACEHOLDER.sub("", entry.sentence)):
        raise ConfigError(f"{where}: has an unmatched brace")
