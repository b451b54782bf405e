"""The page of a deployment: its scene, cameras and figures in a browser, and the words of whoever watches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from robofb.deploy.live.lookout import Lookout
from robofb.deploy.live.page_guard import own_origins
from robofb.deploy.live.page_scene import LEGEND, SceneNodes
from robofb.deploy.live.page_texts import NO_SAFETY, boxed, coloured, figures_html, picture_html, status_html
from robofb.deploy.live.process import attacher
from robofb.deploy.live.records import Addresses
from robofb.deploy.live.session import Parts
from robofb.deploy.teleop.web_guard import own_names
from robofb.viewer.serve import local_server

FEED_S = 0.1  # between two pictures of what happens
SIDE_WIDTH_PX = 380
BUTTONS = {  # by event: what is written on it, and its colour
    "start": ("Go (acknowledges what is wrong)", "green"),
    "pause": ("Hold", "orange"),
    "success": ("Success", "teal"),
    "failure": ("Failure", "gray"),
    "discard": ("Discard", "gray"),
    "quit": ("Quit", "dark"),
}
_BIG = """<style class="stop-below">
div:has(> .stop-below) + div { position: sticky; top: 0; z-index: 5; }
div:has(> .stop-below) + div button { height: 80px !important; --button-fz: 34px !important; }
</style>"""


class Page:
    """Show a deployment in a browser, and say what is clicked there. Satisfies `session.Operator`.

    The supervisor only leaves its status here and asks which buttons were clicked. A thread of the page's own
    looks at the rings, ten times a second at most, and hands over what it sees; what a browser is too slow
    for is dropped. So neither a slow browser nor one that is closed changes anything.

    Args:
        host: address to listen on; 127.0.0.1 is this machine only. Whoever reaches it can press the buttons.
        port: wanted; where it is taken, the next free one. 0 takes any.

    Attributes:
        url: the page's address while it is open, else "".
        buttons, texts, pictures: what viser shows, by event, name, and camera (with what is said of it).
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port, self.url = host, port, ""
        self._stack = ExitStack()
        self._over = threading.Event()
        self.buttons: dict[str, Any] = {}
        self.texts: dict[str, Any] = {}
        self.pictures: dict[str, tuple[Any, Any]] = {}
        self._status: dict[str, str] = {}

    def open(self) -> None:
        """Serve the page, and print its address once.

        Raises:
            UserError: viser is not installed, or the address cannot be had.
        """
        with own_origins(own_names(self.host)):
            self.server = self._stack.enter_context(local_server(self.port, self.host))
        logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a broken message ends its own connection
        self.url = f"http://{self.host}:{self.server.get_port()}"
        self._build()
        print(f"{self.url} shows this deployment, and has its buttons", flush=True)

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Begin to show what the rings hold, until `close`."""
        rings = self._stack.enter_context(ExitStack())
        self._lookout = Lookout(addresses, attacher(rings))
        self._nodes = SceneNodes(self.server, parts.arm.limits)
        if parts.cameras:
            self.pictures = self._build_pictures(parts)
        thread = threading.Thread(target=self._feed, name="page", daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._over.set)

    def events(self) -> list[str]:
        """Return what was clicked since the last call; beside a stop nothing else counts.

        The buttons are asked, for viser calls back only for browsers that have drawn the scene.
        """
        said = []
        for event, button in self.buttons.items():
            if button.value:
                button.value = False
                said.append(event)
        return ["stop"] if "stop" in said else said

    def show(self, status: Mapping[str, str]) -> None:
        """Leave it for the thread that feeds the page."""
        self._status = dict(status)

    def close(self) -> None:
        """End the page; safe twice."""
        self.url, self.buttons = "", {}
        self._stack.close()

    def _build(self) -> None:
        """Make the panel, the stop first."""
        gui = self.server.gui
        gui.configure_theme(show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(SIDE_WIDTH_PX)
        gui.add_html(_BIG)
        self.buttons["stop"] = gui.add_button("STOP", color="red")
        gui.add_html(boxed(NO_SAFETY))
        self.texts["status"] = gui.add_html("")
        for event, (label, colour) in BUTTONS.items():
            self.buttons[event] = gui.add_button(label, color=colour)
        with gui.add_folder("figures"):
            self.texts["figures"] = gui.add_html("")
        with gui.add_folder("colours", expand_by_default=False):
            gui.add_html(boxed(*(coloured(f"● {name}", f"rgb{colour}") for name, colour in LEGEND)))

    def _build_pictures(self, parts: Parts) -> dict[str, tuple[Any, Any]]:
        """Return for each camera where its picture goes, and what is said of it."""
        gui, found = self.server.gui, {}
        side = gui.add_panel()
        with side.add_tab("cameras"):
            for name, setup in parts.cameras.items():
                black = np.zeros((setup.height, setup.width, 3), np.uint8)
                found[name] = gui.add_image(black, label=name, format="jpeg"), gui.add_html("")
        side.dock_left()
        side.set_width(SIDE_WIDTH_PX)
        return found

    def _feed(self) -> None:
        """Show what happens, over and over; the thread's main function."""
        while not self._over.wait(FEED_S):
            self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        sight, status = self._lookout.look(time.monotonic()), self._status
        with self.server.atomic():
            self.texts["status"].content = status_html(status, sight, time.strftime("%H:%M:%S"))
            self.texts["figures"].content = figures_html(status, sight)
            self._nodes.update(sight)
            for name, picture in sight.pictures.items():
                image, text = self.pictures[name]
                image.image, text.content = picture.image, picture_html(picture.age_s)
