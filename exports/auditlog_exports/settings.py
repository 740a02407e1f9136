"""Where exports live and how they are made, from the environment or from code."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from auditlog_schemas.bad_setting import bad_setting

PREFIX: Final = "AUDITLOG_EXPORT_"
SCHEMES: Final = ("file", "s3", "gs", "az")

Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]


class ExportSettings(BaseSettings):
    """Settings of exports; each is read from AUDITLOG_EXPORT_<NAME>.

    Attributes:
        url: where jobs and their files are: ``file:///path``, ``s3://bucket/prefix``, ``gs://bucket/prefix``
            or ``az://account/container/prefix``. How to sign in to a cloud comes from its own variables
            (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT``, ``GOOGLE_APPLICATION_CREDENTIALS``, …).
        part_rows_max: events of one part.
        part_bytes_max: of one part, as it is before compression; a part has one event at least.
        block_rows_max: events that ClickHouse sends at a time: what a worker holds in memory is a few of
            these blocks.
        lease_seconds: a worker that does not renew its lease for so long has lost its job to another one.
        poll_seconds: how often a worker that has nothing to do looks for jobs.
        give_up_seconds: a job that gets no further for so long fails.
        keep_seconds: how long a finished, failed or cancelled job and its files are kept.
        account_jobs_max: jobs of one account that are kept at the same time.
        account_open_max: of them not finished.
        link_seconds_max: how long a signed link is good, at most.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    url: str
    part_rows_max: Annotated[int, Field(ge=1, le=50_000_000)] = 500_000
    part_bytes_max: Annotated[int, Field(ge=1024, le=4 * 1024**3)] = 512 * 1024 * 1024
    block_rows_max: Annotated[int, Field(ge=1, le=65_536)] = 8_192
    lease_seconds: Annotated[float, Field(ge=0.3, le=3600)] = 20.0
    poll_seconds: Seconds = 2.0
    give_up_seconds: Seconds = 6 * 3600.0
    keep_seconds: Annotated[float, Field(ge=1, le=10 * 366 * 86_400)] = 7 * 86_400.0
    account_jobs_max: Annotated[int, Field(ge=1, le=1_000)] = 200
    account_open_max: Annotated[int, Field(ge=1, le=1_000)] = 5
    link_seconds_max: Annotated[int, Field(ge=1, le=86_400)] = 600

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(
                f"must start with {', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or az://"
            )
        if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
            raise ValueError("write file:///an/absolute/path")
        return url.rstrip("/")

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given here comes before it.

        Raises:
            ConfigError: a value is missing or wrong; the message names the variable.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise bad_setting(error, PREFIX) from None
