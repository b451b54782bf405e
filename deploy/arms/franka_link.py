"""What the Franka's arm and its hand share: their package, and opening a link that may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from robofb.errors import UserError


def load_franky() -> Any:
    """Import and return franky.

    Raises:
        UserError: it is missing.
    """
    try:
        import franky
    except ImportError as error:
        raise UserError("franky-control is missing: pip install 'robofb[deploy]'") from error
    return franky


def open_within(make: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Return what `make` opens; libfranka itself waits for a minute where no machine has the address.

    Raises:
        UserError: it failed, or had not answered after `timeout_s`.
    """
    opened: Future[Any] = Future()

    def work() -> None:
        try:
            opened.set_result(make())
        except Exception as error:  # passed on to whoever waits, as it is
            opened.set_exception(error)

    threading.Thread(target=work, name=f"open {what}", daemon=True).start()
    try:
        return opened.result(timeout_s)
    except TimeoutError as error:
        raise UserError(f"{what} has not answered for {timeout_s:g} s; is it switched on?") from error
    except (load_franky().Exception, RuntimeError) as error:  # its own are no RuntimeErrors, asio's are
        raise UserError(f"{what}: {error}") from error
