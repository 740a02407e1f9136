"""How to reach ClickHouse, from the environment or from code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from auditlog_schemas.bad_setting import bad_setting

PREFIX: Final = "AUDITLOG_CLICKHOUSE_"
ANALYST_PASSWORD: Final = "AUDITLOG_ANALYST_PASSWORD"  # noqa: S105 - the variable's name

USER_PASSWORDS: Final = {
    "auditlog_consumer": "consumer_password",
    "auditlog_api": "api_password",
    "auditlog_exports": "exports_password",
    "auditlog_analyst": "analyst_password",
}
"""Users of ClickHouse that `auditlog migrate` makes, and the settings with their passwords."""

Seconds = Annotated[int, Field(ge=1, le=3600)]
Count = Annotated[int, Field(ge=1, le=2**53)]


@dataclass(frozen=True, slots=True)
class Address:
    """Where ClickHouse's HTTP interface is, and as whom."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    user: str
    password: str
    database: str

    def __repr__(self) -> str:
        return f"{self.scheme}://{self.user}@{self.host}:{self.port}/{self.database}"


_OTHER_NAMES: Final = dict.fromkeys(("analyst_password", ANALYST_PASSWORD), ANALYST_PASSWORD)


class StorageSettings(BaseSettings):
    """Settings of the connection; each is read from AUDITLOG_CLICKHOUSE_<NAME>.

    Attributes:
        url: ``http://user:password@host:port/database``, or https. User, port and database may be left
            out (default, 8123 or 8443, default). Special characters of the password are percent-encoded.
        connect_timeout_seconds: for a TCP connection.
        request_timeout_seconds: for the answer to one query or insert.
        read_seconds_max: a query of a reader (page, event, histogram, facet, tail) that takes longer is
            stopped by the server. So is one that reads more rows or bytes, or takes more memory:
        read_rows_max: rows that it may read.
        read_bytes_max: bytes that it may read, uncompressed.
        read_memory_bytes_max: memory that it may take in the server.
        read_result_bytes_max: bytes that its answer may have, which a process holds until it was passed on.
        connections_max: requests of one `Connection` at the same time; a further one waits for its turn.
        insert_compression: of the Arrow buffers of a batch on their way to the server.
        consumer_password, api_password, exports_password: passwords of the users that `auditlog migrate`
            makes for these processes. Without one there is no such user.
        analyst_password: the same for the analysts, from AUDITLOG_ANALYST_PASSWORD.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    url: SecretStr
    connect_timeout_seconds: Seconds = 5
    request_timeout_seconds: Seconds = 120
    read_seconds_max: Seconds = 20
    read_rows_max: Count = 200_000_000
    read_bytes_max: Count = 50 * 1024**3
    read_memory_bytes_max: Count = 2 * 1024**3
    read_result_bytes_max: Count = 16 * 1024**2
    connections_max: Annotated[int, Field(ge=1, le=1000)] = 8
    insert_compression: Literal["none", "lz4", "zstd"] = "none"
    consumer_password: SecretStr | None = None
    api_password: SecretStr | None = None
    exports_password: SecretStr | None = None
    analyst_password: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("analyst_password", ANALYST_PASSWORD)
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: SecretStr) -> SecretStr:
        parse_url(value.get_secret_value())
        return value

    @field_validator(*USER_PASSWORDS.values())
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 12:
            raise ValueError("needs at least 12 characters")
        return value

    @property
    def address(self) -> Address:
        """Return the parts of the URL."""
        return parse_url(self.url.get_secret_value())

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given here comes before it.

        Raises:
            ConfigError: a value is missing or wrong; the message names the variable.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise bad_setting(error, PREFIX, _OTHER_NAMES) from None


def parse_url(url: str) -> Address:
    """Take a ClickHouse URL apart.

    Raises:
        ValueError: it is not of the form ``http://user:password@host:port/database``.
    """
    form = "expected http://user:password@host:port/database"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{form}; its port or host cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{form}; it must start with http:// or https://")
    if not parts.hostname:
        raise ValueError(f"{form}; it names no host")
    if parts.query or parts.fragment:
        raise ValueError(f"{form}; settings after ? or # are not read")
    database = unquote(parts.path.removeprefix("/"))
    if "/" in database:
        raise ValueError(f"{form}; the path holds more than a database")
    return Address(
        scheme="https" if parts.scheme == "https" else "http",
        host=parts.hostname,
        port=port or (8443 if parts.scheme == "https" else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=database or "default",
    )
