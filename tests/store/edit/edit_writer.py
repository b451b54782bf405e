"""Fork one process after another that cuts one step off both ends of each episode; a test kills them."""

from pathlib import Path

import zarr  # noqa: F401 - before the fork, so that kills strike the writing and not an import
from fork_server import serve

from robofb.provenance import made_with
from robofb.store.edit.plan import write
from robofb.store.edit.trim import trim
from robofb.store.episodes import EpisodeStore


def work(dataset: str, out: str) -> None:
    write(trim(EpisodeStore.open(dataset), Path(out), head=1, tail=1))


if __name__ == "__main__":
    made_with()  # slow the first time
    serve(work)
