"""`auditlog token` and `auditlog api`: tokens are made here, used over there, and shown nowhere else."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from auditlog_api.token_text import is_token
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings
from auditlog_storage.tokens import TokenTable
from cli.ran import Run
from cli.running_command import LongRunning

pytestmark = pytest.mark.integration

REVOKED_SECONDS_MAX = 5.0
VIEWER_KEYS = json.dumps({"k1": "s" * 40})
Api = Callable[..., tuple[LongRunning, str]]


@pytest.fixture
def connection(fresh_database: str) -> Iterator[Connection]:
    with Connection(StorageSettings.load(url=fresh_database)) as connection:
        migrate(connection, load_catalog())
        yield connection


@pytest.fixture
def auditlog(run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, with this test's database and without a Kafka."""
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", connection.settings.url.get_secret_value())
    return run


@pytest.fixture
def api(connection: Connection, tmp_path: Path) -> Iterator[Api]:
    """Start `auditlog api`; return the process and its URL."""
    started: list[LongRunning] = []

    def start(*arguments: str) -> tuple[LongRunning, str]:
        process = LongRunning(
            tmp_path / "none",
            *("api", "--log-json", *(arguments or ("--port", "0"))),
            AUDITLOG_CLICKHOUSE_URL=connection.settings.url.get_secret_value(),
            AUDITLOG_API_VIEWER_KEYS=VIEWER_KEYS,
        )
        started.append(process)
        process.wait_for("the API is at ")
        url = re.search(r"the API is at (\S+)", process.err)
        assert url
        _wait_until_it_answers(url[1])
        return process, url[1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGKILL)
            process.process.wait(10)


def _wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"{url}/livez", trust_env=False, timeout=60).status_code == 200:
                return
        except httpx.ConnectError:
            assert time.monotonic() < deadline, "the API does not answer"
        time.sleep(0.05)


def status(url: str, token: str, account: str = "acc_1") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    path = f"{url}/v1/accounts/{account}/events?q=%22{token}%22"
    return httpx.get(path, headers=headers, trust_env=False, timeout=60).status_code


def test_a_tokens_life_over_two_processes(auditlog: Run, api: Api, connection: Connection) -> None:
    (first, one), (second, two) = api(), api()
    made = auditlog("token", "create", "--account", "acc_1", "--scope", "admin", "--name", "Console")
    admin = made.out.strip()
    assert (made.code, is_token(admin)) == (0, True)
    assert admin not in made.err
    assert status(one, admin) == status(two, admin) == 200
    headers = {"Authorization": f"Bearer {admin}"}
    asking = httpx.Client(headers=headers, trust_env=False, timeout=60)
    answer = asking.post(f"{one}/v1/accounts/acc_1/tokens", json={"scope": "read"})
    reading = answer.json()["token"]
    assert status(two, reading) == 200
    assert status(two, reading, "acc_2") == 404

    path = f"{one}/v1/accounts/acc_1/tokens/{answer.json()['token_id']}"
    assert asking.delete(path).status_code == 200
    asking.close()
    _wait_until_refused(one, reading)
    _wait_until_refused(two, reading)
    revoked = auditlog("token", "revoke", admin)
    assert revoked.err == "note: not recorded in the audit log: there is no Kafka (AUDITLOG_KAFKA)\n" + (
        f"{TokenTable(connection).tokens()[-1].token_id} is revoked\n"
    )
    _wait_until_refused(one, admin)
    _wait_until_refused(two, admin)

    assert (first.terminate(), second.terminate()) == (0, 0)
    used = {token.token_id: token.used_at for token in TokenTable(connection).tokens()}
    assert None not in used.values(), "when tokens were used is stored at the latest when a process stops"
    for process in (first, second):
        assert '"event": "answered"' in process.err
        assert "alt_" not in process.err


def _wait_until_refused(url: str, token: str) -> None:
    revoked = asked = time.monotonic()
    while status(url, token) != 401:
        assert asked - revoked < REVOKED_SECONDS_MAX, f"good {asked - revoked:.1f} s after it was revoked"
        time.sleep(0.1)
        asked = time.monotonic()


def test_processes_share_a_port_only_when_they_say_so(api: Api, auditlog: Run) -> None:
    first, url = api("--port", "0", "--share-port")
    port = url.rpartition(":")[2]
    second, same = api("--port", port, "--share-port")
    assert same == url
    refused = auditlog("api", "--port", port)
    assert refused.code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in refused.err
    assert first.terminate() == 0
    _wait_until_it_answers(url)
    assert second.interrupt()[0] == 0


def test_tokens_are_listed_with_their_state(auditlog: Run) -> None:
    for arguments in (
        ("--account", "acc_1", "--scope", "read", "--name", "CI", "--expires", "90d"),
        ("--account", "acc_2", "--scope", "export"),
        ("--scope", "operator", "--name", "Support"),
    ):
        assert auditlog("token", "create", *arguments).code == 0
    rows = auditlog("token", "list").out.splitlines()
    assert len(rows) == 4
    assert re.search(r"acc_1 +read +CI .* never +until 20", "\n".join(rows))
    assert len(auditlog("token", "list", "--account", "acc_2").out.splitlines()) == 2
    shown = [json.loads(line) for line in auditlog("token", "list", "--json").out.splitlines()]
    assert [each["scope"] for each in shown] == ["operator", "export", "read"]
    assert not [each for each in shown if "token" in each or "sha256" in str(each)]
    token_id = shown[0]["token_id"]
    assert auditlog("token", "revoke", token_id).err.endswith("is revoked\n")
    assert auditlog("token", "revoke", token_id).err.endswith("was revoked before\n")
    assert re.search(rf"{token_id} .* revoked", auditlog("token", "list").out)


def test_a_token_as_json_is_for_programs(auditlog: Run) -> None:
    made: dict[str, Any] = json.loads(
        auditlog("token", "create", "--account", "acc_1", "--scope", "read", "--json").out
    )
    assert is_token(made["token"])
    assert made["expires_at"] is None


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("create", "--scope", "read"), "--account: is needed"),
    (("create", "--scope", "operator", "--account", "acc_1"), "--account: is needed, except"),
    (("create", "--account", "", "--scope", "read"), "account_id: must not be empty"),
    (("create", "--account", "acc_1", "--scope", "read", "--expires", "soon"), "--expires: 'soon'"),
    (("create", "--account", "acc_1", "--scope", "read", "--expires", "9999w"), "--expires: '9999w'"),
    (("create", "--account", "acc_1", "--scope", "read", "--name", "x" * 101), "--name: at most 100"),
    (("create", "--account", "acc_1", "--scope", "all"), "Invalid value for '--scope'"),
    (("revoke", "tok_none"), "there is no token tok_none; see `auditlog token list`"),
]


def test_what_cannot_be_is_refused(auditlog: Run) -> None:
    for arguments, message in REFUSED:
        ran = auditlog("token", *arguments)
        assert ran.code in (1, 2)
        assert message in ran.err
    assert auditlog("token", "list").err == "no tokens\n"


def test_a_wrong_setting_is_named_before_anything_starts(
    auditlog: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITLOG_API_VIEWER_KEYS", '{"k": "short"}')
    ran = auditlog("api", "--port", "0")
    assert (ran.code, ran.out) == (2, "")
    assert "AUDITLOG_API_VIEWER_KEYS: key k needs a secret of at least 32 bytes" in ran.err
