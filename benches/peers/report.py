"""How a peer tells the bench where it is: the same lines of JSON as the product's log."""

from __future__ import annotations

import json


def say(event: str, **values: object) -> None:
    """Write one line at once."""
    print(json.dumps({"event": event, **values}), flush=True)
