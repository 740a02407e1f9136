"""The catalog that the environment asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from auditlog_schemas.catalog import Catalog

VARIABLE: Final = "AUDITLOG_CATALOG"


def extra_catalog_files() -> tuple[Path, ...]:
    """Return the extra catalog files of the environment."""
    return tuple(Path(path) for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path)


def configured_catalog() -> Catalog:
    """Return the built-in catalog with the extra files.

    Raises:
        ConfigError: a file is wrong; the message names it and the line or the key.
    """
    from auditlog_schemas.catalog_file import load_catalog

    return load_catalog(extra_catalog_files())
