"""Ask the dashboard server of a UR's control box: one line there, one back."""

from __future__ import annotations

import socket

PORT = 29999


def ask_dashboard(host: str, line: str, timeout_s: float) -> str:
    """Return the answer to a line.

    Raises:
        OSError: nobody answers in time.
    """
    with (
        socket.create_connection((host, PORT), timeout_s) as connection,
        connection.makefile("r", encoding="utf-8", errors="replace") as answers,
    ):
        if not answers.readline():
            raise ConnectionError("the dashboard server hung up")
        connection.sendall(f"{line}\n".encode())
        return answers.readline().strip()
