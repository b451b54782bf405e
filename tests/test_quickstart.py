"""The whole pipeline, tiny: every stage runs, the summary is whole, and a second call continues it."""

import json
import re

import pytest

from robofb import config
from robofb.errors import UserError
from robofb.quickstart import quickstart
from robofb.run import Run
from robofb.store.episodes import EpisodeStore

TINY = [
    "episodes=8",
    "num_envs=8",
    "collect.episodes=6",
    "+collect.num_envs=8",
    "bc.steps=20",
    "+bc.validate_every=10",
    "residual.env_steps=320",
    "+residual.num_envs=8",
    "+residual.rollout_steps=20",
    "residual.select_episodes=8",
    "residual.select_every=1",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("quick") / "run"
    quickstart(config.compose("quickstart", [*TINY, f"out={out}", "seed=7"]))
    return out


def test_summary_holds_both_policies_and_every_stage(finished):
    summary = json.loads((finished / "summary.json").read_text())
    for name in ("bc", "residual"):
        assert {"successes", "episodes", "low", "high"} <= set(summary[name])
        assert summary[name]["episodes"] == 8
        assert 0 <= summary[name]["low"] <= summary[name]["successes"] / 8 <= summary[name]["high"] <= 1
    stages = {key: value for key, value in summary["seconds"].items() if key != "total"}
    assert len(stages) == 6 and all(value > 0 for value in stages.values())
    assert summary["seconds"]["total"] == pytest.approx(sum(stages.values()))
    assert summary["bc"]["seed"] != Run.open(finished / "residual").config["select_seed"]


def test_leaves_dataset_runs_report_and_videos(finished):
    assert len(EpisodeStore.open(finished / "data")) == 6
    assert Run.open(finished / "bc").kind == "bc" and Run.open(finished / "residual").kind == "residual"
    html = (finished / "report.html").read_text()
    assert html.count("<video") == 2
    assert not re.search(r'(src|href)="(?!data:|#)', html)


def test_second_call_continues_instead_of_starting_over(finished):
    checkpoint = finished / "residual/checkpoints/latest"
    before = checkpoint.stat().st_mtime, json.loads((finished / "summary.json").read_text())
    quickstart(config.compose("quickstart", [*TINY, f"out={finished}", "seed=7"]))
    after = checkpoint.stat().st_mtime, json.loads((finished / "summary.json").read_text())
    assert after[0] == before[0]  # nothing was trained again
    assert after[1]["bc"]["successes"] == before[1]["bc"]["successes"]
    assert len(EpisodeStore.open(finished / "data")) == 6


def test_another_seed_or_kind_of_folder_is_refused(finished):
    with pytest.raises(UserError, match="was started with seed=7, not 8"):
        quickstart(config.compose("quickstart", [*TINY, f"out={finished}", "seed=8"]))
    with pytest.raises(UserError, match="holds a bc run, not a quickstart"):
        quickstart(config.compose("quickstart", [*TINY, f"out={finished / 'bc'}", "seed=7"]))
