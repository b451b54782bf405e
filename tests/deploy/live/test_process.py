"""What processes of a deployment do for themselves."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ALLOCATE = """
import ctypes, threading
from robofb.deploy.live.process import share_heap

if {shares}:
    share_heap()
together, kept = threading.Barrier(3), []

def work():
    together.wait()
    kept.extend(bytes(5000) for _ in range(100))
    together.wait()

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
@pytest.mark.parametrize("shares", [True, False])
def test_threads_share_one_heap(shares: bool) -> None:
    program = [sys.executable, "-c", ALLOCATE.format(shares=shares)]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stderr
    assert (said.count("Arena ") == 1) is shares
