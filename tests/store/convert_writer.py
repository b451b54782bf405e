"""Fork one process after another that converts a dataset to our format; a test kills them.

Speaks as edit/edit_writer.py does: "SOURCE OUT" on stdin forks a child, which prints its process id; the
next line asks for "ended CODE".
"""

import os
import sys
from pathlib import Path

import zarr  # noqa: F401 - before the fork, so that kills strike the writing and not an import

from robofb.provenance import made_with
from robofb.store.convert import convert
from robofb.store.foreign import Wishes


def run(source: str, out: str) -> None:
    os.write(1, f"{os.getpid()}\n".encode())
    convert(Path(source), Path(out), wishes=Wishes(rate_hz=20.0))
    os._exit(0)


if __name__ == "__main__":
    made_with()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(*line.split())
        sys.stdin.readline()
        status = os.waitpid(child, 0)[1]
        os.write(1, f"ended {status}\n".encode())
