"""The server of the teleoperation page: aiohttp in a thread of its own."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from importlib.resources import files
from typing import Any

import numpy as np

from robofb.deploy.teleop.web_drive import DriveState
from robofb.deploy.teleop.web_guard import is_own_host, is_own_origin, is_same_token
from robofb.deploy.teleop.web_messages import MAX_MESSAGE_BYTES, BadMessageError, parse_message

EXPEL_AFTER_S = 5.0  # of silence: the seat is free for another browser
REPORT_EVERY_S = 0.1
START_WITHIN_S = 30.0
PICTURE_WAIT_S = 2.0
CLOSED_BUSY, CLOSED_SILENT, CLOSED_REFUSED = 4001, 4002, 1008
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "gamepad=(self), xr-spatial-tracking=(self)",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; connect-src 'self' ws://{host} wss://{host}"
)


class PictureBoard:
    """Keep the newest picture of each camera for whoever waits for it; lives in the server's loop."""

    def __init__(self) -> None:
        self.number = 0
        self.frames: dict[str, np.ndarray] = {}
        self._changed = asyncio.Event()

    def put(self, frames: dict[str, np.ndarray]) -> None:
        """Replace all pictures."""
        self.frames, self.number = frames, self.number + 1
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()

    async def newer(self, after: int) -> bool:
        """Wait until there are pictures newer than number `after`; False where none comes in time."""
        if self.number <= after:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), PICTURE_WAIT_S)
        return self.number > after


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Return a picture (H, W, 3) uint8 RGB as JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class WebServer:
    """Serve the page, its pictures and its websocket below /<token>/.

    Args:
        listening: a bound socket, which the server closes.
        tls: the TLS settings, None for plain http.
        state: takes what the browser says.
        token: secret part of the address.
        names: names under which browsers may reach the server, beside IP addresses.
        jpeg_quality: 1..95.
    """

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        state: DriveState,
        token: str,
        names: list[str],
        jpeg_quality: int,
    ) -> None:
        self._socket, self._tls, self._state = listening, tls, state
        self._token, self._names, self._jpeg_quality = token, names, jpeg_quality
        self._assets = {
            entry.name: entry.read_bytes() for entry in files(__package__).joinpath("web_page").iterdir()
        }
        self._status: dict[str, str] = {}
        self._driver: Any = None
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._stop, self._board = asyncio.Event(), PictureBoard()
        self._thread = threading.Thread(target=self._run, name="teleop-web", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()
        self._started.result(timeout=START_WITHIN_S)

    def stop(self) -> None:
        """Close every connection and end the thread; safe twice."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Offer new pictures and facts; older ones that nobody has fetched are dropped."""
        copies = {name: np.array(frame) for name, frame in frames.items()}
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, copies, dict(status))

    def _take(self, frames: dict[str, np.ndarray], status: dict[str, str]) -> None:
        self._status = status
        self._board.put(frames)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # whatever it is, `start` raises it where the caller waits
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _serve(self) -> None:
        from aiohttp import web

        @web.middleware
        async def guard(request: Any, handler: Any) -> Any:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=MAX_MESSAGE_BYTES)
        app.router.add_get("/{token}/socket", self._drive)
        app.router.add_get("/{token}/camera/{name}", self._picture)
        app.router.add_get("/{token}/{asset:.*}", self._asset)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.SockSite(runner, self._socket, ssl_context=self._tls, shutdown_timeout=1.0).start()
        self._started.set_result(None)
        await self._stop.wait()
        if self._driver is not None:
            await self._driver.close(code=1001, message=b"the session has ended")
        await runner.cleanup()

    async def _guard(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Refuse strangers before anything else is looked at; add the headers that fence the page in."""
        from aiohttp import web

        host = request.headers.get("Host", "")
        if not is_own_host(host, self._names) or not is_same_token(request.path.split("/")[1], self._token):
            return web.Response(
                status=403, text="403: this address is not valid (any more)\n", headers=_HEADERS
            )
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = error
        if not response.prepared:
            response.headers.update({**_HEADERS, "Content-Security-Policy": _POLICY.format(host=host)})
        if isinstance(response, web.HTTPException):
            raise response
        return response

    async def _asset(self, request: Any) -> Any:
        from aiohttp import web

        name = request.match_info["asset"] or "index.html"
        if name not in self._assets:
            raise web.HTTPNotFound
        return web.Response(
            body=self._assets[name], content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8"
        )

    async def _picture(self, request: Any) -> Any:
        """Answer with a picture newer than `after`, or 204 where none comes in time."""
        from aiohttp import web

        name, after = request.match_info["name"], request.query.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 15:
            raise web.HTTPBadRequest(text="after: needs a whole number\n")
        if not await self._board.newer(int(after)):
            return web.Response(status=204)
        number, frame = self._board.number, self._board.frames.get(name)
        if frame is None:
            raise web.HTTPNotFound
        jpeg = await self._loop.run_in_executor(None, encode_jpeg, frame, self._jpeg_quality)
        return web.Response(body=jpeg, content_type="image/jpeg", headers={"X-Picture": f"{number}"})

    async def _drive(self, request: Any) -> Any:
        """Let one browser at a time drive."""
        from aiohttp import web

        if not is_own_origin(request.headers.get("Origin"), request.headers["Host"]):
            raise web.HTTPForbidden(text="403: only the page itself may connect\n")
        ws = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, timeout=1.0, compress=False)
        await ws.prepare(request)
        if self._driver is not None:
            await ws.close(code=CLOSED_BUSY, message=b"another browser is driving")
            return ws
        self._driver = ws
        self._state.join()
        report = self._loop.create_task(self._report(ws))
        code, why = 1001, "the browser has left"
        try:
            code, why = await self._listen(ws)
        finally:
            report.cancel()
            self._state.leave(why)  # before the handshake of closing, which may take a second
            self._driver = None
        await ws.close(code=code, message=why.encode())
        return ws

    async def _listen(self, ws: Any) -> tuple[int, str]:
        """Hear messages until the connection is to end; return the code and the reason."""
        from aiohttp import WSMsgType

        while True:
            try:
                message = await ws.receive(timeout=EXPEL_AFTER_S)
            except TimeoutError:
                return CLOSED_SILENT, f"the browser said nothing for {EXPEL_AFTER_S:g} s"
            if message.type is WSMsgType.BINARY:
                return 1003, "the browser sent something else than text"
            if message.type is not WSMsgType.TEXT:
                return 1000, "the browser has left"
            try:
                self._state.hear(parse_message(message.data))
            except BadMessageError as error:
                return CLOSED_REFUSED, f"message refused: {error}"[:120]

    async def _report(self, ws: Any) -> None:
        """Tell the page the session's facts and what was heard last, ten times a second."""
        while not ws.closed:
            seq, t_ms, held_ms = self._state.last_heard() or (-1, 0.0, 0.0)
            heard = {"seq": seq, "t_ms": t_ms, "held_ms": held_ms}
            with suppress(ConnectionError):
                await ws.send_json(
                    {"status": self._status, "cameras": list(self._board.frames), "heard": heard}
                )
            await asyncio.sleep(REPORT_EVERY_S)
