"""Of a request without a good token no body is read: it is answered as soon as its head has come."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from api.api_routes import addresses
from kit.served_api import ServedApi

pytestmark = pytest.mark.integration

WITHOUT_TOKEN = {"/sign-in", "/sign-out"}


def answer_to_head(api: ServedApi, method: str, path: str, token: str) -> bytes:
    """Send the head of a request whose body never comes; return the answer's first line."""
    at = urlsplit(api.url)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 100"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    with socket.create_connection((str(at.hostname), at.port or 0), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(1 << 16).partition(b"\r\n")[0]


@pytest.mark.parametrize("token", ["", "nonsense", "alt_nonsense"])
def test_no_route_waits_for_a_body_of_whoever_has_no_good_token(api: ServedApi, token: str) -> None:
    bodies = [each for each in addresses(api.app) if each.method in ("POST", "PUT", "PATCH", "DELETE")]
    tried = [each for each in bodies if each.template not in WITHOUT_TOKEN]
    assert len(tried) >= 8
    found = {each: answer_to_head(api, each.method, each.path(), token) for each in tried}
    # A page's forms come from our own pages only, or they are refused before anybody looks at a token.
    allowed = {each: (401,) if each.template.startswith("/v1/") else (303, 401, 403) for each in tried}
    assert not [
        (str(each), line) for each, line in found.items() if int(line.split()[1]) not in allowed[each]
    ]
