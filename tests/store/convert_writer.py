"""Fork one process after another that converts a dataset to our format; a test kills them."""

from pathlib import Path

import zarr  # noqa: F401 - before the fork, so that kills strike the writing and not an import
from fork_server import serve

from robofb.provenance import made_with
from robofb.store.convert import convert
from robofb.store.foreign import Wishes


def work(source: str, out: str) -> None:
    convert(Path(source), Path(out), wishes=Wishes(rate_hz=20.0))


if __name__ == "__main__":
    made_with()  # slow the first time
    serve(work)
