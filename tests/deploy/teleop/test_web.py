"""The server of the page, by a client that is no browser."""

import asyncio
import io
import json
import socket
import ssl
import threading
import time
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import yaml
from page_clients import PATIENCE_S, TIMEOUT, read_until, socket_of, status_of, text
from PIL import Image

from robofb.build import build
from robofb.deploy.teleop.web import WebTeleop
from robofb.errors import DeviceLostError, UserError
from robofb.interfaces import Teleop


@pytest.fixture
def teleop():
    device = WebTeleop(port=0)
    device.connect()
    yield device
    device.close()


def read_until_lost(teleop) -> str:
    """Read until the device is lost; return what it says."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            teleop.read()
        except DeviceLostError as error:
            return str(error)
        time.sleep(0.005)
    raise AssertionError("the loss was never told")


def test_is_a_teleop_made_from_its_config():
    node = yaml.safe_load((Path(__file__).parents[3] / "configs/teleop/web.yaml").read_text())
    device = build(node)
    assert isinstance(device, Teleop) and isinstance(device, WebTeleop)
    device.close()


def test_before_anyone_has_come_it_says_where_to_go(teleop):
    with pytest.raises(DeviceLostError, match=f"no browser has opened the page yet; open {teleop.url}"):
        teleop.read()


@pytest.mark.parametrize(
    "path", ["", "x/", "{token}x/", "{token}x/socket", "x/camera/front", "x/main.js", "socket"]
)
def test_a_wrong_token_opens_nothing(teleop, path):
    root, token = teleop.url.rsplit("/", 2)[:2]
    assert asyncio.run(status_of(f"{root}/{path.format(token=token)}")) == 403
    assert len(token) >= 32


def test_the_page_and_its_parts_come_fenced_in(teleop):
    async def fetch():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            for part in ("", "main.js", "style.css", "xr.js", "icon.svg"):
                async with session.get(teleop.url + part) as answer:
                    assert answer.status == 200
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                    assert answer.headers["Referrer-Policy"] == "no-referrer"
                    body = await answer.text()
                    assert "http://" not in body.replace("http://www.w3.org/2000/svg", "")
                    assert "https://" not in body

    asyncio.run(fetch())


@pytest.mark.parametrize("part", ["nothing", "../web.py", "..%2fweb.py", "%2e%2e/web.py", "camera/front/x"])
def test_nothing_else_is_served(teleop, part):
    assert asyncio.run(status_of(teleop.url + part)) in (403, 404)


def test_a_foreign_name_for_this_machine_is_refused(teleop):
    assert asyncio.run(status_of(teleop.url, Host="evil.example")) == 403
    assert asyncio.run(status_of(teleop.url, Host="localhost:1234")) == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_page_cannot_connect(teleop, origin):
    async def connect():
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            socket_of(session, teleop.url, headers={"Origin": origin}),
        ):
            pass

    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        asyncio.run(connect())


def test_drives_and_stops_when_the_socket_closes(teleop):
    async def drive():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, socket_of(session, teleop.url) as ws:
            await ws.send_str(text(seq=1, t_ms=1.0))
            for seq in range(2, 6):
                await ws.send_str(text(seq=seq, t_ms=1e3 * time.monotonic(), engaged=True, linear=[1, 0, 0]))
                command = await asyncio.to_thread(read_until, teleop, lambda command: command.engaged)
                assert command.twist == pytest.approx([0.15, 0, 0, 0, 0, 0])

    asyncio.run(drive())
    assert "has left" in read_until_lost(teleop)


def test_one_drives_the_second_is_told_so_and_takes_over_later(teleop):
    async def two():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            async with socket_of(session, teleop.url) as first:
                await first.send_str(text(event="start"))
                await asyncio.to_thread(read_until, teleop, lambda command: command.event == "start")
                async with socket_of(session, teleop.url) as second:
                    await second.send_str(text(event="quit"))
                    refusal = await second.receive()
                    assert refusal.type is aiohttp.WSMsgType.CLOSE
                    assert (refusal.data, refusal.extra) == (4001, "another browser is driving")
                assert teleop.read().event == ""  # the second's event was not heard
            async with socket_of(session, teleop.url) as third:
                await third.send_str(text(event="undo"))
                await asyncio.to_thread(read_until, teleop, lambda command: command.event == "undo")

    asyncio.run(two())


HOSTILE = [
    (text(engaged=True, linear=[1e308, 0, 0]), 1008),
    (text(engaged=True).replace('"t_ms": 0.0', '"t_ms": NaN'), 1008),
    ("[" * 2000, 1008),
    ("{}", 1008),
    (b"\x00" * 100, 1003),
    (text(engaged=True) + " " * 5000, 1009),
    ("a" * 10_000_000, 1009),
    (b"\xff" * 10_000_000, 1009),
]


@pytest.mark.parametrize(("hostile", "code"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_messages_end_the_connection_and_nothing_else(teleop, hostile, code):
    async def attack():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, socket_of(session, teleop.url) as ws:
            await ws.send_str(text(seq=0))
            try:
                await (ws.send_bytes(hostile) if isinstance(hostile, bytes) else ws.send_str(hostile))
            except ConnectionError:
                return  # refused while still being sent
            while (answer := await ws.receive(PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert ws.close_code in (code, 1006), answer  # 1006: the rest of 10 MB was not read

    asyncio.run(attack())
    assert read_until_lost(teleop)
    assert asyncio.run(status_of(teleop.url)) == 200


def test_pictures_are_the_newest_and_wait_for_newer_ones(teleop):
    async def watch():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            for level in (10, 200):  # two pictures before anyone looks: the first is dropped
                teleop.show({"front": np.full((24, 32, 3), level, np.uint8)}, {})
            async with session.get(f"{teleop.url}camera/front?after=0") as answer:
                while answer.headers["X-Picture"] != "2":
                    answer = await session.get(f"{teleop.url}camera/front?after=1")
                picture = np.asarray(Image.open(io.BytesIO(await answer.read())))
            assert picture.shape == (24, 32, 3) and abs(picture.mean() - 200) < 2
            waiting = asyncio.create_task(session.get(f"{teleop.url}camera/front?after=2"))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            teleop.show({"front": np.zeros((24, 32, 3), np.uint8)}, {})
            answer = await waiting
            assert answer.headers["X-Picture"] == "3"
            for bad, status in (
                ("camera/front?after=-1", 400),
                ("camera/front?after=1e9", 400),
                ("camera/x", 404),
            ):
                assert await status_of(teleop.url + bad) == status

    asyncio.run(watch())


def test_facts_and_latency_come_over_the_socket(teleop):
    async def hear():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, socket_of(session, teleop.url) as ws:
            teleop.show({}, {"episodes": "3"})
            await ws.send_str(text(seq=4, t_ms=77.0))
            while True:
                report = json.loads((await ws.receive(PATIENCE_S)).data)
                if report["heard"]["seq"] == 4 and report["status"]:
                    return report

    report = asyncio.run(hear())
    assert report["status"] == {"episodes": "3"}
    assert report["heard"]["t_ms"] == 77.0 and report["heard"]["held_ms"] >= 0


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_refuses_to_show_what_is_no_picture(teleop, picture):
    with pytest.raises(ValueError, match="picture front must be"):
        teleop.show({"front": picture}, {})


def test_serves_https_with_a_certificate_of_its_own():
    device = WebTeleop(port=0, self_signed=True)
    device.connect()
    try:
        assert device.url.startswith("https://127.0.0.1:")
        port = int(device.url.split(":")[2].split("/")[0])
        pem = ssl.get_server_certificate(("127.0.0.1", port))
        trusting = ssl.create_default_context(cadata=pem)  # checks name and signature
        assert asyncio.run(status_of(device.url, trusting)) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            asyncio.run(status_of(device.url))
    finally:
        device.close()


def test_closing_ends_threads_frees_the_port_and_may_be_repeated(teleop):
    port = int(teleop.url.split(":")[2].split("/")[0])
    teleop.close()
    teleop.close()
    assert not any(thread.name == "teleop-web" for thread in threading.enumerate())
    socket.create_server(("127.0.0.1", port)).close()
    with pytest.raises(DeviceLostError, match="not connected"):
        teleop.read()
    teleop.connect()  # and again
    assert asyncio.run(status_of(teleop.url)) == 200


def test_closing_tells_the_browser_and_does_not_wait_for_one_that_says_nothing(teleop):
    async def stay():
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, socket_of(session, teleop.url) as ws:
            await ws.send_str(text(engaged=False))
            pictures = asyncio.create_task(session.get(f"{teleop.url}camera/front"))
            await ws.receive()
            started = time.monotonic()
            closing = asyncio.create_task(asyncio.to_thread(teleop.close))
            while (answer := await ws.receive(PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (answer.data, answer.extra) == (1001, "the session has ended")
            await closing
            assert time.monotonic() - started < PATIENCE_S
            await asyncio.gather(pictures, return_exceptions=True)

    asyncio.run(stay())


def test_a_port_in_use_is_told_in_one_line(teleop):
    port = int(teleop.url.split(":")[2].split("/")[0])
    with pytest.raises(UserError, match=f"port={port}: Address already in use; port=0"):
        WebTeleop(port=port).connect()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"port": 70000}, "port=70000"),
        ({"linear_speed_m_s": float("nan")}, "linear_speed_m_s=nan"),
        ({"control_dt_s": 0}, "control_dt_s=0"),
        ({"jpeg_quality": 0}, "jpeg_quality=0"),
        ({"tls_cert": "a.pem"}, "tls_cert=a.pem"),
        ({"self_signed": True, "tls_cert": "a", "tls_key": "b"}, "self_signed=True"),
    ],
)
def test_refuses_settings_that_make_no_sense(values, words):
    with pytest.raises(UserError, match=words):
        WebTeleop(**values)


def test_a_missing_certificate_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="a.pem.*No such file"):
        WebTeleop(port=0, tls_cert=f"{tmp_path}/a.pem", tls_key=f"{tmp_path}/b.pem").connect()
