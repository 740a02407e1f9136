"""Users and grants, which the embedded engine cannot create by itself.

chDB reads users and roles from its configuration when it opens and has nowhere to write new ones. So the
users live in `<data dir>/access/users.json`, and each of them is a *role* in the engine's configuration
that carries its grants. A user's statement runs under ``SET ROLE`` of that role, and the engine checks every
table, column and table function against it. What the engine cannot check is done here: the password, that
the statement is a plain read or write (nothing that could change the role back), and one statement at a time.

Differences from a ClickHouse server, all of them narrower or harmless: `currentUser()` says `default`;
`system.processes` shows every user's statements; SETTINGS constraints (MIN, MAX, CONST) are not kept;
roles, quotas, row policies and settings profiles cannot be created.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from xml.sax.saxutils import escape

from auditlog_local.clickhouse.errors import (
    ACCESS_ENTITY_ALREADY_EXISTS,
    AUTHENTICATION_FAILED,
    UNKNOWN_USER,
    EngineError,
)

DEFAULT_USER = "default"
_CONFIG = """<clickhouse><users_config>{users}</users_config>
<storage_configuration><disks><default><keep_free_space_bytes>{keep_free_bytes}</keep_free_space_bytes>
</default></disks></storage_configuration></clickhouse>
"""
_USERS = """<clickhouse>
<profiles><default><implicit_select>0</implicit_select></default></profiles><quotas><default/></quotas>
<roles><everything><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></everything>
{roles}</roles>
<users><default><password></password><networks><ip>::/0</ip></networks>
<profile>default</profile><quota>default</quota>
<grants><query>GRANT {granted}</query></grants></default></users>
</clickhouse>
"""


@dataclass(frozen=True)
class User:
    """One user. ``password_hash`` is SHA-256 over salt and password in hex; None lets any password in."""

    name: str
    password_hash: str | None
    salt: str
    settings: dict[str, str] = field(default_factory=dict)
    grants: tuple[str, ...] = ()

    @property
    def role(self) -> str | None:
        """The engine's role for this user; None for the default user, who may do everything."""
        return None if self.name == DEFAULT_USER else "user_" + self.name.encode().hex()


def hash_password(password: str) -> tuple[str, str]:
    """(hash, salt) of a new password."""
    salt = secrets.token_hex(16)
    return hashlib.sha256((salt + password).encode("utf-8", "surrogateescape")).hexdigest(), salt


class AccessStore:
    """The users on disk and the engine configuration made of them.

    Changes are made by `create`, `drop` and `update`; `grants_changed` then says that the engine must be
    opened again to see them.

    Args:
        directory: where the users are kept.
        keep_free_bytes: what the engine leaves free on its disk.
    """

    def __init__(self, directory: Path, keep_free_bytes: int) -> None:
        self._directory = directory
        self._keep_free_bytes = keep_free_bytes
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._users = self._load()
        self._written_roles = ""
        self.write_config()

    @property
    def config_path(self) -> Path:
        """The configuration file the engine opens with."""
        return self._directory / "config.xml"

    def _load(self) -> dict[str, User]:
        path = self._directory / "users.json"
        found: dict[str, User] = {}
        if path.exists():
            for entry in json.loads(path.read_text()):
                found[entry["name"]] = User(**{**entry, "grants": tuple(entry["grants"])})
        if DEFAULT_USER not in found:
            found[DEFAULT_USER] = User(DEFAULT_USER, *hash_password(""))
        return found

    def authenticate(self, name: str, password: str) -> User:
        """The user of these credentials.

        Raises:
            EngineError: 516, in the same words whether the user or the password is wrong.
        """
        user = self._users.get(name)
        if user is not None:
            if user.password_hash is None:
                return user
            given = hashlib.sha256((user.salt + password).encode("utf-8", "surrogateescape")).hexdigest()
            if hmac.compare_digest(given, user.password_hash):
                return user
        raise EngineError(
            AUTHENTICATION_FAILED,
            f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
        )

    def get(self, name: str) -> User:
        """The user of that name, or error 192."""
        user = self._users.get(name)
        if user is None:
            raise EngineError(UNKNOWN_USER, f"There is no user `{name}` in `user directories`.")
        return user

    def create(self, user: User, *, if_not_exists: bool, or_replace: bool) -> None:
        """Add a user, or say 493 when the name is taken."""
        with self._lock:
            if user.name in self._users and not or_replace:
                if if_not_exists:
                    return
                raise EngineError(
                    ACCESS_ENTITY_ALREADY_EXISTS, f"user `{user.name}`: cannot insert: already exists."
                )
            self._users[user.name] = user
            self._save()

    def drop(self, name: str, *, if_exists: bool) -> None:
        """Remove a user, or say 192 when there is none."""
        with self._lock:
            if name == DEFAULT_USER or (name not in self._users and not if_exists):
                raise EngineError(UNKNOWN_USER, f"There is no user `{name}` in `user directories` to drop.")
            self._users.pop(name, None)
            self._save()

    def update(self, name: str, **changes: object) -> None:
        """Replace fields of a user."""
        with self._lock:
            self._users[name] = replace(self.get(name), **changes)  # type: ignore[arg-type]
            self._save()

    def add_grant(self, name: str, query: str) -> None:
        """Append a GRANT or REVOKE (without TO or FROM) to a user's list; a repeated one moves to its end."""
        user = self.get(name)
        opposite = query.startswith("REVOKE")
        later = [known for known in user.grants if known.startswith("REVOKE") != opposite]
        if query in user.grants and not later:
            return
        kept = tuple(known for known in user.grants if known != query)
        self.update(name, grants=(*kept, query))

    def _save(self) -> None:
        text = json.dumps([asdict(user) for user in self._users.values()], indent=1)
        _replace_file(self._directory / "users.json", text)

    def _roles(self) -> str:
        lines = []
        for user in self._users.values():
            if user.role is not None:
                queries = "".join(f"<query>{escape(query)}</query>" for query in user.grants)
                lines.append(f"<{user.role}><grants>{queries}</grants></{user.role}>\n")
        return "".join(lines)

    @property
    def grants_changed(self) -> bool:
        """Whether the users' grants differ from the configuration written last."""
        return self._roles() != self._written_roles

    def write_config(self) -> None:
        """Write the configuration for the next opening of the engine."""
        roles = self._roles()
        granted = ", ".join(["everything", *(user.role for user in self._users.values() if user.role)])
        users_path = self._directory / "users.xml"
        _replace_file(users_path, _USERS.format(roles=roles, granted=granted))
        config = _CONFIG.format(
            users=escape(str(users_path.resolve())), keep_free_bytes=self._keep_free_bytes
        )
        _replace_file(self.config_path, config)
        self._written_roles = roles


def _replace_file(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)
