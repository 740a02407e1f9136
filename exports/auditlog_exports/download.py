"""Downloading: parts as they are, or one file made of all of them, each checked against its record."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from tempfile import TemporaryFile
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from auditlog_exports.encoding import parquet_bytes
from auditlog_exports.errors import NotWhole
from auditlog_exports.job import Job
from auditlog_exports.jobs import Jobs
from auditlog_exports.part import Part
from auditlog_exports.places import MANIFEST, Place


def part_bytes(jobs: Jobs, job: Job, part: Part) -> Iterator[bytes]:
    """Yield a part's file.

    Its last piece is held back until the whole file has the recorded length and SHA-256.

    Raises:
        NotWhole: it has not.
    """
    found, size, held = sha256(), 0, b""
    for piece in jobs.store.pieces(Place(job.account_id, job.job_id) / part.file):
        found.update(piece)
        size += len(piece)
        if held:
            yield held
        held = piece
    if (size, found.hexdigest()) != (part.bytes, part.sha256):
        raise NotWhole(f"{part.file} of export {job.job_id} is not what its record says: it was changed")
    if held:
        yield held


def one_file(jobs: Jobs, job: Job) -> Iterator[bytes]:
    """Yield one file with all events of a finished job.

    CSV and JSON lines are the parts one behind the other, the header of CSV once; with a compression they are
    as many frames, which gzip and zstd read as one. Parquet is written anew from the parts' row groups.

    Raises:
        NotWhole: a part is not what its record says; it came too late for those who have read on.
    """
    parts = _parts(jobs, job)
    if job.shape.format == "parquet" and len(parts) > 1:
        return parquet_bytes(job.shape.compression, _row_groups(jobs, job, parts))
    return _joined(jobs, job, parts)


def file_name(job: Job, part: Part | None = None) -> str:
    """Return a name for the file: of a part, or of the one file of all parts."""
    return f"{job.job_id}-{part.file}" if part else f"{job.job_id}{job.shape.suffix}"


def one_file_size(jobs: Jobs, job: Job) -> int | None:
    """Return the size of `one_file`; None when it is not known before."""
    parts = _parts(jobs, job)
    if job.shape.format == "parquet" and len(parts) > 1:
        return None
    return sum(part.bytes for part in parts) - sum(part.head_bytes for part in parts[1:])


def _parts(jobs: Jobs, job: Job) -> list[Part]:
    manifest = jobs.store.read(Place(job.account_id, job.job_id) / MANIFEST)
    return [Part.from_json(record) for record in manifest["parts"]]


def _joined(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[bytes]:
    for part in parts:
        left = part.head_bytes if part.number > 1 else 0
        for piece in part_bytes(jobs, job, part):
            kept = piece[left:]
            left -= len(piece) - len(kept)
            if kept:
                yield kept


def _row_groups(jobs: Jobs, job: Job, parts: list[Part]) -> Iterator[pa.Table]:
    for part in parts:
        with TemporaryFile() as whole:
            _write(whole, part_bytes(jobs, job, part))
            file = pq.ParquetFile(whole)
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)


def _write(file: IO[bytes], pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        file.write(piece)
    file.seek(0)
