"""Addresses to listen on."""

from __future__ import annotations

import os
import socket

from robofb.errors import UserError


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
