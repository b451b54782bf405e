"""The connection between a policy server and its client: messages whole, in time, and of bounded size.

A message is its length (4 bytes, big-endian) and that many bytes of msgpack.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import struct
import time
from pathlib import Path

from robofb.deploy.listening import is_host
from robofb.deploy.policy_messages import Message, decode, encode
from robofb.deploy.teleop.web_guard import is_address
from robofb.deploy.teleop.web_messages import BadMessageError
from robofb.errors import UserError

LOG = logging.getLogger(__name__)
TOKEN_SIZES = (16, 512)
_PIECE = 2**16
_LENGTH = struct.Struct(">I")
_PLAIN = re.compile(r"[!-~]+")  # neither blanks nor control characters
_ADDRESS = re.compile(r"(\[[^\]]+\]|[^:\[\]]+):([0-9]{1,5})")


class Wire:
    """Send and receive whole messages over a connection. For one thread alone, but for `abort`.

    Every fault but a bad message is an OSError, time-outs and TLS among them. After one it is of no use.

    Args:
        connection: open; `close` closes it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: object, timeout_s: float) -> None:
        """Send a message, all of it within the time."""
        data, until_s = encode(message), time.monotonic() + timeout_s
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        while rest:
            self._wait_until(until_s)
            rest = rest[self._connection.send(rest[:_PIECE]) :]

    def receive(
        self, kind: type[Message], most_bytes: int, timeout_s: float, *, patient: bool = False
    ) -> Message:
        """Return the next message.

        Args:
            kind: of message.
            most_bytes: it is refused, unread, that is longer.
            timeout_s: in which all of it must be there.
            patient: wait for its first byte for as long as it takes.

        Raises:
            BadMessageError: it is no such message.
        """
        first = b""
        if patient:
            self._connection.settimeout(None)
            first = _whole(self._connection.recv(1))
        until_s = time.monotonic() + timeout_s
        (length,) = _LENGTH.unpack(first + self._read(_LENGTH.size - len(first), until_s))
        if length > most_bytes:
            raise BadMessageError(f"a message of {length} bytes, where {most_bytes} are the most")
        return decode(kind, self._read(length, until_s))

    def abort(self) -> None:
        """Let whoever waits here find the connection closed; from any thread."""
        try:
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)  # TLS's own would not wake a reader
        except OSError:
            return  # it is closed already

    def close(self) -> None:
        """Close the connection; safe twice."""
        self._connection.close()

    def _read(self, count: int, until_s: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._wait_until(until_s)
            data += _whole(self._connection.recv(min(count - len(data), _PIECE)))
        return bytes(data)

    def _wait_until(self, until_s: float) -> None:
        """Let the next call on the connection take no longer than that."""
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left_s)


def _whole(data: bytes) -> bytes:
    if not data:
        raise ConnectionError("the other side closed the connection")
    return data


def read_token(name: str, path: str | Path) -> str:
    """Return the token in a file.

    Args:
        name: of the key that named it.
        path: of the file.

    Raises:
        UserError: it cannot be read, or is no token.
    """
    if not str(path).strip():
        raise UserError(f"{name}={path}: needs a file that holds the token")
    least, most = TOKEN_SIZES
    try:
        with Path(path).open() as file:
            token = file.read(2 * most).strip()  # of a device there is no end
    except (OSError, ValueError) as error:
        raise UserError(f"{name}={path}: {getattr(error, 'strerror', None) or 'is no text'}") from error
    if not least <= len(token) <= most or not _PLAIN.fullmatch(token):
        raise UserError(
            f"{name}={path}: needs {least} to {most} plain characters, as openssl rand -hex 24 makes"
        )
    return token


def warn_of_readers(name: str, path: str | Path) -> None:
    """Warn where others than its owner can read a file with a token."""
    if Path(path).stat().st_mode & 0o077:
        LOG.warning("%s=%s: others on this machine can read it; chmod 600 %s", name, path, path)


def address_of(name: str, text: str) -> tuple[str, int]:
    """Return host and port of "host:port" or "[host]:port".

    Raises:
        UserError: the text is no such thing.
    """
    match = _ADDRESS.fullmatch(text)
    host, port = ("", 0) if match is None else (match[1].strip("[]"), int(match[2]))
    if not (is_host(host) and 0 < port < 2**16):
        raise UserError(f"{name}={text}: needs host:port, such as 192.168.1.5:8800")
    return host, port


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine under an address that no other can reach."""
    return ipaddress.ip_address(host).is_loopback if is_address(host) else host == "localhost"
