"""Values at the limit of each field rule, and one beyond it."""

from __future__ import annotations

from typing import Any

from auditlog_schemas.rules import FieldRule, Test

LISTS = {
    "related": {"type": "order", "id": "ord_1", "name": None},
    "changes": {"field": "seats", "before": None, "after": None},
}


def items(path: str, count: int) -> Any:
    if path == "metadata":
        return {f"key{i}": "x" for i in range(count)}
    return [dict(LISTS[path]) for _ in range(count)]


def at_limit(rule: FieldRule) -> list[Any]:
    """Values that just keep the rule."""
    match rule.test:
        case Test.EMPTY:
            return ["x", " "]
        case Test.BYTES_OVER:
            whole, rest = divmod(rule.limit, 4)
            return ["x" * rule.limit, "🔑" * whole + "x" * rest]
        case Test.CONTROL:
            return [" ", "~", "\u00a0", "ÿ", "☃"]
        case Test.COUNT_OVER:
            return [items(rule.path, rule.limit)]
        case Test.BELOW:
            return [rule.limit]


def one_beyond(rule: FieldRule) -> list[Any]:
    """Values that just break the rule."""
    match rule.test:
        case Test.EMPTY:
            return [""]
        case Test.BYTES_OVER:
            return ["x" * (rule.limit + 1), "é" * (rule.limit // 2) + "xx"]
        case Test.CONTROL:
            return ["a\0", "\r\nb", "\x1f", "\x7f", "\x80", "\x9f"]
        case Test.COUNT_OVER:
            return [items(rule.path, rule.limit + 1)]
        case Test.BELOW:
            return [rule.limit - 1]
