"""An HTTP camera in a process of its own: it freezes, repeats a picture, hangs up and dies as it is told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import cv2

from robofb.deploy.cameras.synthetic import numbered_picture

HEIGHT, WIDTH, PERIOD_S = 120, 160, 0.02


class MjpegPeer(AbstractContextManager["MjpegPeer"]):
    """Run the server; `tell` it what to do.

    "run" takes pictures, and sends each to whoever is connected and the newest to whoever connects; "freeze"
    takes none; "mute" sends none, either; "repeat" takes the same for ever; "hang up" ends connections.

    Args:
        port: on the loopback; 0: a free one.

    Attributes:
        port: where it listens.
        url: of its stream.
    """

    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._said())
        self.url = f"http://127.0.0.1:{self.port}/"

    def tell(self, what: str) -> None:
        """Say what it shall do from now on; returns when it does."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self._said() == what

    def die(self) -> None:
        """Kill it; safe twice."""
        self.process.kill()
        self.process.communicate()

    def _said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()


class _Stream(BaseHTTPRequestHandler):
    doing = "run"
    number = 0  # of the newest picture
    encoded = b""

    def log_message(self, *what: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        with suppress(ConnectionError):
            self._send_pictures()

    def _send_pictures(self) -> None:
        sent = 0
        while _Stream.doing != "hang up":
            if sent != _Stream.number and _Stream.doing != "mute":
                sent, picture = _Stream.number, _Stream.encoded
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
            time.sleep(PERIOD_S / 4)


def _film() -> None:
    """Take a picture every period, for ever."""
    shown = 0
    while True:
        if _Stream.doing in ("run", "repeat"):
            shown += _Stream.doing != "repeat"
            bgr = numbered_picture(shown, HEIGHT, WIDTH)[..., ::-1]
            _Stream.encoded = cv2.imencode(".jpg", bgr)[1].tobytes()
            _Stream.number += 1
        time.sleep(PERIOD_S)


def _main(port: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Stream)
    server.daemon_threads = True
    for work in (_film, server.serve_forever):
        threading.Thread(target=work, daemon=True).start()
    print(server.server_port, flush=True)
    for line in sys.stdin:  # ends when the parent does
        _Stream.doing = line.strip()
        print(_Stream.doing, flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
