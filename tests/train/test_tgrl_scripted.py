"""A scripted expert teaches TGRL's student: the student comes nearer, and a resumed run is the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from learning import assert_same_weights
from omegaconf import OmegaConf

from robofb.run import Run
from robofb.train import tgrl

SETTINGS: dict[str, Any] = {
    "task": {"_target_": "robofb.envs.furniture.one_leg_insert.OneLegInsert"},
    "engine": {
        "_target_": "robofb.sim.mujoco_engine.MujocoEngine",
        "_partial_": True,
        "num_threads": 1,
    },
    "balance": {"_target_": "robofb.rl.balance_baselines.Imitation"},
    "teacher": "scripted",
    "collect": "teacher",
    "teacher_std": 0.005,
    "student": {"hidden": [32]},
    "num_envs": 3,
    "rollout_steps": 30,
    "warmup_steps": 0,
    "updates": 20,
    "batch_size": 64,
    "actor_lr": 3e-3,
    "buffer_size": 600,
    "select_episodes": 1,
    "select_every": 99,
}


def train(iterations: int, **changes: Any) -> Run:
    steps = SETTINGS["num_envs"] * SETTINGS["rollout_steps"]
    cfg = tgrl.TgrlConfig(**SETTINGS, env_steps=iterations * steps, **changes)
    return tgrl.train(OmegaConf.structured(cfg))


def test_the_student_nears_its_script_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    whole = train(4, out=str(tmp_path / "whole"))
    train(2, out=str(tmp_path / "parts"))  # 60 steps: in the second episodes, with moves half done
    parts = train(4, resume=str(tmp_path / "parts"))
    assert_same_weights(whole, parts)
    rows = whole.metrics()
    losses = [row["update/cross_entropy"] for row in rows if "update/cross_entropy" in row]
    assert losses[-1] < 0.1 * losses[0]
    ended = [row["train/success"] for row in rows if row.get("train/episodes")]
    assert ended and min(ended) == 1.0
