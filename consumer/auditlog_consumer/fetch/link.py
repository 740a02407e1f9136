"""A connection to one broker: one request at a time, each with its answer or an error of ours."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Final

from scramp import ScramClient, ScramException  # type: ignore[import-untyped]

from auditlog_consumer.fetch.security import SCRAM, Login, Security
from auditlog_consumer.fetch.wire import SASL_AUTHENTICATE, SASL_HANDSHAKE, Address, Reader
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, TerminalError

CONNECT_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 30.0
ANSWER_BYTES_MAX: Final = 48 << 20
"""An answer holds what was asked for and one batch of the topic's `max.message.bytes` at most."""


class Link:
    """A connection, ready for requests. Not thread-safe."""

    def __init__(self, address: Address, secure: Security, client_id: str) -> None:
        """Connect, and log in.

        Raises:
            BrokerUnavailable: nobody answers in time.
            ConfigError: the broker's certificate cannot be trusted, or it refuses the login.
        """
        self._where = f"{address[0]}:{address[1]}"
        self._client_id = client_id.encode()
        self._correlation = 0
        try:
            self._socket = socket.create_connection(address, CONNECT_SECONDS_MAX)
        except OSError as error:
            raise BrokerUnavailable(f"Kafka at {self._where}: {error}") from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure.tls is not None:
                self._socket = secure.tls.wrap_socket(self._socket, server_hostname=address[0])
            if secure.login is not None:
                self._log_in(secure.login)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    def ask(self, api: tuple[int, int], body: bytes) -> bytearray:
        """Send one request and return the body of its answer.

        Raises:
            BrokerUnavailable: there was no answer in time; the connection cannot be used any more.
            TerminalError: the answer is larger than `ANSWER_BYTES_MAX`.
        """
        self._correlation += 1
        head = struct.pack(">hhih", *api, self._correlation, len(self._client_id)) + self._client_id
        try:
            self._socket.settimeout(ANSWER_SECONDS_MAX)
            self._socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
            size, correlation = struct.unpack(">ii", self._receive(8, time.monotonic() + ANSWER_SECONDS_MAX))
            if correlation != self._correlation or size < 4:
                raise OSError("the answer is not of the request")
            if size > ANSWER_BYTES_MAX:
                raise TerminalError(
                    f"Kafka at {self._where} answers with {size:,} bytes, {ANSWER_BYTES_MAX:,} are read: "
                    "lower the topic's max.message.bytes"
                )
            return self._receive(size - 4, time.monotonic() + ANSWER_SECONDS_MAX)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the connection; a thread that waits for an answer gets BrokerUnavailable."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self, size: int, deadline: float) -> bytearray:
        """Return exactly so many bytes; a broker that sends them by drops has until the deadline."""
        body = bytearray(size)
        left = memoryview(body)
        while len(left):
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
            count = self._socket.recv_into(left)
            if not count:
                raise OSError("the broker closed the connection")
            left = left[count:]
        return body

    def _failed(self, error: OSError) -> BrokerUnavailable | ConfigError:
        text = f"Kafka at {self._where}: {error}"
        is_certificate = type(error).__name__ == "SSLCertVerificationError"
        return ConfigError(f"{text}; see ssl.ca.location") if is_certificate else BrokerUnavailable(text)

    def _log_in(self, login: Login) -> None:
        name = login.mechanism.encode()
        answer = Reader(self.ask(SASL_HANDSHAKE, struct.pack(">h", len(name)) + name))
        if answer.number("h"):
            known = ", ".join(answer.text() for _ in answer.items())
            raise ConfigError(f"Kafka at {self._where} has no {login.mechanism}; it has {known}")
        if login.mechanism in SCRAM:
            self._scram(login)
        else:
            self._authenticate(f"\0{login.username}\0{login.password}")

    def _scram(self, login: Login) -> None:
        """RFC 5802, without channel binding."""
        client = ScramClient([login.mechanism], login.username, login.password)
        try:
            client.set_server_first(self._authenticate(client.get_client_first()))
            client.set_server_final(self._authenticate(client.get_client_final()))
        except ScramException as error:
            raise ConfigError(f"Kafka at {self._where}, {login.mechanism}: {error}") from error

    def _authenticate(self, text: str) -> str:
        data = text.encode()
        answer = Reader(self.ask(SASL_AUTHENTICATE, struct.pack(">i", len(data)) + data))
        error, said = answer.number("h"), answer.text()
        if error:
            raise ConfigError(f"Kafka at {self._where} refuses the login: {said or f'error {error}'}")
        return bytes(answer.data()).decode("utf-8", "replace")
