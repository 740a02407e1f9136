from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import ConfigError, InvalidEvent
from auditlog_schemas.own_actions import SIGNATURE, require_signed, signed
from auditlog_schemas.record import Record
from kit.events import make_record

KEY = b"k" * 32


def own_record() -> Record:
    entity = {"type": "audit_token", "id": "alt_1", "name": "CI"}
    return make_record(action="audit_token_revoked", entity=entity)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return value + 1 if isinstance(value, int) else f"{value}x"
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:])
    return copy


def test_a_signed_record_is_accepted_and_so_is_what_is_not_ours() -> None:
    record = signed(own_record(), KEY)
    require_signed(record, KEY)
    require_signed(record | {"event_id": record["event_id"].upper()}, KEY)
    require_signed(signed(record, KEY), KEY)
    require_signed(make_record(), KEY)


@pytest.mark.parametrize("path", leaves(own_record()), ids=str)
def test_a_signature_fits_no_other_value_of_any_field(path: tuple[Any, ...]) -> None:
    record = signed(own_record(), KEY)
    other = str(uuid4()) if path == ("event_id",) else None
    forged = record | {"event_id": other} if other else changed(record, path)
    if path == ("action",):
        forged = record | {"action": "audit_token_created"}
    with pytest.raises(InvalidEvent, match="does not fit") as raised:
        require_signed(forged, KEY)
    assert (raised.value.rule, raised.value.field) == ("own_action_unsigned", "action")


def test_without_a_signature_or_with_another_key_it_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="is not signed"):
        require_signed(own_record(), KEY)
    with pytest.raises(InvalidEvent, match="another key"):
        require_signed(signed(own_record(), b"o" * 32), KEY)
    with pytest.raises(InvalidEvent, match="does not fit"):
        require_signed(own_record() | {"metadata": {SIGNATURE: "ü"}}, KEY)


def test_a_catalog_file_cannot_have_such_actions(tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    lines = ("[actions.audit_started]", 'group = "Audits"', 'entity_type = "license"', 'kind = "begun"')
    file.write_text("\n".join((*lines, 'sentence = "{actor} began"')))
    with pytest.raises(ConfigError, match=r"more.toml: actions.audit_started: .* reserved"):
        load_catalog([file])
