"""`demo --keep` leaves the vendor's own application running, with the audit log in it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from cli.running_command import LongRunning, processes_of

pytestmark = pytest.mark.integration


def test_the_printed_links_show_the_audit_log(tmp_path: Path) -> None:
    data_dir = tmp_path / "stack"
    demo = LongRunning(data_dir, "demo", "--keep", "--events", "1000", AUDITLOG_DATA_DIR=str(data_dir))
    try:
        demo.wait_for("running, with its data", seconds_max=100)
        links = dict(re.findall(r"^  (\w[\w: ]+?)  +(http://\S+)$", demo.err, re.MULTILINE))
        assert set(links) == {"Settings: Audit logs", "A license", "An order", "A customer", "A product"}
        with httpx.Client(trust_env=False, follow_redirects=True, headers={"Accept": "text/html"}) as client:
            for name in sorted(set(links) - {"Settings: Audit logs"}):
                _see_the_element(client, links[name])
            log = client.get(links["Settings: Audit logs"])
            assert log.status_code == 200
            assert "acc_aurora" in log.text
            assert len(re.findall("<tr role=.row. data-event", log.text)) == 50
    finally:
        code, _ = demo.interrupt()
    assert code == 0, demo.err
    assert processes_of(data_dir) == []


def _see_the_element(client: httpx.Client, link: str) -> None:
    page = client.get(link)
    assert page.status_code == 200
    [(item, token)] = re.findall(r'<audit-log item="([^"]+)" token="([^"]+)"', page.text)
    [script] = re.findall(r'src="(http://[^"]+/embed/audit-log.js)"', page.text)
    assert client.get(script).status_code == 200
    api, host = script.removesuffix("/embed/audit-log.js"), link.removesuffix(f"/{item}")
    events = f"{api}/v1/accounts/acc_aurora/items/{item}/events"
    fresh = client.get(f"{host}/audit-log-token", params={"item": item}).text
    for bearer in (token, fresh):
        headers = {"Authorization": f"Bearer {bearer}", "Origin": host, "Accept": "application/json"}
        answer = client.get(events, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == host
        assert answer.json()["events"]
