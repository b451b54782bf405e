"""Policy servers in processes of their own, for tests of those who ask them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from robofb.deploy.live.fake import SPEC, LinePlans
from robofb.deploy.policy_server import PolicyServer, tls_of
from robofb.deploy.policy_wire import read_token

TOKEN = "a-word-that-nobody-says"
CHECKPOINT = "0" * 64


class LinePeer:
    """A server of `LinePlans`; all is loaded before it is told to listen.

    Args:
        folder: of what the plans are told, and of the file `token`.
        tls: folder of its certificate; None speaks in the clear.
    """

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        (folder / "token").write_text(TOKEN)
        self._process = start([__file__, str(folder), *([] if tls is None else [str(tls)])])

    def listen(self, port: int = 0) -> int:
        """Begin to serve; return the port."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{port}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kill(self) -> None:
        """Die without a word; safe twice."""
        self._process.kill()
        self._process.communicate()

    def pause(self) -> None:
        """Stand still, with every connection open; back when every thread does."""
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any(" T " not in (thread / "stat").read_text() for thread in threads.iterdir()):
            time.sleep(0.01)

    def go_on(self) -> None:
        """Stand still no longer."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def line_peer(folder: Path, tls: Path | None = None) -> Iterator[LinePeer]:
    """Run a peer, which does not listen yet."""
    peer = LinePeer(folder, tls)
    try:
        yield peer
    finally:
        peer.kill()


@contextmanager
def verb_server(*words: str) -> Iterator[tuple[int, list[str]]]:
    """Run `robofb deploy server`; yield its port and what it printed until it served."""
    process = start(["-m", "robofb.cli", "deploy", "server", *words])
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if match := re.fullmatch(r"policy server \S+:(\d+)(, TLS)?", lines[-1]):
                yield int(match[1]), lines
                return
        raise AssertionError(f"the server ended: {lines}")
    finally:
        process.kill()
        process.communicate()


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a Python process that can be talked to."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *words], **pipes)


def main(folder: Path, tls: str | None = None) -> None:
    """Serve at the port that a line says."""
    context = None if tls is None else tls_of(Path(tls), "127.0.0.1")
    token = read_token("token", folder / "token")
    with closing(PolicyServer(LinePlans(folder), SPEC, CHECKPOINT, token, context)) as server:
        print(server.listen("127.0.0.1", int(sys.stdin.readline())), flush=True)
        server.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
