"""Pictures that wait on disk: what comes back, and that nothing stays behind."""

from __future__ import annotations

import multiprocessing as mp
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import until

from robofb.deploy.live.spool import Spool
from robofb.types import ArraySpec

IMAGE = ArraySpec((3, 2, 4), "uint8")


def image(number: int) -> np.ndarray:
    return np.full(IMAGE.shape, number, np.uint8)


def test_rows_come_back_and_the_last_may_be_taken_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, IMAGE)
    for number in (1, 2, 3):
        spool.append(image(number))
    spool.drop_last()
    spool.append(image(4))
    spool.append(np.arange(24, dtype=np.uint8).reshape(4, 3, 2).transpose(1, 2, 0))  # in another order
    assert len(spool) == 4
    rows = spool.rows(4)
    assert rows.shape == (4, *IMAGE.shape) and rows.dtype == np.uint8 and not rows.flags.writeable
    assert rows[:3, 0, 0, 0].tolist() == [1, 2, 4] and rows[3, 0, 0].tolist() == [0, 6, 12, 18]
    spool.close()
    spool.close()
    np.testing.assert_array_equal(rows[2], image(4))  # they stay
    assert len(spool) == 0
    spool.append(image(9))  # begun anew
    assert spool.rows(1).tolist() == image(9)[None].tolist() and rows[0, 0, 0, 0] == 1
    spool.close()


def test_the_file_has_no_name_and_goes_with_its_last_user(tmp_path: Path) -> None:
    before = open_files(os.getpid())
    spool = Spool(tmp_path, IMAGE)
    assert open_files(os.getpid()) == before  # until there is a row
    spool.append(image(1))
    assert list(tmp_path.iterdir()) == [] and open_files(os.getpid()) == before + 1
    spool.close()
    assert open_files(os.getpid()) == before


def test_one_who_is_killed_leaves_nothing(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    said = context.Event()
    process = context.Process(target=fill, args=(tmp_path, said))
    process.start()
    until(said.is_set)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.iterdir()) == []


def fill(folder: Path, said: Any) -> None:
    spool = Spool(folder, IMAGE)
    spool.append(image(1))
    said.set()
    signal.pause()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(overfill, (tmp_path,)) == [4, True]


def overfill(folder: Path) -> list[Any]:
    """Return how many rows fit where a file may have 100 bytes, and whether those before are whole."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    spool = Spool(folder, IMAGE)
    for number in range(4):  # of 24 bytes
        spool.append(image(number))
    with pytest.raises(OSError, match="too large"):
        spool.append(image(4))
    return [len(spool), all((row == number).all() for number, row in enumerate(spool.rows(len(spool))))]


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Spool(tmp_path / "none", IMAGE).append(image(1))


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
