"""Fork one writer after another on request; a test kills them.

Each line "FOLDER" on stdin forks a child that appends episodes without end. The child prints its
process id first and then, after each append returned, how many episodes are committed.
"""

import os
import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from episode_examples import make_episode

from robofb.store.episodes import EpisodeStore


def write_forever(folder: str) -> None:
    os.write(1, f"{os.getpid()}\n".encode())
    with EpisodeStore.open(folder, "a") as store:
        for number in count(len(store)):
            store.append(make_episode(number))
            os.write(1, f"{number + 1}\n".encode())


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            write_forever(line.strip())
        os.waitpid(child, 0)
        os.write(1, b"dead\n")
