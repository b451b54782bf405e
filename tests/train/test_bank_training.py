"""Reset banks in trainings: which env has one, what is counted, what a config may say."""

import hashlib
from dataclasses import replace

import pytest
import torch
import yaml
from bank_example import small_bank
from fakes import POINT_SPEC, PointEnv
from residual_example import save_base_run

from robofb import cli, loading
from robofb.config import compose
from robofb.errors import UserError
from robofb.ranks import Ranks
from robofb.sim.bank_kinds import KINDS
from robofb.train.bank_env import with_bank_pinned
from robofb.train.episodes import EpisodeCount
from robofb.train.rl_training import training_envs
from robofb.types import Step

WORDS = ("base=x", "num_envs=2", "bank_share=1.0")


def step_with(done: list[int], success: list[int], **info: torch.Tensor) -> Step:
    nothing = torch.zeros(len(done))
    ended = torch.tensor(done).bool()
    info["success"] = torch.tensor(success).bool()
    return Step({}, nothing, ended, torch.zeros_like(ended), {}, info)


def test_successes_from_the_bank_are_counted_apart():
    """Of five episodes that end, two started in the bank; one of each sort succeeds."""
    count = EpisodeCount(torch.device("cpu"))
    from_bank = torch.tensor([False, True, False, True])
    count.add(step_with([1, 1, 1, 0], [1, 0, 0, 0], from_bank=from_bank))
    count.add(step_with([0, 0, 1, 1], [0, 0, 0, 1], from_bank=from_bank))
    assert count.metrics() == {
        "train/episodes": 3,
        "train/success": 1 / 3,
        "train/episodes_bank": 2,
        "train/success_bank": 1 / 2,
    }


def test_without_a_bank_nothing_is_told_of_one():
    count = EpisodeCount(torch.device("cpu"))
    assert count.metrics() == {"train/episodes": 0}
    count.add(step_with([1, 1], [1, 0]))
    assert count.metrics() == {"train/episodes": 2, "train/success": 0.5}


def test_only_the_env_that_learns_has_the_bank(tmp_path):
    small_bank().save(tmp_path / "bank.npz")
    cfg = compose("train residual", [*WORDS, f"bank={tmp_path / 'bank.npz'}", "bank_kinds.near_goal=0.0"])
    with training_envs(cfg, small_bank().spec) as (env, select_env):
        assert select_env.bank is None
        rows = env.bank.draw(torch.arange(500))
        kinds = small_bank().kind[rows.numpy()]
        assert sorted(set(kinds.tolist())) == [0, 1, 2]
        obs = env.reset(0)
        assert torch.equal(env.engine.snapshot(), env.bank.states[env.bank.draw(env.episode_seed)])
        assert not torch.equal(obs["state"], select_env.reset(0)["state"])


def test_only_the_first_rank_has_an_env_to_select_in(monkeypatch):
    made = []
    monkeypatch.setattr(
        loading, "make_env", lambda task, engine, num_envs: made.append(num_envs) or PointEnv(4)
    )
    cfg = compose("train residual", WORDS)
    for rank, count in ((0, 2), (1, 1)):
        made.clear()
        with training_envs(cfg, POINT_SPEC, ranks=Ranks(rank, 2)) as (env, select_env):
            assert (env is select_env) == (rank == 1)
        assert made == [1] * count  # of this rank's share


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bank_share=2"], "bank_share=2"),
        (["bank_kinds.held=1"], "held"),
        (["bank_kinds.grasped=-1"], "grasped=-1.0: needs a weight of at least 0"),
        ([f"bank_kinds.{kind}=0" for kind in KINDS], "at least one needs a weight above 0"),
    ],
)
def test_a_config_with_a_mistake_is_refused(words, message):
    with pytest.raises(UserError, match=message):
        compose("train residual", ["base=x", *words])


def test_a_bank_that_changed_since_is_refused_unless_one_says_so(tmp_path):
    """The training writes the file's SHA-256 into its config, which a resumed run brings along."""
    bank = small_bank()
    path = tmp_path / "bank.npz"
    bank.save(path)
    cfg = compose("train residual", [*WORDS, f"bank={path}"])
    pinned = with_bank_pinned(cfg)
    assert cfg.bank_sha256 is None
    assert pinned.bank_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert with_bank_pinned(pinned) == pinned
    path.unlink()
    replace(bank, states=bank.states + 1e-9).save(path)
    with pytest.raises(UserError, match=f"bank.npz holds other states .*not {pinned.bank_sha256[:12]}"):
        with_bank_pinned(pinned)
    pinned.bank_sha256 = None
    assert with_bank_pinned(pinned).bank_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_keeps_what_its_bank_was(tmp_path):
    """From the command line: the digest lies in config.yaml, and a resumed run refuses another file there."""
    path, base = tmp_path / "bank.npz", tmp_path / "base"
    small_bank().save(path)
    save_base_run(base)
    words = [f"base={base}", f"bank={path}", "num_envs=2", "rollout_steps=4", "env_steps=8"]
    words += ["select_episodes=1", f"out={tmp_path / 'run'}"]
    assert cli.run(["train", "residual", *words]) == 0
    stored = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert stored["bank_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    replace(small_bank(), states=small_bank().states + 1e-9).save(path)
    resume = ["train", "residual", f"resume={tmp_path / 'run'}", "env_steps=16"]
    assert cli.run(resume) == 2
    assert cli.run([*resume, "bank_sha256=null"]) == 0


def test_a_bank_that_is_missing_or_of_another_task_is_refused(tmp_path):
    cfg = compose("train residual", [*WORDS, f"bank={tmp_path / 'none.npz'}"])
    with (
        pytest.raises(UserError, match="none.npz: the bank cannot be read"),
        training_envs(cfg, small_bank().spec),
    ):
        pass
    small_bank().save(tmp_path / "bank.npz")
    cfg = compose("train residual", [*WORDS, "task=one_leg", f"bank={tmp_path / 'bank.npz'}"])
    with pytest.raises(UserError, match="holds task 'one_leg_insert'"), training_envs(cfg, small_bank().spec):
        pass
