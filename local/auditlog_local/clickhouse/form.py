"""Forms: a statement and its parameters as fields of a multipart body, as clients send long parameters."""

from __future__ import annotations

import re

from auditlog_local.clickhouse.errors import BAD_ARGUMENTS, NOT_IMPLEMENTED, EngineError

FORM_BYTES_MAX = 16 << 20

_BOUNDARY = re.compile(r'multipart/form-data;.*\bboundary="?([^";]+)', re.IGNORECASE)
_NAME = re.compile(rb'^content-disposition:\s*form-data;.*\bname="([^"]*)"', re.IGNORECASE | re.MULTILINE)
_FILE = re.compile(rb"^content-disposition:.*\bfilename\*?=", re.IGNORECASE | re.MULTILINE)


def boundary_of(content_type: str) -> str | None:
    """The boundary of a form's parts; None when the body is no form.

    Raises:
        EngineError: a multipart body of another kind, or without a boundary.
    """
    if not content_type.lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise EngineError(BAD_ARGUMENTS, "a multipart body needs multipart/form-data and a boundary")
    return found[1]


def read_form(body: bytes, boundary: str) -> dict[str, bytes]:
    """The fields of a form by their names.

    Raises:
        EngineError: the body is cut or malformed, or holds a file (external data are not served here).
    """
    mark = b"--" + boundary.encode()
    first, *parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if first or not parts or not parts[-1].startswith(b"--"):
        raise EngineError(BAD_ARGUMENTS, "the form is cut or malformed")
    fields: dict[str, bytes] = {}
    for part in parts[:-1]:
        head, separator, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not separator or name is None:
            raise EngineError(BAD_ARGUMENTS, "a part of the form has no name")
        if _FILE.search(head):
            raise EngineError(NOT_IMPLEMENTED, "files in forms (external data) are not served here")
        fields[name[1].decode("utf-8", "replace")] = content
    return fields
