"""Who may press the buttons of a page: pages of its own server, not those of any site in the same browser."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence

from robofb.errors import UserError


@contextlib.contextmanager
def own_origins(names: Sequence[str]) -> Iterator[None]:
    """Let servers that are made meanwhile take websockets from pages of these hosts alone.

    A browser lets every site open a websocket to this machine, and says only which site it was. Viser does
    not ask, and has no option for it; what it serves with does.

    Args:
        names: of this server, as browsers may write them.

    Raises:
        UserError: websockets is not installed.
    """
    try:
        from websockets.asyncio import server
    except ImportError as error:
        raise UserError("viser is not installed: pip install 'robofb[view]'") from error
    hosts = "|".join(re.escape(name) for name in names)
    origins = [re.compile(rf"https?://({hosts})(:\d+)?", re.IGNORECASE)]
    serve = server.serve
    server.serve = functools.partial(serve, origins=origins)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        server.serve = serve  # type: ignore[misc]
