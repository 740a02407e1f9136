"""The SQL of users and grants: CREATE, ALTER and DROP USER, GRANT and REVOKE, done to an `AccessStore`.

The engine's own parser has accepted the statement before it comes here, so this reads only what it needs.
"""

from __future__ import annotations

from collections.abc import Callable

from auditlog_local.clickhouse.access import AccessStore, User, hash_password
from auditlog_local.clickhouse.errors import NOT_IMPLEMENTED, EngineError
from auditlog_local.clickhouse.tokens import Token, tokens, unquote

_PLAIN = (b"PLAINTEXT_PASSWORD", b"SHA256_PASSWORD", b"DOUBLE_SHA1_PASSWORD", b"BCRYPT_PASSWORD")


class _Reader:
    """A cursor over a statement's tokens."""

    def __init__(self, sql: bytes) -> None:
        self.sql = sql
        self._tokens = [t for t in tokens(sql) if not t.is_symbol(b";")]
        self._at = 0

    def peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def next(self) -> Token:
        token = self.peek()
        if token is None:
            raise _unsupported("the statement ends too early")
        self._at += 1
        return token

    def skip(self, *keywords: bytes) -> bool:
        """Step over the keywords when they all come next."""
        ahead = self._tokens[self._at : self._at + len(keywords)]
        if len(ahead) != len(keywords) or not all(t.is_word(k) for t, k in zip(ahead, keywords, strict=True)):
            return False
        self._at += len(keywords)
        return True

    def skip_symbol(self, symbol: bytes) -> bool:
        token = self.peek()
        if token is None or not token.is_symbol(symbol):
            return False
        self._at += 1
        return True

    def names(self) -> list[str]:
        found = [unquote(self.next())]
        while self.skip_symbol(b","):
            found.append(unquote(self.next()))
        return found

    def text_until(self, keyword: bytes) -> tuple[str, list[Token]]:
        """The source text and tokens up to a top-level keyword, which is stepped over."""
        first = self._at
        while not (token := self.next()).is_word(keyword) or token.depth:
            pass
        taken = self._tokens[first : self._at - 1]
        if not taken:
            raise _unsupported("nothing is granted")
        return self.sql[taken[0].start : taken[-1].end].decode("utf-8", "replace"), taken


def _unsupported(detail: str) -> EngineError:
    return EngineError(NOT_IMPLEMENTED, f"The local ClickHouse cannot do this with users: {detail}")


def access_statement(sql: bytes) -> Callable[[AccessStore], None] | None:
    """What to do for a statement about users; None when it is about something else."""
    reader = _Reader(sql)
    if reader.skip(b"GRANT"):
        return lambda store: _grant(reader, store, b"GRANT", b"TO")
    if reader.skip(b"REVOKE"):
        return lambda store: _grant(reader, store, b"REVOKE", b"FROM")
    for verb, action in ((b"CREATE", _create), (b"ALTER", _alter), (b"DROP", _drop)):
        if reader.skip(verb, b"USER"):
            return _bind(action, reader)
    return None


def _bind(action: Callable[[_Reader, AccessStore], None], reader: _Reader) -> Callable[[AccessStore], None]:
    return lambda store: action(reader, store)


def _create(reader: _Reader, store: AccessStore) -> None:
    or_replace = reader.skip(b"OR", b"REPLACE")
    if_not_exists = reader.skip(b"IF", b"NOT", b"EXISTS")
    or_replace = or_replace or reader.skip(b"OR", b"REPLACE")
    names = reader.names()
    changes = _user_clauses(reader, {"password_hash": None, "salt": ""})
    for name in names:
        user = User(name, changes["password_hash"], changes["salt"] or "", changes.get("settings") or {})  # type: ignore[arg-type]
        store.create(user, if_not_exists=if_not_exists, or_replace=or_replace)


def _alter(reader: _Reader, store: AccessStore) -> None:
    if_exists = reader.skip(b"IF", b"EXISTS")
    names = reader.names()
    changes = _user_clauses(reader, {})
    for name in names:
        try:
            store.get(name)
        except EngineError:
            if if_exists:
                continue
            raise
        store.update(name, **changes)


def _drop(reader: _Reader, store: AccessStore) -> None:
    if_exists = reader.skip(b"IF", b"EXISTS")
    for name in reader.names():
        store.drop(name, if_exists=if_exists)


def _user_clauses(reader: _Reader, changes: dict[str, object]) -> dict[str, object]:
    """The clauses behind a user's name, as fields of `User`."""
    while reader.peek() is not None:
        if reader.skip(b"NOT", b"IDENTIFIED"):
            changes.update(password_hash=None, salt="")
        elif reader.skip(b"IDENTIFIED"):
            changes["password_hash"], changes["salt"] = _password(reader)
        elif reader.skip(b"HOST", b"ANY") or reader.skip(b"HOST", b"LOCAL"):
            continue
        elif reader.skip(b"SETTINGS"):
            changes["settings"] = _settings(reader)
        elif reader.skip(b"DEFAULT", b"DATABASE"):
            reader.next()
        elif reader.skip(b"DEFAULT", b"ROLE", b"NONE") or reader.skip(b"DEFAULT", b"ROLE", b"ALL"):
            continue
        else:
            raise _unsupported(f"the clause at {unquote(reader.next())!r}")
    return changes


def _password(reader: _Reader) -> tuple[str | None, str]:
    method = b"SHA256_PASSWORD"
    if reader.skip(b"WITH"):
        method = reader.next().text.upper()
    if method == b"NO_PASSWORD":
        return None, ""
    if not reader.skip(b"BY"):
        raise _unsupported("IDENTIFIED needs BY 'password'")
    secret = unquote(reader.next())
    if method in _PLAIN:
        return hash_password(secret)
    if method == b"SHA256_HASH":
        # ClickHouse hashes the password and then the salt, we the other way round: no salted hash fits.
        if reader.skip(b"SALT"):
            raise _unsupported("sha256_hash with SALT")
        return secret.lower(), ""
    raise _unsupported(f"IDENTIFIED WITH {method.decode()}")


def _settings(reader: _Reader) -> dict[str, str]:
    found: dict[str, str] = {}
    while True:
        name = unquote(reader.next())
        value = ""
        if reader.skip_symbol(b"="):
            value = unquote(reader.next())
        found[name] = value
        # Constraints are read over: with readonly = 1 every setting is constant anyway.
        while not reader.skip_symbol(b","):
            if reader.skip(b"MIN") or reader.skip(b"MAX"):
                reader.skip_symbol(b"=")
                reader.next()
            elif not (
                reader.skip(b"READONLY")
                or reader.skip(b"CONST")
                or reader.skip(b"WRITABLE")
                or reader.skip(b"CHANGEABLE_IN_READONLY")
            ):
                return found


def _grant(reader: _Reader, store: AccessStore, verb: bytes, to: bytes) -> None:
    if reader.skip(b"ON", b"CLUSTER") or reader.skip(b"CURRENT", b"GRANTS"):
        raise _unsupported("ON CLUSTER and CURRENT GRANTS")
    text, taken = reader.text_until(to)
    if not any(token.is_word(b"ON") and token.depth == 0 for token in taken):
        raise _unsupported("roles; grant the privileges to the user")
    names = reader.names()
    suffix = " WITH GRANT OPTION" if reader.skip(b"WITH", b"GRANT", b"OPTION") else ""
    for name in names:
        store.add_grant(name, f"{verb.decode()} {text}{suffix}")
