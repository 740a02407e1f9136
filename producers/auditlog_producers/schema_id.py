"""The schema's id in a registry, found in the background so that `publish` need not wait for it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.errors import AuditError, ConfigError, RegistryUnavailable

if TYPE_CHECKING:
    from auditlog_schemas.registry import SchemaRegistry

RETRY_SECONDS_MIN: Final = 0.5
RETRY_SECONDS_MAX: Final = 15.0

_log = logging.getLogger(__name__)


class SchemaId:
    """Registers the event's schema under ``<topic>-value``, or finds it there, once, in a thread.

    A registry that is away is asked again and again; one that refuses the schema is not.
    """

    def __init__(self, registry: str | SchemaRegistry, topic: str) -> None:
        """Start asking.

        Raises:
            ConfigError: the registry's client library is not installed.
        """
        self._owned = isinstance(registry, str)
        self._registry = open_registry(registry) if isinstance(registry, str) else registry
        self._subject = f"{topic}-value"
        self._known = threading.Condition(threading.Lock())
        self._id: int | None = None
        self._error: AuditError | None = None
        self._stopped = threading.Event()
        threading.Thread(target=self._ask, name="auditlog-schema-id", daemon=True).start()

    def get(self, wait_seconds_max: float) -> int:
        """Return the id; waits only while the very first answer is still outstanding.

        Raises:
            RegistryUnavailable: the registry is away; it is being asked again in the background.
            ConfigError: the registry refuses the schema.
        """
        if self._id is not None:
            return self._id
        with self._known:
            self._known.wait_for(lambda: self._id is not None or self._error is not None, wait_seconds_max)
            if self._id is not None:
                return self._id
            if self._error is not None:
                raise type(self._error)(*self._error.args) from self._error
        raise RegistryUnavailable(
            f"the schema registry has not given an id for {self._subject} within {wait_seconds_max:g} s;"
            " it is being asked again in the background"
        )

    def stop(self) -> None:
        """Stop asking."""
        self._stopped.set()

    def _ask(self) -> None:
        pause = RETRY_SECONDS_MIN
        while not self._stopped.is_set() and not self._asked_once(pause):
            self._stopped.wait(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
        if self._owned:
            self._registry.close()

    def _asked_once(self, pause: float) -> bool:
        """Tell whether the answer is final."""
        try:
            self._tell(self._registry.register(self._subject, EVENT_SCHEMA), None)
        except RegistryUnavailable as error:
            _log.warning("no schema id yet, asking again in %.1f s: %s", pause, error)
            self._tell(None, error)
            return False
        except AuditError as error:
            _log.error("no schema id, events cannot be published: %s", error)
            self._tell(None, error)
        return True

    def _tell(self, schema_id: int | None, error: AuditError | None) -> None:
        with self._known:
            self._id, self._error = schema_id, error
            self._known.notify_all()


def open_registry(url: str) -> SchemaRegistry:
    """Open the registry client, whose library only an extra installs.

    Raises:
        ConfigError: the extra is missing.
    """
    try:
        from auditlog_schemas.registry import SchemaRegistry
    except ImportError as error:
        raise ConfigError(
            f"registry: its client library is missing ({error}); install it with"
            " pip install 'auditlog[registry]'"
        ) from error
    return SchemaRegistry(url)
