"""Scripts of tests that fork writers, so that they can be killed."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fork_server(script):
    """Start a script that reads tasks from stdin and forks for each; yields its process."""
    root = Path(__file__).parents[1]
    paths = os.pathsep.join([str(root), str(root / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        yield server
        server.stdin.close()


def start(server, source, out):
    """Ask a script for a child that makes `out` from `source`; return its process id."""
    server.stdin.write(f"{source} {out}\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def end(server):
    """Wait until the child is gone; return its last words."""
    server.stdin.write("\n")
    server.stdin.flush()
    return server.stdout.readline()


def serve(work):
    """Be the script: fork a child for each line "SOURCE OUT" that calls `work` with both.

    The child prints its process id first. The next line on stdin asks for "ended CODE", which follows when it
    is gone, with 0 where it came to the end; until then its process id is nobody else's.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.write(1, f"{os.getpid()}\n".encode())
            work(*line.split())
            os._exit(0)
        sys.stdin.readline()
        status = os.waitpid(child, 0)[1]
        os.write(1, f"ended {status}\n".encode())


def committed(out):
    """Return how many episodes a dataset that is being written holds."""
    index = out / "index.json"
    return index.read_bytes().count(b'"end"') if index.exists() else 0
