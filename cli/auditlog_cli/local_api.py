"""The API of the local stack: its keys, whether it answers, and a token for trying."""

from __future__ import annotations

import json
import os
import secrets
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog_cli.own_name import user_and_host
from auditlog_schemas.errors import ConfigError

if TYPE_CHECKING:
    from auditlog_api.viewer_key import ViewerKey
    from auditlog_storage.connection import Connection

API_PORT: Final = "AUDITLOG_API_PORT"
VIEWER_KEYS: Final = "AUDITLOG_API_VIEWER_KEYS"
TRIAL_ACCOUNT: Final = "acc_1"
TRIAL_SECONDS: Final = 86_400
ANSWER_SECONDS_MAX: Final = 1.0


def api_environment(directory: Path) -> dict[str, str]:
    """Return the variables of a local API process: keys for viewer tokens, which stay the same.

    Raises:
        ConfigError: the directory cannot be written.
    """
    if VIEWER_KEYS in os.environ:
        return {}
    path = directory / "viewer-keys.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.touch(0o600)
            fresh.write_text(json.dumps({"local": secrets.token_urlsafe(32)}))
            fresh.replace(path)
        keys = path.read_text("utf-8")
        json.loads(keys)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read or written: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON, remove it: {error}") from error
    return {VIEWER_KEYS: keys}


def viewer_keys(directory: Path) -> Mapping[str, ViewerKey]:
    """Return the keys that an API process with `api_environment` of this directory signs with.

    Raises:
        ConfigError: the directory cannot be read, or the variable is wrong.
    """
    from auditlog_api.settings import ApiSettings

    given = api_environment(directory).get(VIEWER_KEYS)
    return ApiSettings.load(**({"viewer_keys": json.loads(given)} if given else {})).viewer_keys


def answers(url: str) -> bool:
    """Tell whether the API at this URL answers."""
    # Whatever proxy is set, it is not for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/livez", timeout=ANSWER_SECONDS_MAX) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def trial_token(connection: Connection) -> str:
    """Make a token of scope admin for an account that examples use, good for a day; return its text."""
    from auditlog_api.new_token import made_token
    from auditlog_storage.tokens import TokenTable

    text, token = made_token(
        account_id=TRIAL_ACCOUNT,
        scope="admin",
        name="auditlog up",
        created_by=user_and_host(),
        expires_in_seconds=TRIAL_SECONDS,
    )
    TokenTable(connection).add(token)
    return text
