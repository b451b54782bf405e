"""Who may use the teleoperation page: holders of its address, from pages of its own."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def own_names(host: str) -> list[str]:
    """Return the names and addresses under which browsers may reach a server bound to `host`."""
    names = ["localhost", "127.0.0.1", host]
    if is_everywhere(host):
        names = [*names[:2], socket.gethostname(), f"{socket.gethostname()}.local", network_address()]
    return list(dict.fromkeys(names))


def is_everywhere(host: str) -> bool:
    """Tell whether a server bound to `host` listens on every network interface."""
    return is_address(host) and ipaddress.ip_address(host).is_unspecified


def network_address() -> str:
    """Return this machine's address in its network, 127.0.0.1 where it has none; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def is_own_host(header: str, names: Collection[str]) -> bool:
    """Tell whether a request's Host is ours: one of `names` or an IP address.

    A page elsewhere whose name was pointed at this machine (DNS rebinding) sends its own name.
    """
    match = _HOST.fullmatch(header)
    if match is None:
        return False
    host = match[1].strip("[]").lower()
    return is_address(host) or host in {name.lower() for name in names}


def is_own_origin(origin: str | None, host_header: str) -> bool:
    """Tell whether a websocket was opened by a page of this server: browsers always say by which."""
    if origin is None:
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host_header.lower()


def is_same_token(given: str, token: str) -> bool:
    """Compare in a time that tells nothing about the token."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())
