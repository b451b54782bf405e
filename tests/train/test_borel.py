"""Learning exploration from logs: stages resume, beliefs are taken over, and two tasks are told apart."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import pytest
import torch
from learning import assert_same_weights

from robofb import evaluate
from robofb.config import compose
from robofb.envs.meta.wind import Wind
from robofb.errors import UserError
from robofb.run import Run
from robofb.store.agent_logs import write_agent_log
from robofb.store.episodes import EpisodeStore
from robofb.train import agents, borel, borel_parts

SMALL = ("task.max_steps=6", "belief_updates=12", "updates=20", "select_every=10", "save_every=1000")
MORE = ("log_every=5", "belief_tasks=3", "fresh_trials=4", "memory=8", "hidden=[16]", "batch_size=32")
WHOLE = ("mixture_episodes=null", "piece=null", "drawn_tasks=0", "reader=gru", "waves=0", "latent=5")
ALONE = ("common_trials=false", "asked_steps=0", "redraw_every=0", "choice_temperature=0")
BOTH = ("own_trials=true", "mixed=0.7", *WHOLE, *ALONE)  # the logs' own trials, and mixtures
MIXED = ("mixed=1", "own_trials=false", "piece=4", "mixture_episodes=3", "reader=pooled", "waves=2")
AGAIN = ("redraw_every=4", "choice_temperature=0.1")
ASKED = ("common_trials=true", "asked_steps=9")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Logs of three small agents of a task with choices, and of a continuous one."""
    found = {}
    for task in ("grid_navi", "point_robot_sparse"):
        out = tmp_path_factory.mktemp(task) / "run"
        words = ["task.max_steps=6", "num_tasks=3", "updates=2", "visitors=1", "env_steps=720"]
        words.append("episodes_per_trial=2")
        agents.train(compose("train_agents", [f"task={task}", f"out={out}", "select_every=50", *words]))
        found[task] = out / "logs"
    return found


def train(out: Path, logs: Path, *words: str, task: str = "grid_navi") -> Run:
    given = [f"task={task}", f"logs={logs}", f"out={out}", *SMALL, *MORE, *BOTH, *words]
    return borel.train(compose("train_borel", given))


@pytest.mark.parametrize("task", ["grid_navi", "point_robot_sparse"])
def test_same_seed_same_weights(tmp_path: Path, logs: dict[str, Path], task: str) -> None:
    one, other = (
        train(tmp_path / name, logs[task], "select_tasks=3", task=task) for name in ("one", "other")
    )
    assert_same_weights(one, other)
    summary = one.summary()["borel_training"]
    assert (summary["belief_updates"], summary["policy_updates"]) == (12, 20)
    assert summary["transitions"] == 3 * 20 * 12 + 3 * 4 * 2 * 6  # own steps, and those of fresh mixtures


@pytest.mark.parametrize(
    ("after", "words"),
    [(7, ()), (25, ()), (7, (*MIXED, *ASKED)), (25, (*MIXED, *ASKED, *AGAIN)), (25, AGAIN)],
)
def test_ctrl_c_in_either_stage_saves_and_resuming_gives_the_same_weights(
    tmp_path: Path,
    logs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    words: tuple[str, ...],
) -> None:
    whole = train(tmp_path / "whole", logs["grid_navi"], *words)
    real, count = torch.optim.Adam.step, []

    def step(self: Any, *args: Any) -> Any:
        count.append(0)
        if len(count) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", logs["grid_navi"], *words)
    resumed = borel.train(compose("train_borel", [f"resume={tmp_path / 'parts'}"]))
    assert_same_weights(whole, resumed)


def test_mixtures_are_of_as_many_tasks_and_steps_as_said(tmp_path: Path, logs: dict[str, Path]) -> None:
    """Of three agents' tasks and five others, four trials each, of three episodes in pieces of 4 and 2."""
    words = (*MIXED, *ASKED, "drawn_tasks=5", "select_tasks=3")
    run = train(tmp_path / "run", logs["point_robot_sparse"], *words, task="point_robot_sparse")
    transitions = run.summary()["borel_training"]["transitions"]
    pieces = 8 * 4 * 3 * 2
    assert 2 * pieces < transitions < 4 * pieces
    assert transitions == pytest.approx(3 * pieces, rel=0.1)
    with pytest.raises(UserError, match="drawn_tasks=5: grid_navi has no others than can be listed"):
        train(tmp_path / "other", logs["grid_navi"], *MIXED, "drawn_tasks=5")


def test_rates_fall_to_nothing_over_each_stage(
    tmp_path: Path, logs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, rates = torch.optim.Adam.step, []

    def step(self: Any, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return real(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    train(tmp_path / "run", logs["grid_navi"], "belief_lr=0.1", "lr=0.2")
    expected = [
        lr * 0.5 * (1 + math.cos(math.pi * done / budget))
        for lr, budget in ((0.1, 12), (0.2, 20))
        for done in range(budget)
    ]
    assert rates == pytest.approx(expected)


def test_a_belief_can_be_taken_over(tmp_path: Path, logs: dict[str, Path]) -> None:
    first = train(tmp_path / "first", logs["grid_navi"], "decoder_hidden=[8,8]")
    taken = (f"belief={first.path}", "select_tasks=3", "decoder_hidden=[8,8]")
    second = train(tmp_path / "second", logs["grid_navi"], *taken, "seed=4")
    ours, theirs = (run.load_checkpoint("latest")["policy"] for run in (first, second))
    for name in ours:
        if name.startswith(("encoder.", "net.")):
            assert torch.equal(ours[name], theirs[name]) == name.startswith("encoder."), name
    assert second.summary()["borel_training"]["belief_updates"] == 0
    with pytest.raises(UserError, match=r"belief=.*say so here too: latent=5 decoder_hidden=\[8,8\]"):
        train(tmp_path / "third", logs["grid_navi"], *taken, "latent=3", "decoder_hidden=[8]")
    with pytest.raises(UserError, match="it is of another task than point_robot_sparse"):
        train(tmp_path / "third", logs["point_robot_sparse"], *taken, task="point_robot_sparse")
    with pytest.raises(UserError, match="an agents run; beliefs are in borel runs"):
        train(tmp_path / "third", logs["grid_navi"], f"belief={logs['grid_navi'].parent}")
    assert not (tmp_path / "third").exists()
    nothing = train(tmp_path / "nothing", logs["grid_navi"], *taken, "updates=0")
    theirs = nothing.load_checkpoint("latest")["policy"]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name.startswith("encoder."))


def test_a_belief_is_taken_over_where_the_run_that_did_so_was_killed_before_it_saved(
    tmp_path: Path, logs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"belief={train(tmp_path / 'first', logs['grid_navi']).path}", "seed=4")
    whole = train(tmp_path / "whole", logs["grid_navi"], *words)
    with monkeypatch.context() as patch:
        patch.setattr(borel.BorelTraining, "work", lambda self: sys.exit(1))
        with pytest.raises(SystemExit):
            train(tmp_path / "killed", logs["grid_navi"], *words)
    resumed = borel.train(compose("train_borel", [f"resume={tmp_path / 'killed'}"]))
    assert_same_weights(whole, resumed)
    shutil.rmtree(tmp_path / "first")  # nobody asks for it any more
    borel.train(compose("train_borel", [f"resume={tmp_path / 'killed'}"]))
    with pytest.raises(UserError, match="no run at .*first"):
        train(tmp_path / "late", logs["grid_navi"], *words)


def test_it_is_judged_beside_those_that_know_never_learn_or_guess(
    tmp_path: Path, logs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path / "run", logs["grid_navi"])
    evaluate.main(compose("eval", [f"run={run.path}", "seed=5", "episodes=22"]))
    facts = run.summary()["eval"]
    assert facts["trials"] == 42 and len(facts["returns"]) == 2
    # Who knows the goal, d steps away, earns -0.1 in the first d - 1 of 6 steps and 1 in the rest.
    distances = [x + y for y in range(5) for x in range(5) if x > 1 or y > 1]
    oracle = sum(-0.1 * min(6, d - 1) + max(0, 7 - d) for d in distances) / 21
    assert facts["oracle"]["returns"] == pytest.approx([oracle, oracle], abs=1e-4)
    # Who never learns does the same in every episode.
    assert facts["no adaptation"]["returns"][0] == pytest.approx(facts["no adaptation"]["returns"][1])
    said = capsys.readouterr().out
    assert "return in 42 trials" in said and "posterior sampling" in said
    page = (run.path / "report.html").read_text()
    assert "in all tasks of the family" in page
    assert "<video" in page and "posterior sampling" in page and "data:image/png" in page
    assert imageio.get_reader(run.videos / "best-seed5.mp4").count_frames() == 2 * 6
    assert imageio.imread(run.videos / "best-seed5-beliefs.png").shape == (4 * 208 - 8, 3 * 208 - 8, 3)
    for word in ("execute=2", "compare_base=true", "also={x:{task:wind}}"):
        with pytest.raises(UserError, match=re.escape(word.split("=")[0]) + "=.*is a borel run"):
            evaluate.main(compose("eval", [f"run={run.path}", "seed=5", word]))


def test_mixtures_are_refused_where_tasks_move_differently(tmp_path: Path) -> None:
    cfg = compose("train_borel", ["task=wind", "logs=x"])
    borel_parts.check_mixtures(cfg, Wind())
    for word in ("mixed=0.5", "fresh_trials=3"):
        with pytest.raises(UserError, match=word + r".*: tasks of wind move differently"):
            borel_parts.check_mixtures(compose("train_borel", ["task=wind", "logs=x", word]), Wind())


def test_other_logs_are_refused_on_resume(tmp_path: Path, logs: dict[str, Path]) -> None:
    own = tmp_path / "logs"
    shutil.copytree(logs["grid_navi"], own)
    run = train(tmp_path / "run", own)
    shutil.rmtree(own / "agent_0002")
    with pytest.raises(UserError, match="agent_0002 is missing, of 3 agents"):
        borel.train(compose("train_borel", [f"resume={run.path}"]))
    with EpisodeStore.open(own / "agent_0001") as store:
        parts = store.spec, store.meta, list(store)
    shutil.rmtree(own)
    for number in range(3):
        write_agent_log(own, number, *parts)
    with pytest.raises(UserError, match="does not hold the logs that the run began with; start a new run"):
        borel.train(compose("train_borel", [f"resume={run.path}"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logs=nowhere"], "nowhere holds no agents' logs"),
        (["task=tiger_door"], "task tiger_door is one task, no family of them"),
        (["mixed=2"], r"mixed=2\.0: must lie in 0\.\.1"),
        (["hidden=[]"], r"hidden=\[\]: needs sizes of at least 1"),
        (["task=wind"], "grid_navi.*wind|wind.*grid_navi"),
        (["belief=nowhere"], "no run at nowhere"),
        (["own_trials=false", "fresh_trials=0"], "leave the policy nothing to learn from"),
        (["algorithm=dqn"], "algorithm=dqn: no such algorithm; valid: q_learning, iql"),
        (["algorithm=iql", "conservatism=1"], "conservatism=1: iql has none"),
        (["asked_steps=5"], r"asked_steps=5 mixed=0\.7 whole=true: needs mixed=1 whole=true"),
        (["common_trials=true", "mixed=1", "whole=false"], "mixed=1 whole=false: needs mixed=1 whole=true"),
        (["redraw_every=3", "fresh_trials=0"], "redraw_every=3 fresh_trials=0: leave nothing to draw anew"),
        (["piece=3", "fresh_trials=0"], "piece=3: there are no whole mixtures; say fresh_trials="),
        (["drawn_tasks=3", "fresh_trials=0"], "drawn_tasks=3: there are no whole mixtures"),
        (["waves=17"], "waves=17: may be 16 at most"),
        (["reader=lstm"], "reader=lstm: no such memory; valid: gru, pooled"),
        (["early=0.5"], "early=0.5: needs at least 1"),
        (["piece=0"], "piece=0: needs at least 1"),
        (["compat=cut+pay"], "pay is of point_robot_sparse and half_cheetah_vel alone, not grid_navi"),
        (["compat=early"], "early is of ant_semi_circle_sparse alone, not grid_navi"),
        (["expectile=1"], r"expectile=1: must lie in 0\.5\.\.1, below 1"),
    ],
)
def test_settings_without_meaning_are_named(
    tmp_path: Path, logs: dict[str, Path], words: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        train(tmp_path / "run", logs["grid_navi"], *words)


@pytest.mark.parametrize("words", [("conservatism=1",), ("algorithm=iql",)])
@pytest.mark.parametrize("task", ["grid_navi", "point_robot_sparse"])
def test_other_ways_to_learn_from_data_alone_resume_too(
    tmp_path: Path, logs: dict[str, Path], task: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("select_tasks=3", "anneal=false", "belief_updates=2", "select_every=1000", *words)
    whole = train(tmp_path / "whole", logs[task], *more, "updates=6", task=task)
    plain = train(tmp_path / "plain", logs[task], *more[:-1], "updates=6", task=task)
    with pytest.raises(AssertionError):
        assert_same_weights(whole, plain)
    parts = train(tmp_path / "parts", logs[task], *more, "updates=3", task=task)
    resumed = borel.train(compose("train_borel", [f"resume={parts.path}", "updates=6"]))
    assert_same_weights(whole, resumed)


def test_a_finished_run_is_only_summed_up_again(tmp_path: Path, logs: dict[str, Path]) -> None:
    run = train(tmp_path / "run", logs["grid_navi"])
    before = run.load_checkpoint("latest")["step"]
    assert borel.train(compose("train_borel", [f"resume={run.path}"])).path == run.path
    assert run.load_checkpoint("latest")["step"] == before
