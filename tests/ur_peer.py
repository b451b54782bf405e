"""Start and drive fake control boxes of UR arms, see `ur_box.py`."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOX = Path(__file__).with_name("ur_box.py")


class UrPeer:
    """The parent's end of a fake controller.

    Args:
        heard: file to which it appends every set-point that comes, see `ur_box.HEARD`; None for none.

    Attributes:
        host: its address, on which no other peer is.
    """

    def __init__(self, heard: Path | None = None) -> None:
        self._file = [str(heard)] if heard else []
        self.host = ""
        while not self.host:
            self._start(f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}")

    def _start(self, host: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(BOX), host, *self._file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout.readline():
            self.host = host

    def tell(self, **values: object) -> dict:
        """Set attributes of the robot; return its facts."""
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        """Die without a word; safe twice."""
        self._process.kill()
        self._process.communicate()

    def pause(self) -> None:
        """Stand still, with every connection open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Wake up again."""
        self._process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        """Be there anew after a death, at the same address."""
        self._start(self.host)


@contextmanager
def ur_peer(heard: Path | None = None) -> Iterator[UrPeer]:
    """Run a fake controller."""
    peer = UrPeer(heard)
    try:
        yield peer
    finally:
        peer.kill()
