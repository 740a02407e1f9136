"""ClickHouse's own error codes, and the HTTP status each is answered with.

The table follows `src/Server/HTTP/exceptionCodeToHTTPStatus.cpp` of ClickHouse 26; a code that is not
listed is answered with 500, as there.
"""

from __future__ import annotations

from collections.abc import Mapping

NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_TYPE_OF_QUERY = 78
UNKNOWN_COMPRESSION_METHOD = 89
INCORRECT_DATA = 117
READONLY = 164
UNKNOWN_USER = 192
TOO_MANY_SIMULTANEOUS_QUERIES = 202
SOCKET_TIMEOUT = 209
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
QUERY_IS_TOO_LARGE = 229
ABORTED = 236
NOT_ENOUGH_SPACE = 243
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
QUERY_WAS_CANCELLED = 394
ACCESS_ENTITY_ALREADY_EXISTS = 493
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
BAD_ARGUMENTS = 36
UNKNOWN_EXCEPTION = 1002

_NAMES: Mapping[int, str] = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_TYPE_OF_QUERY: "UNKNOWN_TYPE_OF_QUERY",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    INCORRECT_DATA: "INCORRECT_DATA",
    READONLY: "READONLY",
    UNKNOWN_USER: "UNKNOWN_USER",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    SOCKET_TIMEOUT: "SOCKET_TIMEOUT",
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    ABORTED: "ABORTED",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
    ACCESS_ENTITY_ALREADY_EXISTS: "ACCESS_ENTITY_ALREADY_EXISTS",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

_BAD_REQUEST = (
    6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441,
    675, 676,
)  # fmt: skip
_NOT_FOUND = (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511)
_STATUS: Mapping[int, int] = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_NOT_FOUND, 404),
    194: 401,
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    159: 408,
    381: 411,
    229: 413,
    779: 415,
    48: 501,
    **dict.fromkeys((76, 209, 439), 503),
}


class EngineError(Exception):
    """One ClickHouse exception, as it travels to the HTTP client.

    Attributes:
        code: ClickHouse's error code, for example 60.
        text: ``Code: 60. DB::Exception: ... (UNKNOWN_TABLE) (version 26.9.2.1)``, without a final line break.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {message} ({_NAMES.get(code, 'UNKNOWN')})"
        super().__init__(self.text)

    @classmethod
    def from_engine(cls, raised: BaseException) -> EngineError:
        """The error chDB raised; chDB hands the code over inside the text only: ``... Code: 60. DB::...``."""
        text = str(raised)
        _, found, rest = text.partition("Code: ")
        digits = rest.partition(".")[0]
        if not found or not digits.isdigit():
            return cls(UNKNOWN_EXCEPTION, text or type(raised).__name__)
        error = cls(int(digits), "")
        text = "Code: " + rest.rstrip("\n")
        # INFILE and OUTFILE wrap the engine's exception into itself.
        repeated = f"Code: {digits}. DB::Exception: "
        while text.startswith(repeated * 2):
            text = text.removeprefix(repeated)
        error.text = text
        error.args = (error.text,)
        return error

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server answers this code with."""
        return _STATUS.get(self.code, 500)

    def body(self, version: str) -> bytes:
        """The response body, naming the server's version as ClickHouse does."""
        suffix = "" if f"(version {version}" in self.text else f" (version {version})"
        return f"{self.text}{suffix}\n".encode()
