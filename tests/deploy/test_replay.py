"""What a policy plans again on what was recorded."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_parts import SPEC
from residual_example import save_residual_run

from robofb.config import compose
from robofb.deploy.live.draft import FACT_NAMES, FACTS, PLAN, PLAN_ROWS, recorded_spec
from robofb.deploy.live.policy_process import seed_of
from robofb.deploy.live.records import MODES
from robofb.deploy.replay import compare, replay
from robofb.deploy.run_policy import deploy
from robofb.errors import UserError
from robofb.store.continuation import open_or_create
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY, Episode, Obs

ROW = np.array([0.4, 0.0, 0.2, 1, 0, 0, 0, -1, 0, -1], np.float32)


class SaidPlanner:
    """Plan where it was seen, moved and turned by known amounts; note what it was told."""

    def __init__(self, away_m: float = 0.0, turned_rad: float = 0.0, gripper: float = -1.0) -> None:
        self.away_m, self.turned_rad, self.gripper = away_m, turned_rad, gripper
        self.told: list[Any] = []

    def begin(self, seed: int) -> None:
        self.told.append(seed)

    def skip(self) -> None:
        self.told.append("skip")

    def plan(self, obs: Obs) -> np.ndarray:
        self.told.append(float(obs["state"][0, 0]))
        c, s = math.cos(self.turned_rad), math.sin(self.turned_rad)  # about z
        row = [0.4 + self.away_m, 0.0, 0.2, c, s, 0, s, -c, 0, self.gripper]
        return np.array([row, row])


def recorded(counts: list[int], epochs: list[int], sources: list[int]) -> Episode:
    rows = len(counts)
    facts = np.zeros((rows + 1, len(FACT_NAMES)))
    facts[:rows, FACT_NAMES.index("plan_count")] = counts
    facts[:rows, FACT_NAMES.index("epoch")] = epochs
    state = np.zeros((rows + 1, 13), np.float32)
    state[:, 0] = np.arange(rows + 1)
    return Episode(
        obs={"state": state, PLAN: np.tile(ROW, (rows + 1, PLAN_ROWS, 1)), FACTS: facts},
        action=np.tile(ROW, (rows, 1)),
        reward=np.zeros(rows, np.float32),
        terminated=True,
        success=False,
        timestamps=np.arange(rows + 1.0),
        source=np.array(sources, np.uint8),
        meta={"episode_seed": 5},
    )


def test_a_policy_begins_anew_in_every_epoch_and_is_asked_where_it_drove() -> None:
    policy, person = SOURCE_POLICY, SOURCE_INTERVENTION
    episode = recorded([2, 0, 2, 2, -1], [3, 3, 4, 6, 6], [policy, policy, person, policy, policy])
    planner = SaidPlanner()
    found = compare(planner, episode, 7, ("state",))
    assert planner.told == [seed_of(5, 3), 0.0, "skip", seed_of(5, 6), 3.0, 4.0]
    assert (found.episode, found.plans, found.same) == (7, 2, 2)  # of what was no plan none is compared
    assert (found.furthest_m, found.furthest_rad, found.gripper) == (0.0, 0.0, 0)


def test_differences_are_distances_angles_and_commands() -> None:
    episode = recorded([2], [0], [SOURCE_POLICY])
    found = compare(SaidPlanner(0.003, 0.2, 1.0), episode, 0, ("state",))
    assert (found.plans, found.same, found.gripper) == (1, 0, 2)
    assert found.furthest_m == pytest.approx(0.003, abs=1e-6)
    assert found.furthest_rad == pytest.approx(0.2, abs=1e-6)


def test_a_policy_plans_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody trained it: the gate refuses its plans, which are the same for all that."""
    run, data = save_residual_run(tmp_path / "run"), tmp_path / "data"
    words = [
        f"run={run.path}",
        "realtime=true",
        "episodes=1",
        "arm.parts=4",
        f"data={data}",
        "watch.alone_s=20",
    ]
    found = deploy(compose("deploy", words))
    assert found.success == [False] and "3 chunks in a row refused" in found.ended[0]
    capsys.readouterr()
    (difference,) = replay(compose("deploy replay", [f"data={data}"]))
    assert difference.plans >= 2 and difference.same == difference.plans
    said = capsys.readouterr().out
    assert "plans are the same; at most 0.00 mm" in said and "by other weights" not in said
    with EpisodeStore.open(data, "a") as store:
        meta = store[0].meta
        assert meta["checkpoint_sha256"] == run.checkpoint_digest("best") and "policy_server" not in meta
        assert meta["modes"]["4"] == MODES[4].value
        store.update({0: {"meta": {"checkpoint_sha256": "0" * 64}}})
    (difference,) = replay(compose("deploy replay", [f"data={data}"]))
    assert difference.other_weights and difference.same == difference.plans
    assert capsys.readouterr().out.endswith("the gripper differs in 0 actions, by other weights\n")
    with pytest.raises(UserError, match="execute=1: this residual was trained to replan every 8 actions"):
        replay(compose("deploy replay", [f"data={data}", "execute=1"]))
    with pytest.raises(UserError, match=r"episodes=1: .* holds 0 to 0"):
        replay(compose("deploy replay", [f"data={data}", "episodes=[1]"]))
    for odd, said in (({"episode_seed": None}, "has episode_seed=None"), ({"run": 3}, "names no run")):
        with EpisodeStore.open(data, "a") as store:
            store.update({0: {"meta": odd}})
        with pytest.raises(UserError, match=said):
            replay(compose("deploy replay", [f"data={data}"]))


def test_a_dataset_of_fewer_facts_is_replayed_and_not_continued(tmp_path: Path) -> None:
    """Facts were added behind those of older deployments, whose places are the same."""
    older = FACT_NAMES[: FACT_NAMES.index("chunk_refused")]
    spec = recorded_spec(SPEC)
    array = replace(spec.obs[FACTS], shape=(len(older),), names=older)
    episode = recorded([2, 2], [3, 4], [SOURCE_POLICY] * 2)
    episode = replace(episode, obs={**episode.obs, FACTS: episode.obs[FACTS][:, : len(older)]})
    with open_or_create(tmp_path / "data", spec.with_obs({**spec.obs, FACTS: array}), {}) as store:
        store.append(episode)
        assert compare(SaidPlanner(), store[0], 0, ("state",)).same == 2
    with pytest.raises(UserError, match="holds observation 'deploy_facts' with shape") as error:
        open_or_create(tmp_path / "data", spec, {})
    assert "\n" not in str(error.value)


def test_only_deployments_are_replayed(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "data", SPEC, {}):
        pass
    with pytest.raises(UserError, match="was not recorded by a deployment"):
        replay(compose("deploy replay", [f"data={tmp_path / 'data'}"]))
