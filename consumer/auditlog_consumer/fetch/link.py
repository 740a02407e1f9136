"""A connection to one broker: one request at a time, each with its answer or an error of ours."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import Final

from auditlog_consumer.fetch import scram
from auditlog_consumer.fetch.security import Login, Security, wrong
from auditlog_consumer.fetch.wire import (
    ILLEGAL_SASL_STATE,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    Address,
    Reader,
)
from auditlog_schemas.errors import AuditError, BrokerUnavailable, ConfigError, TerminalError

CONNECT_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 30.0
ANSWER_BYTES_PER_SECOND_MIN: Final = 1 << 17
"""So much longer a large answer may take: over a slow network, too, it has to come some time."""
ANSWER_BYTES_MAX: Final = 48 << 20
"""An answer holds what was asked for and one batch of the topic's `max.message.bytes` at most."""

_BAD_NAME: Final = (62, 64)
"""OpenSSL's codes for a certificate of another host name, and of another address."""
_BAD_TIME: Final = (9, 10)
"""The same for one that is not valid yet, or not any more."""
_REFUSALS: Final = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "PROTOCOL_VERSION", "ACCESS_DENIED")
"""TLS alerts that come again however often one connects."""


class Link:
    """A connection, ready for requests. Not thread-safe."""

    def __init__(self, address: Address, secure: Security, client_id: str) -> None:
        """Connect, and log in.

        Raises:
            BrokerUnavailable: nobody answers in time, or not as a broker does.
            ConfigError: the broker's certificate cannot be trusted, or it refuses ours or the login.
        """
        self._where = f"Kafka at {address[0]}:{address[1]}"
        self._client_id = client_id.encode()
        self._correlation = 0
        self._has_answered = False
        try:
            self._socket = socket.create_connection(address, CONNECT_SECONDS_MAX)
        except (OSError, ValueError, OverflowError) as error:
            # Not an OSError: names and ports that cannot be.
            raise BrokerUnavailable(f"{self._where}: {error}") from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure.tls is not None:
                self._socket = secure.tls.wrap_socket(self._socket, server_hostname=address[0])
            if secure.login is not None:
                self._log_in(secure.login)
        except (OSError, ValueError) as error:
            self.close()
            raise self._failed(error) from error
        except BaseException:
            self.close()
            raise

    def ask(self, api: tuple[int, int], body: bytes) -> bytearray:
        """Send one request and return the body of its answer.

        Raises:
            BrokerUnavailable: there was no answer in time; the connection cannot be used any more.
            ConfigError: the broker refuses our certificate, which it may say late.
            TerminalError: the answer is larger than `ANSWER_BYTES_MAX`.
        """
        self._correlation += 1
        head = struct.pack(">hhih", *api, self._correlation, len(self._client_id)) + self._client_id
        try:
            self._socket.settimeout(ANSWER_SECONDS_MAX)
            self._socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
            size, correlation = struct.unpack(">ii", self._receive(8))
            if correlation != self._correlation or size < 4:
                raise OSError("what it answers is no answer of a broker")
            if size > ANSWER_BYTES_MAX:
                raise TerminalError(
                    f"{self._where} answers with {size:,} bytes, {ANSWER_BYTES_MAX:,} are read: "
                    "lower the topic's max.message.bytes"
                )
            answer = self._receive(size - 4)
        except OSError as error:
            raise self._failed(error) from error
        self._has_answered = True
        return answer

    def close(self) -> None:
        """Close the connection; a thread that waits for an answer gets BrokerUnavailable."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self, size: int) -> bytearray:
        """Return exactly so many bytes; a broker that sends them by drops has its time, too."""
        body = bytearray(size)
        left = memoryview(body)
        deadline = time.monotonic() + ANSWER_SECONDS_MAX + size / ANSWER_BYTES_PER_SECOND_MIN
        while len(left):
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
            count = self._socket.recv_into(left)
            if not count:
                raise OSError("the broker closed the connection")
            left = left[count:]
        return body

    def _failed(self, error: Exception) -> AuditError:
        """Return what an error of the socket means."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._distrusted(error)
        reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
        if "ALERT" in reason and any(refusal in reason for refusal in _REFUSALS):
            said = reason.rpartition("ALERT_")[2].lower().replace("_", " ")
            return wrong(
                "ssl.certificate.location, ssl.key.location",
                f"{self._where} refuses the connection: {said}; give a certificate that it trusts",
            )
        if self._has_answered or isinstance(error, TimeoutError):
            return BrokerUnavailable(f"{self._where}: {error}")
        return BrokerUnavailable(
            f"{self._where}: {error}, before any answer; if it stays so, this port has another "
            "security.protocol than AUDITLOG_KAFKA_CONFIG"
        )

    def _distrusted(self, error: ssl.SSLCertVerificationError) -> ConfigError:
        said = f"{self._where}: its certificate is not trusted: {error.verify_message.rstrip('.')}"
        if error.verify_code in _BAD_NAME:
            return wrong(
                "ssl.endpoint.identification.algorithm",
                f"{said}; reach the broker by a name in its certificate (AUDITLOG_KAFKA, and the broker's "
                "advertised.listeners), or set this to none",
            )
        if error.verify_code in _BAD_TIME:
            return ConfigError(f"{said}; renew it, or set the clock of this machine")
        return wrong("ssl.ca.location", f"{said}; name the authority that signed it, here or in ssl.ca.pem")

    def _log_in(self, login: Login) -> None:
        name = login.mechanism.encode()
        answer = Reader(self.ask(SASL_HANDSHAKE, struct.pack(">h", len(name)) + name))
        if error := answer.number("h"):
            if error == ILLEGAL_SASL_STATE:
                raise wrong("security.protocol", f"{self._where} has no login at this port")
            known = ", ".join(answer.text() for _ in answer.items())
            raise wrong("sasl.mechanism", f"{self._where} has no {login.mechanism}; it has {known or 'none'}")
        if login.mechanism in scram.MECHANISMS:
            self._scram(login)
        else:
            self._authenticate(f"\0{login.username}\0{login.password}")

    def _scram(self, login: Login) -> None:
        client = scram.Scram(login.mechanism, login.username, login.password)
        try:
            proof = client.final(self._authenticate(client.first()))
            client.require_server(self._authenticate(proof))
        except scram.ScramRefused as error:
            raise ConfigError(f"{self._where}, {login.mechanism}: {error}") from error

    def _authenticate(self, text: str) -> str:
        data = text.encode()
        answer = Reader(self.ask(SASL_AUTHENTICATE, struct.pack(">i", len(data)) + data))
        error, said = answer.number("h"), answer.text()
        if error:
            raise wrong(
                "sasl.username, sasl.password",
                f"{self._where} refuses the login: {said or f'error {error}'}",
            )
        return bytes(answer.data()).decode("utf-8", "replace")
