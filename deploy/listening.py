"""Addresses to listen on."""

from __future__ import annotations

import os
import re
import socket

from robofb.deploy.teleop.web_guard import is_address
from robofb.errors import UserError

_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_NUMBER_LAST = re.compile(r"(.*\.)?\d+\.?")  # 256.1.1.1 and 10.0.1 are addresses gone wrong, not names


def is_host(text: str) -> bool:
    """Tell whether a text can be a host's name or IP address; nobody is asked whether there is one."""
    return is_address(text) or bool(_NAME.fullmatch(text) and not _NUMBER_LAST.fullmatch(text))


def check_host(name: str, host: str) -> None:
    """Refuse what the key `name` says where that is no host."""
    if not is_host(host):
        raise UserError(f"{name}={host}: needs a host's name or IP address, such as 192.168.1.5")


def listen_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens; a port of 0 takes a free one.

    Raises:
        UserError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise UserError(f"host={host} port={port}: {reason}; port=0 takes a free one") from error
