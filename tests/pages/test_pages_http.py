"""The pages as HTML: states, headers, and who gets to see what."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import httpx
import pytest

from auditlog_api.health import KafkaState
from auditlog_schemas.inert import UNSAFE
from auditlog_storage.filters import Item
from kit.pages_stage import ACCOUNT, EMPTY, HOSTILE, Stage
from kit.served_api import ServedApi, serving

pytestmark = pytest.mark.integration


class Elements(HTMLParser):
    """Every element with its attributes, as a browser would make them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def get(stage: Stage, path: str, token: str | None = None) -> httpx.Response:
    cookies = {"auditlog_session": token} if token else {}
    accept = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    return httpx.get(stage.api.url + path, cookies=cookies, headers=accept, trust_env=False, timeout=30)


def mine(stage: Stage, path: str = "/audit-logs", account: str = ACCOUNT) -> httpx.Response:
    return get(stage, f"/accounts/{account}{path}", stage.tokens[account])


def test_pages_allow_nothing_but_their_own_files(stage: Stage) -> None:
    answer = mine(stage)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    for tag, attributes in Elements(answer.text).found:
        assert tag != "style"
        assert tag != "script" or attributes.get("src", "").startswith("/assets/")  # type: ignore[union-attr]
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_assets_are_kept_by_browsers_and_change_their_address(stage: Stage) -> None:
    paths = re.findall(r"/assets/[0-9a-f]{16}/[a-z.]+", mine(stage).text)
    assert {path.rpartition("/")[2] for path in paths} == {"page.css", "page.js", "icon.svg"}
    for path in paths:
        answer = get(stage, path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert get(stage, "/assets/0/audit-log.js").status_code == 404
    assert get(stage, "/assets/0/..%2f..%2fapp.py").status_code == 404


def test_any_site_may_load_the_element(stage: Stage) -> None:
    answer = get(stage, "/embed/audit-log.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    tag = {"If-None-Match": answer.headers["etag"]}
    again = httpx.get(f"{stage.api.url}/embed/audit-log.js", headers=tag, trust_env=False)
    assert (again.status_code, again.content) == (304, b"")


def test_without_a_session_there_is_a_form_and_the_hosts_address(stage: Stage) -> None:
    answer = get(stage, f"/accounts/{ACCOUNT}/audit-logs?q=actor:usr_7")
    assert answer.status_code == 401
    html = unescape(answer.text)
    assert "Sign in" in html
    assert f'name="next" value="/accounts/{ACCOUNT}/audit-logs?q=actor:usr_7"' in html
    assert (
        f"{stage.host_url}/audit-logs?next=%2Faccounts%2F{ACCOUNT}%2Faudit-logs%3Fq%3Dactor%3Ausr_7" in html
    )


def test_a_token_is_typed_in_and_one_that_does_not_work_is_said(stage: Stage) -> None:
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=stage.api.url, trust_env=False, headers=headers) as client:
        refused = client.post("/sign-in", data={"token": "nonsense", "next": "/"})
        assert refused.status_code == 401
        assert "That token does not work" in refused.text
        data = {"token": stage.tokens[ACCOUNT], "next": f"/accounts/{ACCOUNT}/audit-logs"}
        assert client.post("/sign-in", data=data).status_code == 303
        assert client.get(data["next"]).status_code == 200


def test_a_program_gets_problems(stage: Stage) -> None:
    answer = httpx.get(stage.place(), trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:auditlog:problem:token-missing"


def test_an_ended_session_says_so(stage: Stage) -> None:
    expired = stage.api.token(ACCOUNT, expires_in_seconds=-1)
    answer = get(stage, f"/accounts/{ACCOUNT}/audit-logs", expired)
    assert answer.status_code == 401
    assert "Your session has ended" in answer.text
    assert "Get a fresh link" in answer.text


@pytest.mark.parametrize("path", ["/audit-logs", "/items/license/lic_1", "/audit-logs/not-an-id"])
def test_another_account_is_nothing(stage: Stage, path: str) -> None:
    answer = get(stage, f"/accounts/{ACCOUNT}{path}", stage.tokens[EMPTY])
    assert answer.status_code == 404
    assert "Nothing here" in answer.text
    assert "license_" not in answer.text


def test_another_accounts_event_is_nothing(stage: Stage) -> None:
    event_id = stage.events[0].event_id
    assert mine(stage, f"/audit-logs/{event_id}").status_code == 200
    assert get(stage, f"/accounts/{EMPTY}/audit-logs/{event_id}", stage.tokens[EMPTY]).status_code == 404
    drawer = get(stage, f"/accounts/{EMPTY}/audit-logs?event={event_id}", stage.tokens[EMPTY])
    assert drawer.status_code == 200
    assert str(event_id) not in drawer.text


def test_a_viewer_of_one_item_sees_this_item(stage: Stage) -> None:
    viewer = stage.api.viewer(ACCOUNT, stage.story)
    item = f"/accounts/{ACCOUNT}/items/{stage.story.key}"
    answer = get(stage, item, viewer)
    assert answer.status_code == 200
    [inside, *_] = re.findall(r'data-event="([0-9a-f-]+)"', answer.text)
    assert get(stage, f"/accounts/{ACCOUNT}/audit-logs/{inside}", viewer).status_code == 200
    keys = {str(event.event_id): (event.entity, *event.related) for event in stage.events}
    outside = next(id for id, items in keys.items() if stage.story.id not in {one.id for one in items})
    for path in (f"audit-logs/{outside}", "audit-logs", "items/license/other"):
        assert get(stage, f"/accounts/{ACCOUNT}/{path}", viewer).status_code == 404
    home = get(stage, "/", viewer)
    assert (home.status_code, home.headers["location"]) == (303, item)


def test_an_account_without_events_says_that(stage: Stage) -> None:
    html = mine(stage, account=EMPTY).text
    assert "No events yet" in html
    assert "<table" not in html


def test_a_search_without_matches_says_that(stage: Stage) -> None:
    html = mine(stage, "/audit-logs?q=action:license_reset+actor:nobody").text
    assert "Nothing matches" in html
    assert "Remove </span><code>actor:nobody" in html


@pytest.mark.parametrize("times", ["0001-01-01..9999-12-30", ">=0001-01-01", "<9999-12-31T23:59:58Z"])
def test_all_time_there_is_can_be_asked_for(stage: Stage, times: str) -> None:
    answer = mine(stage, f"/audit-logs?q=created:{times}")
    assert answer.status_code == 200
    assert "<table" in answer.text


def test_a_mistake_is_shown_at_its_place(stage: Stage) -> None:
    answer = mine(stage, "/audit-logs?q=action:a+colour:red")
    assert answer.status_code == 400
    html = unescape(answer.text)
    assert "at character 10" in html
    assert "action:a <mark>c</mark>olour:red" in html
    assert 'value="action:a colour:red"' in html
    assert "Expected action:" in html


def test_a_wrong_parameter_is_a_page_that_says_which(stage: Stage) -> None:
    answer = mine(stage, "/audit-logs?rows=x")
    assert answer.status_code == 400
    assert "Rows: must be 1 to 200" in answer.text
    assert mine(stage, "/audit-logs?cursor=made-up").status_code == 404


def test_the_forms_times_become_part_of_the_search(stage: Stage) -> None:
    answer = mine(stage, "/audit-logs?q=actor:x&from=2026-11-01T00:00&until=2026-11-03T00:00")
    assert answer.status_code == 303
    location = httpx.URL(answer.headers["location"])
    assert location.params["q"] == "actor:x created:2026-11-01..2026-11-02"
    for text in ("soon", "0001-01-01T00:00", "9" * 5_000):
        assert mine(stage, f"/audit-logs?from=2026-11-01T00:00&until={text}").status_code == 400
    assert mine(stage, "/audit-logs?from=0002-01-01T00:00&until=9999-12-31T23:59").status_code == 303


@pytest.mark.parametrize("path", ["/audit-logs", "/audit-logs?q=actor:*"])
def test_hostile_text_is_inert_in_the_table(stage: Stage, path: str) -> None:
    answer = mine(stage, path, HOSTILE)
    assert answer.status_code == 200
    _assert_inert(answer.text)
    assert "\\u202e" in answer.text


def test_hostile_text_is_inert_in_every_event_and_item(stage: Stage) -> None:
    table = mine(stage, "/audit-logs", HOSTILE).text
    ids = set(re.findall(r'data-event="([0-9a-f-]+)"', table))
    items = {
        href
        for tag, each in Elements(table).found
        if tag == "a" and "/items/" in (href := each["href"] or "")
    }
    assert len(ids) == len(items) == 5
    for path in (*(f"/accounts/{HOSTILE}/audit-logs/{id}" for id in ids), *items):
        answer = get(stage, path, stage.tokens[HOSTILE])
        assert answer.status_code == 200, path
        _assert_inert(answer.text)


def test_an_item_page_is_found_by_any_id(stage: Stage) -> None:
    id = "a/b 3 '\"&?#%2F"
    viewer = stage.api.viewer(HOSTILE, Item("license", id))
    answer = get(stage, "/accounts/acc_hostile/items/license/a%2Fb%203%20'%22%26%3F%23%252F", viewer)
    assert answer.status_code == 200
    assert len(re.findall(r'<tr role="row" data-event', answer.text)) == 1


def _assert_inert(html: str) -> None:
    assert UNSAFE.search(html.replace("\n", "")) is None
    for tag, attributes in Elements(html).found:
        assert tag != "img"
        assert tag != "script" or (attributes["src"] or "").startswith("/assets/")
        assert not [name for name in attributes if name.startswith("on")]


def _once_it_is_known(api: ServedApi, text: str) -> str:
    """The page, asked for until it says this: the first ones do not wait long for what Kafka says."""
    headers = {"Cookie": f"auditlog_session={api.token(ACCOUNT)}", "Accept": "text/html"}
    deadline = time.monotonic() + 30
    while text not in (html := api.get(f"/accounts/{ACCOUNT}/audit-logs", headers=headers).text):
        assert time.monotonic() < deadline, f"{text!r} did not come"
    return html


def test_a_lagging_log_says_so(stage: Stage) -> None:
    url = stage.api.connection.settings.url.get_secret_value()
    with serving(url, kafka=lambda: KafkaState(5, None)) as api:
        html = _once_it_is_known(api, "Lagging.")
    assert "<strong>Lagging.</strong> 5 newer events will be here soon." in html


def test_a_log_that_is_caught_up_is_complete_up_to_now(stage: Stage) -> None:
    url = stage.api.connection.settings.url.get_secret_value()
    began = datetime.now(UTC).replace(microsecond=0)
    with serving(url, kafka=lambda: KafkaState(0, datetime.now(UTC))) as api:
        html = _once_it_is_known(api, "Complete up to")
    [shown] = re.findall(r'Complete up to <time datetime="([^"]+)"', html)
    assert began <= datetime.fromisoformat(shown) <= datetime.now(UTC)
    assert "Lagging" not in html
