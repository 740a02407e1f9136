"""The whole stack: start, find, crash, stop, kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from auditlog_local import supervisor as supervisor_module
from auditlog_local.child import ChildFailed
from auditlog_local.clickhouse_child import answers_ping
from auditlog_local.kafka_broker import broker_answers
from auditlog_local.running_stack import RunningStack, find_running
from auditlog_local.stack import Stack
from auditlog_local.supervisor import QUICK_CRASHES_MAX, ChildEvent
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, StorageUnavailable
from kit.servers import bound
from kit.stopwatch import Stopwatch
from local.http_call import value
from local.python_child import SLEEP, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.long]

UP = """
import sys, pathlib
from auditlog_local.stack import Stack
with Stack(pathlib.Path(sys.argv[1])) as stack:
    stack.add_child("consumer", [sys.executable, "-c", "import time; time.sleep(600)"])
    print("up", flush=True)
    stack.wait()
print("down", flush=True)
"""


def up(data_dir: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        bound(sys.executable, "-c", UP, str(data_dir)), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def found(data_dir: Path) -> RunningStack:
    running = find_running(data_dir)
    assert running is not None
    return running


def topics(kafka: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": kafka, "log_level": 0}).list_topics(timeout=20).topics)


def no_process_mentions(text: str) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    return False
            except OSError:
                continue
    return True


def test_a_stack_keeps_its_data_and_addresses_and_leaves_no_process(tmp_path: Path) -> None:
    data_dir = tmp_path / "stack ünï"
    assert find_running(data_dir) is None
    process = up(data_dir)
    first = found(data_dir)
    assert first.pid == process.pid
    origin = first.clickhouse_url.rpartition("/")[0]
    value(origin, "CREATE TABLE default.t ENGINE = MergeTree ORDER BY x AS SELECT 1 AS x")
    admin = AdminClient({"bootstrap.servers": first.kafka, "log_level": 0})
    admin.create_topics([NewTopic("kept", 2, 1)])["kept"].result(60)
    with pytest.raises(ConfigError, match=f"in use by process {process.pid}"):
        Stack(data_dir).start()
    assert found(data_dir) == first

    watch = Stopwatch()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert watch.seconds < 10
    assert find_running(data_dir) is None
    assert not (data_dir / "stack.json").exists()
    assert no_process_mentions(str(data_dir))
    assert process.stdout is not None
    process.stdout.close()

    process = up(data_dir)
    second = found(data_dir)
    assert (second.kafka, second.clickhouse_url) == (first.kafka, first.clickhouse_url)
    assert value(origin, "SELECT * FROM default.t") == "1"
    assert "kept" in topics(second.kafka)
    process.kill()
    process.wait()
    assert find_running(data_dir) is None
    deadline = time.monotonic() + 10
    while not no_process_mentions(str(data_dir)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.stdout is not None
    process.stdout.close()


def test_crashed_servers_come_back_at_the_same_addresses(tmp_path: Path) -> None:
    events: list[ChildEvent] = []
    with Stack(tmp_path, on_event=events.append) as stack:
        for name, pid in json.loads((tmp_path / "stack.json").read_text())["children"].items():
            assert name in ("kafka", "clickhouse")
            os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + 120
        while sum(event.event == "ready" for event in events) < 4:
            assert time.monotonic() < deadline, events
            assert not stack.wait(0.2)
        assert broker_answers(stack.kafka)
        assert value(stack.clickhouse_url.rpartition("/")[0], "SELECT 1") == "1"
        assert {event.name for event in events if event.event == "crashed"} == {"kafka", "clickhouse"}
        assert found(tmp_path).kafka == stack.kafka


def test_a_server_that_keeps_failing_is_kept_down_and_the_other_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS", 1.0)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS_MAX", 1.0)
    events: list[ChildEvent] = []
    with Stack(tmp_path, on_event=events.append) as stack:
        origin = stack.clickhouse_url.rpartition("/")[0]
        settings = tmp_path / "kafka" / "server.properties"
        right = settings.read_text()
        settings.write_text("process.roles=nonsense\n")
        os.killpg(json.loads((tmp_path / "stack.json").read_text())["children"]["kafka"], signal.SIGKILL)
        wait_for(events, "kafka", "kept_down", seconds=300)
        assert value(origin, "SELECT 1") == "1"
        assert not stack.wait(0.2)
        with pytest.raises(ChildFailed, match=r"kafka ended with exit code 1, .* in a row(.|\n)*kafka\.log"):
            stack.require_all()
        running = found(tmp_path)
        assert (running.kafka, running.clickhouse_url) == (stack.kafka, stack.clickhouse_url)
        assert [down.name for down in running.kept_down] == ["kafka"]
        monkeypatch.setattr(supervisor_module, "QUICK_SECONDS", 1.0)
        settings.write_text(right)
        ready = sum((event.name, event.event) == ("kafka", "ready") for event in events)
        wait_for(events, "kafka", "ready", ready + 1, seconds=300)
        assert broker_answers(stack.kafka)
        assert found(tmp_path).kept_down == ()
        stack.require_all()
        assert {event.name for event in events if event.event == "crashed"} == {"kafka"}


def test_the_state_is_right_at_every_event(
    tmp_path: Path, clickhouse_url: str, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS", 0.3)
    state, seen, events = tmp_path / "stack.json", [], []

    def tell(event: ChildEvent) -> None:
        if event.name == "weary" and event.event != "stopped":
            read = json.loads(state.read_text())
            assert set(read["children"]) - {"weary"} == {"steady"}
            seen.append(
                (event.event, read["children"].get("weary"), [one["name"] for one in read["kept_down"]])
            )
        events.append(event)

    with Stack(tmp_path, kafka=kafka_bootstrap, clickhouse_url=clickhouse_url, on_event=tell) as stack:
        stack.add_child("steady", [sys.executable, "-c", SLEEP])
        stack.add_child("weary", [sys.executable, "-c", "import time; time.sleep(1)"])
        wait_for(events, "weary", "still_down", 2)
    assert not state.exists()
    runs = {"starting", "ready", "restarted"}
    assert [bool(pid) for _, pid, _ in seen] == [event in runs for event, _, _ in seen], seen
    down = [event for event, _, _ in seen].index("kept_down")
    assert [names for _, _, names in seen] == [[]] * down + [["weary"]] * (len(seen) - down)
    assert len({pid for _, pid, _ in seen if pid}) >= QUICK_CRASHES_MAX + 3


def test_what_runs_elsewhere_is_used(tmp_path: Path, clickhouse_url: str, kafka_bootstrap: str) -> None:
    with Stack(tmp_path, kafka=kafka_bootstrap, clickhouse_url=f"{clickhouse_url}/x") as stack:
        assert (stack.kafka, stack.clickhouse_url) == (kafka_bootstrap, f"{clickhouse_url}/x")
        assert found(tmp_path).kafka == kafka_bootstrap
    assert answers_ping(clickhouse_url.replace("default:@", ""))


def test_an_address_where_nothing_answers_is_an_error(tmp_path: Path, kafka_bootstrap: str) -> None:
    with pytest.raises(BrokerUnavailable, match="AUDITLOG_KAFKA"):
        Stack(tmp_path, kafka="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1/x").start()
    with pytest.raises(StorageUnavailable, match="AUDITLOG_CLICKHOUSE_URL"):
        Stack(tmp_path, kafka=kafka_bootstrap, clickhouse_url="http://127.0.0.1:1/x").start()


def test_a_data_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Stack(tmp_path / "file" / "data").start()


def test_topics_carry_the_brokers_clock_and_none_appears_by_itself(kafka_bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("clocked", 8, 1)])["clocked"].result(60)
    resource = ConfigResource(ResourceType.TOPIC, "clocked")
    described = admin.describe_configs([resource])[resource].result(60)
    assert described["message.timestamp.type"].value == "LogAppendTime"
    assert int(described["max.message.bytes"].value) > 300 * 1024
    broker = ConfigResource(ResourceType.BROKER, "1")
    settings = admin.describe_configs([broker])[broker].result(60)
    assert settings["auto.create.topics.enable"].value == "false"
    assert settings["listeners"].value.startswith("PLAINTEXT://127.0.0.1:")
