"""Catalog files: merging them, and what is said about a bad one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_schemas.bad_setting import FILE_BYTES_MAX
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.limits import ENTITY_TYPES_MAX

BUILTIN = load_catalog()
NAMES = st.lists(st.from_regex(r"\Aown_[a-z0-9_]{0,20}\Z"), unique=True, max_size=8)

ACTION = """
[actions.invoice_sent]
group = "Billing"
entity_type = "customer"
kind = "sent"
sentence = "{actor} sent an invoice to {entity}"
"""


def action(name: str) -> str:
    return ACTION.replace("invoice_sent", name)


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, "utf-8")
    return path


@given(first=NAMES, second=NAMES)
def test_merging_adds_each_files_actions_and_changes_none(first: list[str], second: list[str]) -> None:
    with TemporaryDirectory() as directory:
        files = [
            write(Path(directory), f"{index}.toml", "".join(action(name) for name in names))
            for index, names in enumerate((first, second))
        ]
        if set(first) & set(second):
            with pytest.raises(ConfigError, match="is already defined in"):
                load_catalog(files)
            return
        merged = load_catalog(files)
    assert set(merged.actions) == {*BUILTIN.actions, *first, *second}
    assert {name: merged.actions[name] for name in BUILTIN.actions} == dict(BUILTIN.actions)
    assert all(merged.actions[name].sentence.endswith("{entity}") for name in [*first, *second])
    assert (merged.version == BUILTIN.version) == (not first and not second)


def test_an_extra_file_may_add_entity_types(tmp_path: Path) -> None:
    text = '[entity_types.invoice]\ntitle = "Invoice"\n' + ACTION.replace('"customer"', '"invoice"')
    merged = load_catalog([write(tmp_path, "extra.toml", text)])
    assert merged.entity_types["invoice"].title == "Invoice"
    assert merged.actions["invoice_sent"].entity_type == "invoice"


BAD = {
    "syntax": ("[actions.x\n", "line 1"),
    "syntax that is none": ("\0", r"is not TOML: .*line 1"),
    "a number of many digits": (ACTION + f"version = {'1' * 10_000}\n", r"is not TOML: .*digits"),
    "too deep": ("a = " + "[" * 100_000, r"is not TOML: "),
    "too large": ("#" * (FILE_BYTES_MAX + 1), r"has more than 16,777,216 bytes"),
    "syntax further down": (ACTION + "oops\n", "line 7"),
    "key of a file": ("[colours.red]\n", r"colours: .*[Ee]xtra"),
    "key of an action": (ACTION + 'colour = "red"\n', r"actions\.invoice_sent\.colour: "),
    "missing key": ("[actions.x]\n", r"actions\.x\.group: "),
    "wrong type": (ACTION + 'version = "2"\n', r"actions\.invoice_sent\.version: "),
    "version 0": (ACTION + "version = 0\n", r"actions\.invoice_sent\.version: "),
    "name of an action": (action("Bad-Name"), r"actions\.Bad-Name"),
    "unknown entity type": (
        ACTION.replace('"customer"', '"invoice"'),
        r"actions\.invoice_sent\.entity_type: unknown entity type 'invoice'; add \[entity_types\.invoice\]",
    ),
    "unknown related type": (
        ACTION + 'required_related = ["invoice"]\n',
        r"actions\.invoice_sent\.required_related: unknown entity type 'invoice'",
    ),
    "redefined action": (
        action("license_reset"),
        r"actions\.license_reset: is already defined in catalog\.toml \(built in\)",
    ),
    "redefined entity type": (
        '[entity_types.license]\ntitle = "Mine"\n',
        r"entity_types\.license: is already defined",
    ),
    "placeholder": (
        ACTION.replace("{entity}", "{metadata.invoice}"),
        r"actions\.invoice_sent\.sentence: \{metadata\.invoice\} is not one of actor, entity",
    ),
    "brace": (ACTION.replace("{entity}", "{entity"), r"actions\.invoice_sent\.sentence: has an unmatched"),
    "metadata key too long": (
        ACTION + f'required_metadata = ["{"k" * 41}"]\n',
        r"actions\.invoice_sent\.required_metadata\.0: ",
    ),
    "too many entity types": (
        "".join(f'[entity_types.type{i}]\ntitle = "T"\n' for i in range(ENTITY_TYPES_MAX)),
        rf"entity_types: {ENTITY_TYPES_MAX + len(BUILTIN.entity_types)} in all, allowed are \d+",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_named_with_its_line_or_key(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "extra.toml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_catalog([path])
    assert f"catalog file {path}: " in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: .*No such file"):
        load_catalog([tmp_path / "absent.toml"])


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.toml: is not UTF-8: .* at byte 5"):
        load_catalog([path])


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"catalog file {tmp_path}: cannot be read: Is a directory"):
        load_catalog([tmp_path])


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "extra.toml", "\ufeff" + ACTION)
    assert "invoice_sent" in load_catalog([path]).actions


def test_exactly_the_most_entity_types_are_allowed(tmp_path: Path) -> None:
    more = ENTITY_TYPES_MAX - len(BUILTIN.entity_types)
    text = "".join(f'[entity_types.type{i}]\ntitle = "T"\n' for i in range(more))
    merged = load_catalog([write(tmp_path, "extra.toml", text)])
    assert len(merged.entity_types) == ENTITY_TYPES_MAX
