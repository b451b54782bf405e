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
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
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


def committed(out):
    """Return how many episodes a dataset that is being written holds."""
    index = out / "index.json"
    return index.read_bytes().count(b'"end"') if index.exists() else 0
