"""A disk that is slow, or full: recordings are dropped and said, and the arm feels nothing of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from live_conditions import always, running
from live_parts import HZ, STEP_S, SaidCameraSetup, Script, SlowRecordSetup, run_line, say, sent_to, unsay

from robofb.deploy.cameras.synthetic import number_in
from robofb.store.episodes import EpisodeStore

FPS = 30.0  # of the said camera
LATE = "a picture for image_front was overwritten before it was read: the disk or the machine is too slow"


def told_of(episode: int, recorded: int) -> Callable[[dict[str, str]], bool]:
    """An episode is dropped, and so many are kept."""
    return lambda status: (
        status["session"] == "waiting for a start"
        and f"episode {episode}" in status["dropped"]
        and status["recorded"] == f"{recorded} episodes"
    )


def front(folder: Path) -> dict[str, SaidCameraSetup]:
    return {"front": SaidCameraSetup("front", {}, 48, 64, folder)}


def test_a_disk_that_takes_no_pictures_for_two_seconds(tmp_path: Path) -> None:
    """Of 60 pictures meanwhile the ring keeps 16: no row gets one of another time."""
    times: dict[str, float] = {}
    script = Script(
        [
            (always, "start"),
            (running(0, 5), lambda: begin()),
            (running(0, 25), lambda: end()),
            (running(0, 30), "success"),
            (told_of(0, 0), "start"),
            (running(1, 10), "success"),
        ],
        120.0,
    )

    def begin() -> None:
        times["begun"] = time.monotonic()
        say(tmp_path, "no pictures")

    def end() -> None:
        unsay(tmp_path, "no pictures")
        times["ended"] = time.monotonic()
        picture = script.session.rings.frames["front"].latest().value  # type: ignore[union-attr]
        times["picture 0"] = (
            float(picture["captured_s"]) - number_in(picture["image"].transpose(1, 2, 0)) / FPS
        )

    _, outcome = run_line(
        tmp_path,
        script,
        data=tmp_path / "data",
        episodes=2,
        attended=True,
        max_steps=500,
        recorder_kind=SlowRecordSetup,
        cameras=front(tmp_path),
    )
    assert (outcome.saved, outcome.dropped, outcome.restarts) == ([1], {0: LATE}, {})
    sent_s = sent_to(tmp_path)["wall_s"]
    meanwhile = np.diff(sent_s[(sent_s > times["begun"]) & (sent_s < times["ended"])])
    assert len(meanwhile) > 50 and np.median(meanwhile) == pytest.approx(1 / HZ, rel=0.5)
    assert meanwhile.max() < 0.5 * (times["ended"] - times["begun"])  # nobody waited for the disk
    with EpisodeStore.open(tmp_path / "data") as store:
        (episode,) = store
    images = episode.obs["image_front"].transpose(0, 2, 3, 1)
    seen_s = times["picture 0"] + np.array([number_in(image) for image in images]) / FPS
    assert (seen_s < episode.timestamps + STEP_S / 10).all()


def test_a_disk_that_takes_no_episodes_keeps_five_waiting(tmp_path: Path) -> None:
    """One in the writer's hand and four in its queue; those after them are dropped until it goes on."""
    say(tmp_path, "no episodes")
    slow = "the disk is too slow"
    script = Script(
        [(lambda status: slow in status["dropped"], lambda: unsay(tmp_path, "no episodes"))], 120.0
    )
    _, outcome = run_line(
        tmp_path,
        script,
        data=tmp_path / "data",
        episodes=8,
        max_steps=3,
        recorder_kind=SlowRecordSetup,
    )
    assert [each.label for each in outcome.ended] == ["failure"] * 8
    assert outcome.saved[:5] == [0, 1, 2, 3, 4] and outcome.dropped[5] == slow
    assert set(outcome.dropped.values()) == {slow}
    assert sorted([*outcome.saved, *outcome.dropped]) == list(range(8))
    with EpisodeStore.open(tmp_path / "data") as store:
        assert len(store) == len(outcome.saved)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_drops_what_does_not_fit_and_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    """An attempt of 60 pictures of 9 kB does not fit, one of 5 does, unless another file takes all room."""

    def fill() -> None:
        with (small_disk / "other").open("wb", buffering=0) as other, suppress(OSError):
            while True:
                other.write(bytes(4096))

    script = Script(
        [
            (always, "start"),
            (running(0, 60), "success"),
            (told_of(0, 0), "start"),
            (running(1, 5), "success"),
            (told_of(0, 1), fill),
            (always, "start"),
            (running(2, 5), "success"),
            (told_of(2, 1), lambda: (small_disk / "other").unlink()),
            (always, "start"),
            (running(3, 5), "success"),
        ],
        120.0,
    )
    _, outcome = run_line(
        tmp_path,
        script,
        data=small_disk / "data",
        episodes=4,
        attended=True,
        max_steps=500,
        cameras=front(tmp_path),
    )
    assert [each.label for each in outcome.ended] == ["success"] * 4
    assert outcome.saved == [1, 3] and outcome.restarts == {}
    full = "its pictures cannot be kept: the disk is full"
    assert outcome.dropped == {0: full, 2: full}
    with EpisodeStore.open(small_disk / "data") as store:
        assert [episode.meta["episode_seed"] for episode in store] == [outcome.ended[n].seed for n in (1, 3)]
