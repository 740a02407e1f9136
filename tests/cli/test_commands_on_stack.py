"""The commands against a real stack: `auditlog up` once, and a person's session with it."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from auditlog_cli.event_input import parse_event
from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_local.running_stack import find_running
from auditlog_schemas.codec import EVENT_SCHEMA, encode
from auditlog_schemas.fingerprints import schema_fingerprint
from auditlog_storage.connection import Connection
from auditlog_storage.reader import LogReader
from auditlog_storage.settings import StorageSettings
from cli.running_command import (
    AUDITLOG,
    LongRunning,
    environment,
    run_on_terminal,
    without_colours,
)
from kit.record_batches import Record, record_batch, send

pytestmark = [pytest.mark.integration, pytest.mark.long]

Done: TypeAlias = "subprocess.CompletedProcess[str]"
Auditlog: TypeAlias = Callable[..., Done]

HOSTILE = "[bold]Eve[/bold] \x1b[2J\x1b]0;owned\x07\u202egnirts\u200b"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli") / "stack"


@pytest.fixture(scope="module")
def stack(data_dir: Path) -> Iterator[LongRunning]:
    up = LongRunning(data_dir, "up")
    try:
        up.wait_for("AUDITLOG_CLICKHOUSE_URL=")
        yield up
    finally:
        up.interrupt()


@pytest.fixture(scope="module")
def auditlog(stack: LongRunning, data_dir: Path) -> Auditlog:
    def run(*arguments: str, input: str = "", **variables: str) -> Done:
        return subprocess.run(
            [*AUDITLOG, *arguments],
            env=environment(data_dir, variables),
            input=input,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


def event(account: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "account_id": account,
        "occurred_at": "2026-01-05T10:00:00Z",
        "action": "license_updated",
        "entity": {"type": "license", "id": f"lic_{number}", "name": f"Seat {number}"},
        "actor": {"type": "platform_user", "id": "usr_1", "name": "Ada"},
        "changes": [{"field": "seats", "before": number, "after": number + 1}],
    } | more


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in events)


def stored(auditlog: Auditlog, data_dir: Path, account: str, count: int) -> list[dict[str, Any]]:
    """Wait until the account has this many events, and return them as the command prints them."""
    running = find_running(data_dir)
    assert running is not None
    deadline = time.monotonic() + 120
    with Connection(StorageSettings.load(url=running.clickhouse_url)) as connection:
        while sum(LogReader(connection).counts_by_action(account).values()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    done = auditlog("events", "--account", account, "--all", "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count
    return found


def test_up_says_where_everything_is(stack: LongRunning, data_dir: Path) -> None:
    running = find_running(data_dir)
    assert running is not None
    assert f"export AUDITLOG_KAFKA={running.kafka}" in stack.err
    assert f"export AUDITLOG_CLICKHOUSE_URL={running.clickhouse_url}" in stack.err
    assert re.search(r"✓ topic +audit.events, 8 partitions", stack.err)


def test_the_api_of_up_answers_with_the_token_that_up_shows(
    stack: LongRunning, auditlog: Auditlog, data_dir: Path
) -> None:
    shown = re.search(r"curl -H 'Authorization: Bearer (alt_\w+)' (http://127\.0\.0\.1:\d+)(\S+)", stack.err)
    assert shown
    token, url, path = shown.groups()
    assert f"✓ api           {url}" in stack.err
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        state = client.get("/readyz").json()
        assert (state["clickhouse"], state["kafka"]["ok"]) == ({"ok": True}, True)
        made = client.post(
            "/v1/accounts/acc_1/viewer-tokens", json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert made.status_code == 201
    # What the command makes is recorded in the log that it is about.
    created = auditlog("token", "create", "--account", "acc_tokens", "--scope", "read", "--name", "CI")
    assert (created.returncode, created.stderr.count("\n")) == (0, 1)
    [event] = stored(auditlog, data_dir, "acc_tokens", 1)
    assert (event["action"], event["source"]["service"]) == ("audit_token_created", "auditlog-cli")
    assert oct((data_dir / "api" / "viewer-keys.json").stat().st_mode)[-3:] == "600"


def test_good_lines_are_published_and_bad_ones_named(auditlog: Auditlog, data_dir: Path) -> None:
    data = lines(event("acc_lines", 1), event("acc_lines", 2, action="nope"), event("acc_lines", 3)) + "}\n"
    done = auditlog("publish", "-", input=data)
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 2: action: 'nope'" in done.stderr
    assert "line 4: " in done.stderr
    assert done.stderr.endswith("2 events published, 2 refused\n")
    found = stored(auditlog, data_dir, "acc_lines", 2)
    assert {one["entity"]["id"] for one in found} == {"lic_1", "lic_3"}
    assert found[0]["source"]["service"] == "auditlog-cli"


def test_what_is_printed_can_be_published_again(auditlog: Auditlog, data_dir: Path) -> None:
    assert auditlog("publish", "-", input=lines(event("acc_first", 1))).returncode == 0
    [first] = stored(auditlog, data_dir, "acc_first", 1)
    copy = json.dumps(first).replace("acc_first", "acc_second")
    assert auditlog("publish", "-", input=copy).returncode == 0
    [second] = stored(auditlog, data_dir, "acc_second", 1)
    added = ("account_id", "received_at", "kafka")
    assert {k: v for k, v in first.items() if k not in added} == {
        k: v for k, v in second.items() if k not in added
    }


def test_one_items_log_in_sentences(auditlog: Auditlog, data_dir: Path) -> None:
    reset = event(
        "acc_item",
        7,
        action="device_reset",
        entity={"type": "device", "id": "dev_1", "name": "Laptop"},
        related=[{"type": "license", "id": "lic_7", "name": "Seat 7"}],
        changes=[],
    )
    assert (
        auditlog("publish", "-", input=lines(event("acc_item", 7), reset, event("acc_item", 8))).returncode
        == 0
    )
    stored(auditlog, data_dir, "acc_item", 3)
    done = auditlog("events", "--account", "acc_item", "--item", "license/lic_7")
    heading, *rows = done.stdout.splitlines()
    assert re.fullmatch(r"TIME \(UTC\) +ACTION +WHAT HAPPENED +CHANGES", heading)
    assert len(rows) == 2
    assert any("Ada reset device Laptop of license Seat 7" in row for row in rows)
    assert any(re.search(r"Ada updated license Seat 7 +seats 7 → 8$", row) for row in rows)
    only = auditlog("events", "--account", "acc_item", "--action", "device_reset", "--actor", "usr_1")
    assert len(only.stdout.splitlines()) == 2
    none = auditlog("events", "--account", "acc_item", "--since", "1h")
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "no events of account acc_item match\n"


def test_a_large_account_comes_whole(auditlog: Auditlog, data_dir: Path) -> None:
    # One time for all of them: pages may not lose or repeat one.
    published = auditlog("publish", "-", input=lines(*(event("acc_large", n) for n in range(2_300))))
    assert published.stderr == "2,300 events published\n"
    found = stored(auditlog, data_dir, "acc_large", 2_300)
    assert len({one["event_id"] for one in found}) == 2_300
    some = auditlog("events", "--account", "acc_large", "--limit", "1500")
    assert len(some.stdout.splitlines()) == 1_501
    assert some.stderr == ""
    first = subprocess.run(
        ["bash", "-c", f"{' '.join(AUDITLOG)} events --account acc_large --all --json | head -n 1"],
        env=environment(data_dir),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(first.stdout.splitlines()) == 1
    assert first.stderr == ""


def test_hostile_names_are_inert_everywhere(auditlog: Auditlog, data_dir: Path) -> None:
    actor = {"type": "platform_user", "id": "usr_e", "name": HOSTILE}
    hostile = event("acc_eve", 1, actor=actor, changes=[{"field": "seats", "after": HOSTILE}])
    assert auditlog("publish", "-", input=lines(hostile)).returncode == 0
    [found] = stored(auditlog, data_dir, "acc_eve", 1)
    assert found["actor"]["name"] == json.loads(found["changes"][0]["after"]) == HOSTILE
    for arguments in (("--json",), ()):
        shown = auditlog("events", "--account", "acc_eve", *arguments).stdout
        assert not set(shown) & set("\x1b\x07\u202e\u200b")
        assert "[bold]Eve[/bold]" in shown
    shown = without_colours(run_on_terminal(data_dir, "events", "--account", "acc_eve"))
    assert "[bold]Eve[/bold]" in shown
    assert not set(shown) & set("\x1b\x07\u202e\u200b")


def test_a_terminal_gets_a_table_and_a_hint(auditlog: Auditlog, data_dir: Path) -> None:
    shown = run_on_terminal(data_dir, "events", "--account", "acc_large", "--limit", "3")
    assert "\x1b[" in shown
    plain = without_colours(shown)
    assert "Time (UTC)" in plain
    assert "the newest 3; --limit N or --all shows more" in plain
    assert max(len(line) for line in plain.splitlines()) <= 100


def test_dead_letters_are_listed_shown_and_replayed(
    auditlog: Auditlog, data_dir: Path, tmp_path: Path
) -> None:
    running = find_running(data_dir)
    assert running is not None
    unknown = encode(parse_event(event("acc_dead", 1, action="license_transferred")).to_record())
    writer = AcknowledgedWriter(running.kafka)
    newer = EVENT_SCHEMA | {"fields": [*EVENT_SCHEMA["fields"], {"name": "x", "type": "string"}]}
    good = encode(parse_event(event("acc_dead", 2)).to_record())
    early = b"\xc3\x01" + schema_fingerprint(newer) + good[10:] + b"\x02y"
    bodies = (b"\x1b[31mnonsense", unknown, early)
    writer.write("audit.events", [Outgoing(b"acc_dead", body) for body in bodies])
    writer.close()
    deadline = time.monotonic() + 120
    while "3 in all" not in (done := auditlog("dead-letters", "list")).stderr:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.3)
    letters = {
        letter["rule"]: letter
        for letter in map(json.loads, auditlog("dead-letters", "list", "--json").stdout.splitlines())
    }
    assert set(letters) == {"unknown_framing", "unknown_action", "unknown_fingerprint"}
    shown = auditlog("dead-letters", "show", letters["unknown_framing"]["id"]).stdout
    assert "1b 5b 33 31 6d 6e 6f 6e" in shown
    assert "\x1b" not in shown
    shown = auditlog("dead-letters", "show", letters["unknown_action"]["id"]).stdout
    assert json.loads(shown.splitlines()[-1])["action"] == "license_transferred"
    missing = auditlog("dead-letters", "show", "99/99")
    assert missing.returncode == 1
    assert "`auditlog dead-letters list`" in missing.stderr

    nothing = auditlog("dead-letters", "replay", "--all")
    assert nothing.stdout == "0 published again, 3 left that today's rules reject too\n"
    told = dict(line.split(" 1: ", 1) for line in nothing.stderr.splitlines())
    assert told["unknown_framing"].startswith("no setting helps: mend the service that sent them")
    assert told["unknown_action"].startswith("extend the catalog (AUDITLOG_CATALOG)")
    assert told["unknown_fingerprint"].startswith("give the consumers the schema")
    more, schema = tmp_path / "more.toml", tmp_path / "newer.avsc"
    more.write_text(
        '[actions.license_transferred]\ngroup="Licenses"\nentity_type="license"\nkind="moved"\n'
        'sentence="{actor} moved license {entity}"\n'
    )
    schema.write_text(json.dumps(newer))
    done = auditlog("dead-letters", "replay", "--rule", "unknown_fingerprint", AUDITLOG_SCHEMAS=str(schema))
    assert (done.stdout, done.stderr) == ("1 published again, 0 left that today's rules reject too\n", "")
    done = auditlog("dead-letters", "replay", letters["unknown_action"]["id"], AUDITLOG_CATALOG=str(more))
    assert done.stdout == "1 published again, 0 left that today's rules reject too\n"


def test_check_and_doctor_find_everything_in_order(auditlog: Auditlog) -> None:
    migrated = auditlog("migrate")
    assert migrated.returncode == 0
    assert migrated.stdout.splitlines()[0] == "nothing to do"
    deadline = time.monotonic() + 120
    while (doctor := auditlog("doctor", "--json")).returncode:
        assert time.monotonic() < deadline, doctor.stdout
    found = {line["name"]: line["status"] for line in map(json.loads, doctor.stdout.splitlines())}
    assert set(found.values()) <= {"ok", "note"}
    assert {"java", "kafka", "topic", "dead letters", "clickhouse", "tables", "lag"} <= set(found)
    done = auditlog("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"ok: .* ranges of offsets add up: .* stored, .* dead-lettered\n", done.stdout)
    report = json.loads(auditlog("check", "--json").stdout)
    assert report["ok"] is True
    assert report["absent"] == 0
    assert report["accepted"] > 2_300


def test_an_export_from_the_command_to_the_files_and_back(
    auditlog: Auditlog, data_dir: Path, tmp_path: Path
) -> None:
    account, out = ("--account", "acc_export"), tmp_path / "out"
    sent = [event("acc_export", number) for number in range(300)]
    assert auditlog("publish", "-", input=lines(*sent)).returncode == 0
    stored(auditlog, data_dir, "acc_export", 300)
    made = auditlog("export", "create", *account, "action:license.*", "--out", str(out))
    assert made.returncode == 0, made.stderr
    job = made.stdout.strip()
    whole = auditlog("export", "verify", str(out))
    assert (whole.returncode, "whole: 300 events in 1 part" in whole.stderr) == (0, True), whole.stderr
    assert job in auditlog("export", "list", *account).stdout
    status = json.loads(auditlog("export", "status", job, *account, "--json").stdout)
    assert (status["state"], status["rows_done"], status["filter"]["search"]) == (
        "finished",
        300,
        "action:license_*",
    )
    late = auditlog("export", "cancel", job, *account)
    assert (late.returncode, "finished" in late.stderr) == (1, True), late.stderr
    one = tmp_path / "log.csv"
    assert auditlog("export", "download", job, *account, "--out", str(one), "--one-file").returncode == 0
    with one.open(encoding="utf-8", newline="") as file:
        assert {row["entity_id"] for row in csv.DictReader(file)} == {f"lic_{n}" for n in range(300)}
    [part] = out.glob("part-*")
    part.write_bytes(part.read_bytes().replace(b"Seat 7", b"Seat 8", 1))
    damaged = auditlog("export", "verify", str(out))
    assert (damaged.returncode, part.name in damaged.stdout) == (1, True), damaged.stdout
    assert auditlog("export", "delete", job, *account).returncode == 0
    gone = auditlog("export", "status", job, *account)
    assert (gone.returncode, f"has no export {job}" in gone.stderr) == (1, True), gone.stderr
    # Through Kafka into the log that it is about.
    found = stored(auditlog, data_dir, "acc_export", 304)
    own = Counter(one["action"] for one in found if one["entity"]["type"] == "audit_export")
    assert own == {"audit_export_created": 1, "audit_export_downloaded": 2, "audit_export_deleted": 1}


def test_what_is_done_with_exports_over_http_is_in_the_log(
    stack: LongRunning, auditlog: Auditlog, data_dir: Path
) -> None:
    created = auditlog("token", "create", "--account", "acc_http", "--scope", "export", "--name", "BI")
    shown = re.search(r"✓ api +(http://\S+)", without_colours(stack.err))
    assert shown
    signed_in = {"Authorization": f"Bearer {created.stdout.strip()}"}
    with httpx.Client(
        base_url=f"{shown[1]}/v1/accounts/acc_http", trust_env=False, timeout=60, headers=signed_in
    ) as client:
        made = client.post("/exports", json={"format": "jsonl"})
        assert made.status_code == 202, made.text
        job = made.json()["job_id"]
        deadline = time.monotonic() + 60
        while client.get(f"/exports/{job}").json()["state"] != "finished":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert client.get(f"/exports/{job}/download").status_code == 200
        assert client.delete(f"/exports/{job}").status_code == 204
    found = stored(auditlog, data_dir, "acc_http", 4)
    own = {one["action"]: one for one in found if one["entity"]["id"] == job}
    assert set(own) == {"audit_export_created", "audit_export_downloaded", "audit_export_deleted"}
    assert {one["actor"]["name"] for one in own.values()} == {"BI"}
    assert own["audit_export_created"]["metadata"]["format"] == "jsonl"


def test_a_second_stack_on_the_same_data_is_refused(auditlog: Auditlog, stack: LongRunning) -> None:
    done = auditlog("up")
    assert done.returncode == 2
    assert str(stack.process.pid) in done.stderr


def test_poison_does_not_end_the_stack(stack: LongRunning, auditlog: Auditlog, data_dir: Path) -> None:
    """Each of these ended the consumer once, again after each restart, and after a minute the stack."""
    running = find_running(data_dir)
    assert running is not None
    before = json.loads((data_dir / "stack.json").read_text())["children"]
    noise = random.Random(7).randbytes(200_000)
    for batch in (
        record_batch([Record(12 * noise, b"acc_poison")], "zstd"),
        record_batch([Record(b"", b"acc_poison", 90 << 20)], "zstd"),
        record_batch([Record(b"", b"acc_poison", 300 << 20)], "gzip"),
    ):
        for partition in range(8):
            send(running.kafka, "audit.events", partition, batch)
    lines = "".join(json.dumps(event("acc_poison", number)) + "\n" for number in range(20))
    assert auditlog("publish", "-", input=lines).returncode == 0
    stored(auditlog, data_dir, "acc_poison", 20)
    deadline = time.monotonic() + 120
    while "everything in Kafka is accounted for" not in auditlog("doctor").stdout:
        assert time.monotonic() < deadline
    listed = auditlog("dead-letters", "list", "--all", "--json")
    rules = Counter(json.loads(line)["rule"] for line in listed.stdout.splitlines())
    assert rules["batch_too_large"] == 16
    assert rules["message_too_large"] >= 8
    assert auditlog("check").returncode == 0
    assert json.loads((data_dir / "stack.json").read_text())["children"] == before, "a process was restarted"
    assert stack.process.poll() is None
