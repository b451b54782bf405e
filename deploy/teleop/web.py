"""Drive an arm from a web page: keyboard, touch, gamepad, or the pose of a phone or headset."""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from robofb.deploy.listening import listen_on
from robofb.deploy.teleop.web_drive import DriveState, Speeds
from robofb.deploy.teleop.web_guard import is_everywhere, network_address, own_names
from robofb.deploy.teleop.web_server import WebServer
from robofb.deploy.teleop.web_tls import make_certificate, server_context
from robofb.errors import DeviceLostError, UserError, check_at_least
from robofb.types import TeleopCommand

LOG = logging.getLogger(__name__)


class WebTeleop:
    """Serve the page and read from it; satisfies `interfaces.Teleop`.

    The page's address holds a secret: who has the address can drive and see the cameras. One browser
    drives at a time. Nothing moves unless its dead-man switch is held; silence of 0.25 s stops the arm
    and of 1 s loses the device, and a page that is left or hidden lets everything go.

    Args:
        host: address to listen on; 127.0.0.1 is this machine only, 0.0.0.0 the whole network.
        port: 0 takes a free one; name one to forward it, as with `ssh -L 8700:localhost:8700`.
        tls_cert, tls_key: PEM files for https, both or none.
        self_signed: serve https with a certificate made for this session; the browser warns once.
            Headsets and phones give their pose to https pages (and to localhost) only.
        linear_speed_m_s, angular_speed_rad_s: at full deflection of keys and sticks.
        hand_speed_m_s, hand_speed_rad_s: at most, following a phone or a controller.
        control_dt_s: time for which the reader applies each command; a tracked hand's displacement is
            divided by it.
        jpeg_quality: of the cameras' pictures, 1..95.

    Attributes:
        url: the page's address while connected, else "".
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        self_signed: bool = False,
        linear_speed_m_s: float = 0.15,
        angular_speed_rad_s: float = 0.6,
        hand_speed_m_s: float = 0.35,
        hand_speed_rad_s: float = 2.0,
        control_dt_s: float = 0.1,
        jpeg_quality: int = 80,
    ) -> None:
        self.host, self.port, self.tls_cert, self.tls_key = host, port, tls_cert, tls_key
        self.self_signed, self.jpeg_quality, self.control_dt_s = self_signed, jpeg_quality, control_dt_s
        self.linear_speed_m_s, self.angular_speed_rad_s = linear_speed_m_s, angular_speed_rad_s
        self.hand_speed_m_s, self.hand_speed_rad_s = hand_speed_m_s, hand_speed_rad_s
        check_at_least(self, 1e-6, "linear_speed_m_s", "angular_speed_rad_s", "hand_speed_m_s")
        check_at_least(self, 1e-6, "hand_speed_rad_s", "control_dt_s")
        if not 0 <= port <= 65535:
            raise UserError(f"port={port}: needs 0 (a free one) to 65535")
        if not 1 <= jpeg_quality <= 95:
            raise UserError(f"jpeg_quality={jpeg_quality}: needs 1 to 95")
        if (tls_cert is None) != (tls_key is None) or (self_signed and tls_cert is not None):
            raise UserError(
                f"tls_cert={tls_cert} tls_key={tls_key} self_signed={self_signed}: "
                "needs both files, or self_signed=true alone, or none of them"
            )
        self.url = ""
        speeds = Speeds(linear_speed_m_s, angular_speed_rad_s, hand_speed_m_s, hand_speed_rad_s)
        self._state = DriveState(speeds, control_dt_s)
        self._server: WebServer | None = None

    def connect(self) -> None:
        """Start serving and print the page's address; nothing happens where it is served already.

        Raises:
            UserError: aiohttp or Pillow is not installed, the address cannot be listened on, or the
                certificate cannot be used.
        """
        if self._server is not None:
            return
        _check_packages()
        names, token = own_names(self.host), secrets.token_urlsafe(24)
        tls = self._tls(names)
        listening = listen_on(self.host, self.port)
        self._server = WebServer(listening, tls, self._state, token, names, self.jpeg_quality)
        self.url = f"{'https' if tls else 'http'}://{self._address(listening)}/{token}/"
        self._server.start()
        print(f"drive from a browser: {self.url}", flush=True)
        if tls is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            LOG.warning("%s is served without TLS: others in the network can read its secret", self.host)

    def _tls(self, names: list[str]) -> ssl.SSLContext | None:
        if self.tls_cert is not None and self.tls_key is not None:
            return server_context(Path(self.tls_cert), Path(self.tls_key))
        if not self.self_signed:
            return None
        with TemporaryDirectory(prefix="robofb-teleop-") as folder:
            return server_context(*make_certificate(Path(folder), names))

    def _address(self, listening: socket.socket) -> str:
        host = network_address() if is_everywhere(self.host) else self.host
        return f"{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"

    def read(self) -> TeleopCommand:
        """Return the present command; events are returned once.

        Raises:
            DeviceLostError: nobody has the page open, its browser has been silent for a second, or
                this is not connected.
        """
        if self._server is None:
            raise DeviceLostError("web page: not connected")
        try:
            return self._state.read()
        except DeviceLostError as error:
            raise DeviceLostError(f"{error}; open {self.url}") from error

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show pictures (H, W, 3) uint8 by camera and facts by name on the page.

        Raises:
            ValueError: a picture has another shape or type.
        """
        for name, frame in frames.items():
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
                raise ValueError(f"picture {name} must be (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
        if self._server is not None:
            self._server.show(frames, status)

    def close(self) -> None:
        """Close the page's connections and stop serving; safe twice."""
        if self._server is not None:
            self._server.stop()
        self._server, self.url = None, ""
        self._state.leave("not connected")


def _check_packages() -> None:
    try:
        import aiohttp  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        raise UserError(f"teleop=web needs {error.name}: pip install 'robofb[teleop]'") from error
