"""Where a job's objects are.

exports/<account>/<job>/job.json           what is asked; written once
                        plan.json          how much there is; written once
                        part-00001.csv.zst a part
                        records/00001.json what part 1 is; written once, after the part
                        leases/00001.json  who works on it; a higher number takes over
                        progress.json      how far it is; overwritten
                        cancel.json        somebody has cancelled it
                        deleted.json       it is being deleted
                        manifest.json      what there is; written last
open/<account>/<job>.json                  a job that is to be worked on
ended/<account>/<job>.json                 how a job ended, and when it may go; written once
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

OPEN: Final = "open"
ENDED: Final = "ended"
MANIFEST: Final = "manifest.json"

_PLAIN: Final = re.compile(rb"[A-Za-z0-9_-]")
_FOLDER_CHARACTERS_MAX: Final = 100
_JOB_ID: Final = re.compile(r"exp_[0-9a-z]{26}", re.ASCII)


def is_job_id(text: str) -> bool:
    """Tell whether this can be a job's id."""
    return _JOB_ID.fullmatch(text) is not None


def account_name(account_id: str) -> str:
    """Return an account's id, whatever it holds, as one harmless name of a folder."""
    escaped = "".join(
        chr(byte) if _PLAIN.match(bytes([byte])) else f"~{byte:02x}" for byte in account_id.encode()
    )
    if len(escaped) > _FOLDER_CHARACTERS_MAX:
        escaped = f"{escaped[:40]}~~{sha256(account_id.encode()).hexdigest()[:40]}"
    return escaped


@dataclass(frozen=True, slots=True)
class Place:
    """The objects of one job."""

    account_id: str
    job_id: str

    @property
    def folder(self) -> str:
        """Return the job's folder."""
        return f"exports/{account_name(self.account_id)}/{self.job_id}"

    def __truediv__(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def record(self, part: int) -> str:
        """Return the path of a part's record; parts count from 1."""
        return f"{self.folder}/records/{part:05d}.json"

    def lease(self, number: int) -> str:
        """Return the path of a lease; leases count from 1."""
        return f"{self.folder}/leases/{number:05d}.json"

    @property
    def open_mark(self) -> str:
        """Return the path of the mark of a job that is to be worked on."""
        return f"{OPEN}/{account_name(self.account_id)}/{self.job_id}.json"

    @property
    def ended_mark(self) -> str:
        """Return the path of the mark of a job that has ended."""
        return f"{ENDED}/{account_name(self.account_id)}/{self.job_id}.json"
