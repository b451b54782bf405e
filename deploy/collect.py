"""Record demonstrations of a task into a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from robofb.build import build
from robofb.errors import UserError, check_at_least, check_seeds
from robofb.interfaces import TaskEnv
from robofb.loading import make_env, make_sim_env
from robofb.sim.record import Collected, record_episodes
from robofb.sim.render import image_facts
from robofb.sim.vec_env import SimVecEnv
from robofb.store.continuation import open_or_create, same_settings
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_SCRIPTED

MOST_PX = 4096  # of a side of a picture
VIEW_PX = (240, 320)  # height and width of the pictures for a person where no camera is recorded


@dataclass
class CollectConfig:
    """What `robofb collect` reads.

    Attributes:
        task: what to demonstrate.
        engine: the simulator.
        teleop: who demonstrates: the task's scripted expert, or a person at a device; auto takes the keyboard
            where there is a display, else a web page.
        out: dataset folder, data/<task> by default; an existing dataset of the same task, randomness and
            noise is continued.
        episodes: successful episodes that the dataset shall hold in the end.
        noise: size of the scripted expert's human-like errors; 0 is perfect, 1 a practised person.
        num_envs: episodes that the expert records at a time; each holds its images in memory until it ends.
        cameras: names of the cameras whose images are recorded too, such as [front,wrist].
        image_size: height and width of the images [px].
        visuals: how far light, colours, cameras and textures of an episode go from the scene's own in the
            images; varied, or null for not at all. The script's alone.
        sim_state: also record the simulator's full state at each step, which augmentation starts from; null
            does where there is one.
        seed: of start states and errors.
        max_attempts: the expert gives up after this many attempts per wanted episode.
    """

    task: Any = field(default_factory=dict)
    engine: Any = field(default_factory=dict)
    teleop: Any = field(default_factory=dict)
    out: str | None = None
    episodes: int = 50
    noise: float = 1.0
    num_envs: int = 32
    cameras: list[str] = field(default_factory=list)
    image_size: list[int] = field(default_factory=lambda: [240, 320])
    visuals: Any = None
    sim_state: bool | None = None
    seed: int = 0
    max_attempts: int = 10

    def __post_init__(self) -> None:
        if not self.task:
            raise UserError("task=null: collect needs a task")
        if self.teleop and "_target_" not in self.teleop:
            raise UserError(f"teleop.{next(iter(self.teleop))}: the scripted expert takes noise=, not this")
        check_at_least(self, 1, "episodes", "num_envs", "max_attempts")
        check_seeds(self, "seed")
        check_image_size(self.image_size)
        check_at_least(self, 0, "noise")


def check_image_size(size: Sequence[int]) -> None:
    """Refuse what is not a height and a width [px]."""
    if len(size) != 2:
        raise UserError(f"image_size={size}: needs [height,width]")
    if not all(1 <= side <= MOST_PX for side in size):
        raise UserError(f"image_size={size}: needs 1 to {MOST_PX} pixels each")


def collect(cfg: CollectConfig) -> Collected:
    """Record until the dataset holds `cfg.episodes` successes; failures are discarded and counted.

    Ctrl-C keeps every finished episode; the same command goes on from there.

    Raises:
        UserError: the task has no scripted expert, the dataset is of another task, randomness or noise, or
            the expert fails so often that `cfg.max_attempts` per episode are used up.
    """
    torch.set_num_threads(1)
    height, width = cfg.image_size
    cameras = dict.fromkeys(cfg.cameras, (height, width))
    if cfg.teleop:
        if cfg.visuals:
            raise UserError("visuals: a person's episodes keep the looks of the scene; leave visuals out")
        by_hand = make_sim_env(
            cfg.task, cfg.engine, 1, cameras, sim_state=cfg.sim_state is not False, autoreset=False
        )
        with closing(by_hand):
            outcome = _collect_by_hand(cfg, by_hand)
    else:
        states: Any = {"sim_state": cfg.sim_state, "visuals": cfg.visuals}
        with closing(make_env(cfg.task, cfg.engine, cfg.num_envs, cameras, **states)) as env:
            outcome = _collect_scripted(cfg, env)
    tell(outcome)
    return outcome


def tell(outcome: Collected) -> None:
    """Print what a collection did."""
    with suppress(OSError):  # the terminal is gone
        print(f"episodes in {outcome.path}: {outcome.total}; failed attempts discarded: {outcome.discarded}")


def _collect_scripted(cfg: CollectConfig, env: TaskEnv) -> Collected:
    """Let the task's expert demonstrate in many environments at a time."""
    task: Any = env.task
    if not hasattr(task, "expert"):
        raise UserError(f"task {env.spec.task} has no scripted expert")
    agent = task.expert(cfg.num_envs, cfg.noise)
    meta = {**_task_meta(task), "teleop": "scripted", "noise": cfg.noise, "seed": cfg.seed}
    with _open_or_create(_out(cfg, env), env, meta) as store:
        return record_episodes(
            agent,
            env,
            store,
            cfg.episodes,
            cfg.seed,
            meta,
            source=SOURCE_SCRIPTED,
            max_attempts=cfg.max_attempts,
            advice="lower noise or raise max_attempts",
        )


def _collect_by_hand(cfg: CollectConfig, env: SimVecEnv) -> Collected:
    """Let a person demonstrate in one environment, in real time."""
    from robofb.deploy.session import Session  # only a person's collection needs these
    from robofb.deploy.sim_cell import SimCell
    from robofb.deploy.tool_target import ToolTarget

    device = str(cfg.teleop["_target_"]).split(".")[-2]
    meta = {**_task_meta(env.task), "teleop": device, "seed": cfg.seed}
    with closing(build(cfg.teleop)) as teleop, closing(SimCell(env, VIEW_PX)) as cell:
        teleop.connect()  # its window closes after the cell: SDL may take the cameras' OpenGL display along
        with _open_or_create(_out(cfg, env), env, meta) as store:
            target = ToolTarget(cell.spec.action)
            session = Session(cell, teleop, store, target, episodes=cfg.episodes, seed=cfg.seed, meta=meta)
            result = session.run()
            return Collected(str(store.path), result.kept, result.discarded, len(store))


def _task_meta(task: Any) -> dict[str, Any]:
    return dict(getattr(task, "meta", {}))


def _out(cfg: CollectConfig, env: TaskEnv) -> Path:
    return Path(cfg.out or f"data/{env.spec.task}")


def _open_or_create(path: Path, env: TaskEnv, meta: dict[str, Any]) -> EpisodeStore:
    meta = {**meta, **image_facts(env)}
    same = {key: meta.get(key) for key in ("randomness", "looks", "noise", "visuals")}
    return open_or_create(path, env.spec, meta, same_settings(path, "holds", same))
