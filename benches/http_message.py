"""HTTP/1.1 messages as a proxy passes them on: where one begins, where it ends, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

HEAD_BYTES_MAX: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_OPENING_BYTES: Final = 1 << 12


@dataclass
class Message:
    """A request or an answer.

    Attributes:
        head: start line and fields, with the empty line.
        pieces: what has not been read of the body yet, chunk marks included.
        opening: what has been read of the body.
    """

    head: bytes
    pieces: AsyncIterator[bytes]
    opening: bytes = b""

    @property
    def statement(self) -> str:
        """Return where a statement of ClickHouse stands: the URL and the opening of the body."""
        return unquote_plus((self.head.split(b"\r\n", 1)[0] + self.opening).decode("latin-1"))

    async def whole(self) -> bytes:
        """Return head and body."""
        return b"".join([self.head, self.opening, *[piece async for piece in self.pieces]])

    async def send(self, writer: asyncio.StreamWriter) -> None:
        """Pass it on as it comes."""
        writer.write(self.head + self.opening)
        async for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
        await writer.drain()


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read a head and the opening of its body.

    Raises:
        EOFError, OSError: the connection ended; between two messages or inside of one.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    message = Message(head, _body(reader, head))
    with suppress(StopAsyncIteration):
        while len(message.opening) < _OPENING_BYTES:
            message.opening += await anext(message.pieces)
    return message


async def _body(reader: asyncio.StreamReader, head: bytes) -> AsyncIterator[bytes]:
    """Yield a body in pieces, chunk marks included."""
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        while True:
            mark = await reader.readuntil(b"\r\n")
            size = int(mark.split(b";")[0], 16)
            yield mark + await reader.readexactly(size + 2)
            if not size:
                return
    left = int(fields.get(b"content-length", b"0"))
    while left:
        piece = await reader.read(min(left, _PIECE_BYTES))
        if not piece:
            raise EOFError("the body is not whole")
        left -= len(piece)
        yield piece
