"""Parameters of a statement: a number that does not fit its type is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from auditlog_schemas.errors import StorageRejected

_WHOLE_NUMBER: Final = re.compile(r"\{(\w+):(?:Array\()?(U?)Int(8|16|32|64)\)?\}")


def checked(sql: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a statement, whose whole numbers fit their types.

    ClickHouse reads ``{x:Int32}`` without looking: 4294967296 would be 0, and the answer one to another
    question.

    Raises:
        StorageRejected: a number does not fit; the message names its parameter.
    """
    for name, unsigned, bits in _WHOLE_NUMBER.findall(sql):
        value = parameters.get(name)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        lowest, highest = (0, 1 << int(bits)) if unsigned else (-1 << int(bits) - 1, 1 << int(bits) - 1)
        for number in numbers:
            if isinstance(number, int) and not lowest <= number < highest:
                raise StorageRejected(f"{name}: {number} does not fit {unsigned}Int{bits}")
    return dict(parameters)
