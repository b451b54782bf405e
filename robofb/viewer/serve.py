"""Serve the viewer to a browser, on this machine unless told otherwise."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

from robofb.errors import UserError
from robofb.sim.recorded import RecordedScene
from robofb.viewer.page import Page, run
from robofb.viewer.session import Session

HOST = "127.0.0.1"


@contextlib.contextmanager
def local_server(port: int, host: str = HOST) -> Iterator[Any]:
    """Run viser's server, for this machine alone by default, as long as the block lasts.

    Args:
        port: wanted; where it is taken, the next free one. 0 takes any.
        host: address to listen on.

    Raises:
        UserError: viser is not installed, or no port can be had.
    """
    try:
        import viser
    except ImportError as error:
        raise UserError("viser is not installed: pip install 'robofb[view]'") from error
    if not 0 <= port < 65536:
        raise UserError(f"port={port}: needs 0 (a free one) to 65535")
    try:
        socket.create_server((host, 0)).close()  # viser would look for a free port for ever
    except OSError as error:
        raise UserError(f"host {host}: {error.strerror or error}") from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # its own greeting
            server = viser.ViserServer(host, port, verbose=False)
    except OSError as error:
        raise UserError(f"port {port}: {error.strerror or error}") from error
    server.request_share_url = _never_share  # a page must not open the dataset to the internet
    try:
        yield server
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def _never_share(verbose: bool = True) -> None:
    return None


def serve(
    session: Session, scene: RecordedScene | None, note: str, port: int, say: Callable[[str], None]
) -> None:
    """Show a session in the browser until Ctrl-C, which saves what is marked.

    Args:
        session: what to show.
        scene: of the dataset's task, None where it cannot be shown.
        note: why not.
        port: wanted.
        say: tells the person one line.

    Raises:
        UserError: there is no server to be had, or the marks cannot be saved.
    """
    with local_server(port) as server:
        page = Page(server, session, scene, note)
        say(f"http://{HOST}:{server.get_port()} shows {session.store.path}; Ctrl-C ends")
        try:
            run(page, lambda: False)
        except KeyboardInterrupt:
            if count := session.save():
                say(f"saved the marks of {count} episodes")
