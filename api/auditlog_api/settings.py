"""How the API serves: addresses, keys and limits, from the environment or from code."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from auditlog_api.viewer_key import ViewerKey, viewer_key
from auditlog_schemas.bad_setting import bad_setting
from auditlog_schemas.errors import ConfigError

PREFIX: Final = "AUDITLOG_API_"

_NO_KEYS: Final = "is not a JSON object of key id to secret"
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")

Count = Annotated[int, Field(ge=1, le=10_000)]
Bytes = Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class ApiSettings(BaseSettings):
    """Settings of one API process; each is read from AUDITLOG_API_<NAME>.

    Attributes:
        host, port: where to listen.
        viewer_keys: the keys that viewer tokens are signed with, as a JSON object of key id to secret of
            at least 32 bytes, or to ``{"secret": …, "accounts": [...]}`` for a key that opens these accounts
            alone. The first one that may signs; all of them are accepted, so that keys can be changed without
            a break. Empty: there are no viewer tokens.
        cors_origins: whose pages may ask the API from a browser, separated by commas.
        sign_in_url: where the host gives its users a fresh link, shown when a session has expired.
        trusted_proxies: addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are
            believed, separated by commas.
        behind_https: whether a proxy in front speaks HTTPS without saying so: session cookies are then
            always those of HTTPS.
        connections_max: requests that are answered at the same time, followed logs among them; a further one
            is answered with 503. Of connections there are at most `SPARE` more.
        queries_max: queries of this process at the same time, each in a thread; a quarter of them
            is kept for accounts that have none.
        account_queries_max: of them for one account.
        account_requests_max: requests of one account at the same time, those that wait for their turn or are
            being answered included; a further one is answered with 429.
        wait_seconds_max: how long a request waits for its turn before it is answered with 503.
        snapshot_seconds: how old the view of the ledger may be that a first page is made of.
        request_bytes_max: of a request's body.
        url_bytes_max: of path and query.
        header_bytes_max: of all header lines together.
        tails_max: connections that follow a log at the same time.
        account_tails_max: of them for one account.
        tail_poll_seconds: how often a followed log is looked at.
        heartbeat_seconds: how often a quiet connection says that it lives.
        log_requests: whether each request is logged, without its query and without its token.
        token_kept_seconds: how long a known token is believed: so long a revoked one still works.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    viewer_keys: dict[str, ViewerKey] = {}
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    sign_in_url: str | None = None
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "::1")
    behind_https: bool = False
    connections_max: Count = 1_000
    queries_max: Count = 8
    account_queries_max: Count = 4
    account_requests_max: Count = 64
    wait_seconds_max: Seconds = 10.0
    snapshot_seconds: Annotated[float, Field(ge=0, le=60)] = 0.5
    request_bytes_max: Bytes = 64 * 1024
    url_bytes_max: Bytes = 8 * 1024
    header_bytes_max: Bytes = 16 * 1024
    tails_max: Count = 200
    account_tails_max: Count = 20
    tail_poll_seconds: Seconds = 1.0
    heartbeat_seconds: Seconds = 15.0
    log_requests: bool = True
    token_kept_seconds: Annotated[float, Field(ge=0, le=60)] = 2.0

    @field_validator("viewer_keys", mode="before")
    @classmethod
    def _are_keys(cls, given: Any) -> dict[str, ViewerKey]:
        if not isinstance(given, dict):
            raise ValueError(_NO_KEYS)
        numbered = enumerate(given.items(), 1)
        return {key_id: viewer_key(number, key_id, key) for number, (key_id, key) in numbered}

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r:.80} is not an origin; write for example https://app.example.com"
                )
        return origins

    @field_validator("sign_in_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"https?://[^\s/]", url):
            raise ValueError("must start with http:// or https://")
        return url

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given here comes before it.

        Raises:
            ConfigError: a value is wrong; the message names the variable and never shows a key.
        """
        try:
            return cls(**given)
        except SettingsError:
            raise ConfigError(f"{PREFIX}VIEWER_KEYS: {_NO_KEYS}") from None
        except ValidationError as error:
            raise bad_setting(error, PREFIX) from None
