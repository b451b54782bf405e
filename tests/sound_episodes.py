"""Sound episodes of a small made-up task, and a way to write what `EpisodeStore.append` refuses."""

from pathlib import Path

import numpy as np
import zarr

from robofb.store.episodes import EpisodeStore
from robofb.types import ArraySpec, EnvSpec, Episode

LENGTH = 40
CLOSE = 20  # step at which the gripper is told to close
STATE = (
    *(f"tool_pos_base_{axis}" for axis in "xyz"),
    *(f"tool_rot6d_base_{index}" for index in range(6)),
    "gripper_width",
    *(f"cup_pos_base_{axis}" for axis in "xyz"),
    *(f"cup_quat_base_{axis}" for axis in "wxyz"),
    *(f"saucer_pos_base_{axis}" for axis in "xyz"),
)
ACTION = (*STATE[:9], "gripper")
SPEC = EnvSpec(
    task="cup_on_saucer",
    obs={
        "state": ArraySpec((len(STATE),), "float32", "m, 1", names=STATE),
        "image_front": ArraySpec((3, 8, 10), "uint8", "sRGB"),
    },
    action=ArraySpec((10,), "float32", "m, 1", low=(-1.0,) * 10, high=(1.0,) * 10, names=ACTION),
    control_dt=0.1,
    max_steps=100,
)
NAMELESS = EnvSpec(
    task="unnamed",
    obs={"state": ArraySpec((len(STATE),)), "image_front": SPEC.obs["image_front"]},
    action=ArraySpec((10,)),
    control_dt=0.1,
    max_steps=100,
)


def sound_episode(number: int) -> Episode:
    """Return an episode in which the tool goes 1 cm a step and turns 0.02 rad a step, and carries the cup.

    The measured position is the one commanded two steps before (lag 2). At the end the cup stands 0.05 m
    above the saucer, wherever that is.
    """
    rng = np.random.default_rng(number)
    steps = np.arange(LENGTH + 3)
    heading, turn = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1)
    # A wave along the way: without it a straight line would look the same at any lag.
    across = 0.02 * np.sin(steps / 3.0 + rng.uniform(0, 6))
    ahead = 0.01 * steps
    path = np.stack(
        [
            rng.uniform(-0.2, 0.2) + ahead * np.cos(heading) - across * np.sin(heading),
            rng.uniform(-0.2, 0.2) + ahead * np.sin(heading) + across * np.cos(heading),
            0.2 + 0.05 * np.cos(steps / 10.0),
        ],
        1,
    )
    angle = turn + 0.02 * steps
    zero = np.zeros_like(angle)
    rot6d = np.stack([np.cos(angle), np.sin(angle), zero, -np.sin(angle), np.cos(angle), zero], 1)
    tool, tool_rot = path[: LENGTH + 1], rot6d[: LENGTH + 1]
    width = np.where(np.arange(LENGTH + 1) <= CLOSE, 0.08, 0.03)
    cup = np.where(np.arange(LENGTH + 1)[:, None] <= CLOSE, tool[CLOSE], tool)
    half = angle[: LENGTH + 1] / 2
    quat = np.stack([np.cos(half), zero[: LENGTH + 1], zero[: LENGTH + 1], np.sin(half)], 1)
    saucer = np.tile(cup[-1] - [0, 0, 0.05], (LENGTH + 1, 1))
    state = np.concatenate([tool, tool_rot, width[:, None], cup, quat, saucer], 1)
    grip = np.where(np.arange(LENGTH) < CLOSE, -1.0, 1.0)[:, None]
    reward = np.zeros(LENGTH, np.float32)
    reward[-1] = 1.0
    return Episode(
        obs={
            "state": state.astype(np.float32),
            "image_front": rng.integers(80, 160, (LENGTH + 1, 3, 8, 10)).astype(np.uint8),
        },
        action=np.concatenate([path[2 : LENGTH + 2], rot6d[2 : LENGTH + 2], grip], 1).astype(np.float32),
        reward=reward,
        terminated=True,
        success=True,
        timestamps=100.0 * number + 0.1 * np.arange(LENGTH + 1),
        source=np.zeros(LENGTH, np.uint8),
    )


def write_dataset(folder: Path, episodes: list[Episode], spec: EnvSpec = SPEC) -> Path:
    """Append episodes to a new dataset."""
    with EpisodeStore.create(folder, spec) as store:
        for episode in episodes:
            store.append(episode)
    return folder


def overwrite(folder: Path, array: str, row: int, value: object) -> None:
    """Write one row as a foreign tool does, without any check."""
    zarr.open_group(folder, mode="r+")[array][row] = value
