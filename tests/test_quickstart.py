"""The whole pipeline, tiny: every stage runs, the summary is whole, and a second call continues it."""

import json
import re
import shutil

import pytest

from robofb import config, evaluate
from robofb.errors import UserError
from robofb.evaluate import film
from robofb.loading import load_agent
from robofb.quickstart import Pipeline, quickstart
from robofb.run import Run
from robofb.store.episodes import EpisodeStore

TINY = [
    "episodes=8",
    "num_envs=8",
    "collect.episodes=6",
    "collect.num_envs=8",
    "bc.steps=20",
    "bc.validate_every=10",
    "residual.env_steps=320",
    "residual.num_envs=8",
    "residual.rollout_steps=20",
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


def test_resume_continues_instead_of_starting_over(finished):
    """Also with another default in the meantime: the folder's own settings count."""
    checkpoint = finished / "residual/checkpoints/latest"
    before = checkpoint.stat().st_mtime, json.loads((finished / "summary.json").read_text())
    quickstart(config.compose("quickstart", [f"resume={finished}"]))
    after = checkpoint.stat().st_mtime, json.loads((finished / "summary.json").read_text())
    assert after[0] == before[0]  # nothing was trained again
    assert after[1]["bc"]["successes"] == before[1]["bc"]["successes"]
    assert after[1]["bc"]["episodes"] == 8
    assert after[1]["demonstrations"]["kept"] == len(EpisodeStore.open(finished / "data")) == 6


@pytest.mark.parametrize("stage", ["collect", "bc", "residual"])
def test_a_pipeline_interrupted_before_a_stage_saved_anything_goes_on(tmp_path, monkeypatch, stage):
    """Ctrl-C right after a stage has made its folder: `resume=` finishes the pipeline all the same."""
    out = tmp_path / "run"
    where = {"collect": "robofb.store.layout._write_layout", "bc": "robofb.train.bc.BcTraining.work"}
    where["residual"] = "robofb.train.residual.ResidualTraining.work"

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where[stage], stop)
        with pytest.raises(KeyboardInterrupt):
            quickstart(config.compose("quickstart", [*TINY, f"out={out}", "seed=1", "video=false"]))
    run = quickstart(config.compose("quickstart", [f"resume={out}"]))
    assert {"bc", "residual", "paired"} <= set(run.summary())
    assert run.summary()["demonstrations"]["kept"] == len(EpisodeStore.open(out / "data"))


def copied(finished, tmp_path):
    """Copy a finished pipeline; its runs still name the dataset of the original."""
    return shutil.copytree(finished, tmp_path / "copy")


def test_resume_passes_on_what_is_said_now(finished, tmp_path, monkeypatch):
    """Also where the first attempt is stopped before its stage: the second needs no words."""
    out = copied(finished, tmp_path)
    words = [f"resume={out}", "residual.env_steps=480", "residual.clip=0.1", "bc.steps=22", "video=false"]

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("robofb.quickstart.Pipeline.demonstrations", stop)
        with pytest.raises(KeyboardInterrupt):
            quickstart(config.compose("quickstart", words))
    quickstart(config.compose("quickstart", [f"resume={out}"]))
    assert Run.open(out / "bc").load_checkpoint()["step"] == 22
    residual = Run.open(out / "residual")
    assert (residual.load_checkpoint()["step"], residual.config["clip"]) == (480, 0.1)
    kept = Run.open(out).config
    assert (kept["residual"]["env_steps"], kept["bc"]["steps"], kept["video"]) == (480, 22, False)
    assert (kept["resume"], kept["seed"]) == (None, 7)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("seed=8", "seed was 7 and cannot become 8"),
        ("randomness=med", "randomness was low and cannot become med"),
        ("task=two_legs", "task=two_legs: no such task"),
        ("engine=steam", "engine=steam: no such engine"),
        ("residual.num_envs=4", "num_envs was 8 and cannot become 4"),
        ("bc.policy.horizon=8", "policy.horizon was 16 and cannot become 8"),
        ("residual.preset=paper", "preset=paper: a continued run keeps its values"),
    ],
)
def test_resume_refuses_what_would_mix(finished, word, line):
    before = {path: path.read_bytes() for path in finished.rglob("*.*") if path.is_file()}
    with pytest.raises(UserError, match=line):
        quickstart(config.compose("quickstart", [f"resume={finished}", word]))
    assert before == {path: path.read_bytes() for path in finished.rglob("*.*") if path.is_file()}


def test_inner_keys_of_a_stage_reach_it():
    cfg = config.compose(
        "quickstart", ["bc.policy.horizon=8", "residual.task.max_steps=60", "residual.task.randomness=high"]
    )
    bc, residual = stage_configs(cfg)
    assert (bc.policy.horizon, bc.policy.denoiser.width, bc.steps) == (8, 384, 2000)
    assert (residual.task.max_steps, residual.task.randomness) == (60, "high")
    assert (bc.task.max_steps, bc.task.randomness) == (90, "low")
    bc, _ = stage_configs(config.compose("quickstart", ["bc.policy=unet_diffusion"]))
    assert bc.policy.denoiser.channels == [256, 512, 1024]


def stage_configs(cfg):
    """Return what the two trainings of a pipeline would run with."""
    composed, compose = {}, config.compose
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            config, "compose", lambda verb, words: composed.setdefault(verb, compose(verb, words))
        )
        Pipeline.check(cfg)
    return composed["train_bc"], composed["train_residual"]


def test_mistyped_override_of_a_late_stage_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match="clipp"):
        quickstart(config.compose("quickstart", [*TINY, f"out={tmp_path / 'x'}", "residual.clipp=1"]))
    assert not (tmp_path / "x").exists()


def test_a_correction_of_another_length_is_refused_before_the_first_stage(tmp_path):
    words = [*TINY, f"out={tmp_path / 'x'}", "residual.correction=[0.1,0.2]"]
    with pytest.raises(UserError, match="correction has 2 numbers for 10 actions"):
        quickstart(config.compose("quickstart", words))
    assert not (tmp_path / "x").exists()


def test_a_folder_with_something_else_is_refused(finished):
    with pytest.raises(UserError, match="is not empty: continue it with resume="):
        quickstart(config.compose("quickstart", [*TINY, f"out={finished}"]))
    with pytest.raises(UserError, match="a bc run; robofb quickstart continues quickstart runs"):
        quickstart(config.compose("quickstart", [f"resume={finished / 'bc'}"]))


def test_without_opengl_the_report_says_so(finished, monkeypatch):
    def blind(*args):
        raise UserError("cannot render: blind")

    monkeypatch.setattr("robofb.sim.vec_env.Renderer", blind)
    run = Run.open(finished / "bc")
    composed = config.compose("collect")
    assert film(run, composed.task, composed.engine, seed=0).missing == "cannot render: blind"


def test_evaluating_the_pipelines_folder_points_at_its_runs(finished):
    with pytest.raises(UserError, match=f"try {finished}/bc or {finished}/residual"):
        load_agent(Run.open(finished), 1)


def test_evaluating_on_the_episodes_that_chose_the_checkpoint_is_warned_of(finished, caplog):
    run = f"run={finished / 'residual'}"
    for seed, warned in ((1_000_003, True), (77, False)):
        caplog.clear()
        evaluate.main(
            config.compose("eval", [run, f"seed={seed}", "episodes=1", "num_envs=1", "video=false"])
        )
        assert ("chose this run's best checkpoint" in caplog.text) == warned


def test_every_evaluation_of_a_run_leaves_a_line(finished):
    words = [f"run={finished / 'bc'}", "episodes=2", "num_envs=2", "video=false"]
    file = finished / "bc/evaluations.jsonl"
    before = file.read_text().splitlines() if file.is_file() else []
    for seed in (5, 6):
        evaluate.main(config.compose("eval", [*words, f"seed={seed}", "execute=4"]))
    lines = [json.loads(line) for line in file.read_text().splitlines()[len(before) :]]
    assert [(line["seed"], line["episodes"], line["execute"]) for line in lines] == [(5, 2, 4), (6, 2, 4)]
    assert Run.open(finished / "bc").summary()["eval"] == lines[-1]


def test_report_is_readable(finished):
    page = (finished / "report.html").read_text()
    assert "train the diffusion policy" in page
    assert "the budget env_steps=" in page  # why the training ended
    assert "{&#x27;" not in page  # no Python dict
