"""The pipe of a result: its descriptor is closed once, since the engine takes free numbers at once."""

from __future__ import annotations

import asyncio
import io
import os

import pytest
import uvloop

from auditlog_local.clickhouse import app


def test_whoever_gets_the_number_of_a_closed_pipe_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    another = os.open(os.devnull, os.O_RDONLY)

    class Reopening(io.FileIO):
        """A file that is closed just after another thread has got its number, if it is free by then."""

        def close(self) -> None:
            if not self.closed:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(self.fileno())
                taken.append(os.dup2(another, self.fileno()))
            super().close()

    def fdopen(descriptor: int, mode: str, buffering: int, closefd: bool = True) -> io.FileIO:
        return Reopening(descriptor, mode, closefd)

    async def read() -> tuple[int, bytes]:
        read_fd, write_fd = os.pipe()
        reader, transport = await app._pipe_reader(read_fd)
        os.write(write_fd, b"result")
        os.close(write_fd)
        found = await reader.read()
        transport.close()
        await asyncio.sleep(0)
        return read_fd, found

    monkeypatch.setattr(os, "fdopen", fdopen)
    read_fd, found = uvloop.run(read())
    assert found == b"result"
    assert taken == [read_fd]
    os.fstat(read_fd)
    os.close(read_fd)
    os.close(another)
