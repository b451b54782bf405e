"""Fork one process after another that trims a dataset; a test kills them.

Each line "DATASET OUT" on stdin forks a child that cuts one step off both ends of each episode. The
child prints its process id first. The next line on stdin asks for "ended CODE", which follows when it is
gone, with 0 where it came to the end; until then its process id is nobody else's.
"""

import os
import sys
from pathlib import Path

import zarr  # noqa: F401 - before the fork, so that kills strike the writing and not an import

from robofb.provenance import made_with
from robofb.store.edit.plan import write
from robofb.store.edit.trim import trim
from robofb.store.episodes import EpisodeStore


def run(dataset: str, out: str) -> None:
    os.write(1, f"{os.getpid()}\n".encode())
    write(trim(EpisodeStore.open(dataset), Path(out), head=1, tail=1))
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
