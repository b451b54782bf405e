"""Clients of the teleoperation page for tests: messages, a websocket, a fetch."""

import json
import ssl
import time
from typing import Any

import aiohttp

from robofb.deploy.teleop.web_messages import DriveMessage, parse_message
from robofb.errors import DeviceLostError

PATIENCE_S = 15.0  # for a loaded machine
TIMEOUT = aiohttp.ClientTimeout(total=20)
NEUTRAL = {
    "seq": 0,
    "t_ms": 0.0,
    "engaged": False,
    "linear": [0, 0, 0],
    "angular": [0, 0, 0],
    "gripper": 0,
    "event": "",
    "hand": None,
}


def text(**changes: Any) -> str:
    return json.dumps({**NEUTRAL, **changes})


def message(**changes: Any) -> DriveMessage:
    return parse_message(text(**changes))


def origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


def socket_of(session: aiohttp.ClientSession, url: str, **options: Any) -> Any:
    """Return the context manager of the page's websocket; the Origin is the page's own by default."""
    headers = {"Origin": origin(url), **options.pop("headers", {})}
    return session.ws_connect(f"{url}socket", headers=headers, **options)


async def status_of(url: str, tls: ssl.SSLContext | None = None, **headers: str) -> int:
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as session,
        session.get(url, headers=headers, ssl=tls or True) as answer,
    ):
        return answer.status


def read_until(teleop, holds):
    """Read until a command is as wanted; return it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            command = teleop.read()
        except DeviceLostError:
            command = None
        if command is not None and holds(command):
            return command
        time.sleep(0.005)
    raise AssertionError("the wanted command never came")
