"""Settings of TGRL without meaning: one line names the value, and no run folder blocks the next try."""

from __future__ import annotations

from pathlib import Path

import pytest

from robofb import config
from robofb.errors import UserError
from robofb.train import tgrl


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("student.memory=null", r"student\.memory=None: needs a whole number"),
        ("student.memory=true", r"student\.memory=True: needs a whole number"),
        ("student.memory=-1", r"student\.memory=-1: needs a whole number"),
        ("student.hidden=12", r"student\.hidden=12: needs a list of sizes"),
        ("student.hidden=[8,0]", r"student\.hidden=\[8, 0\]: needs a list of sizes"),
        ("student.hidden=[1.5]", r"student\.hidden=\[1\.5\]: needs a list of sizes"),
        ("student.obs_keys=grid", r"student\.obs_keys=grid: needs a list"),
        ("student.obs_keys=[]", "a student must see something"),
        ("student.elements=[grid]", r"student\.elements=\['grid'\]: name the observation"),
        ("student.width=8", r"student\.width: no such key; valid: obs_keys, elements, hidden, memory"),
        ("student.num_policies=9", r"student\.num_policies: no such key"),
        ("entropy=nan", "entropy=nan: must be finite"),
        ("warmup_steps=100000", "warmup_steps=100000: learning begins after them, but env_steps=25000 ends"),
        ("buffer_size=99999999999999999999", r"buffer_size=99999999999999999999: must be below"),
        ("buffer_size=10", "buffer_size=10: needs 1616, an episode of each of num_envs"),
        ("entropy=1.5", r"entropy=1\.5: no policy has it; for these actions it is of log n, 0 to 1"),
        ("tau=0", "tau=0"),
        ("gap_from=returns balance=fixed", "gap_from=returns: this balance goes by no gap"),
        ("balance=reward teacher_errors=0.5", r"teacher_errors=0\.5: this balance asks no teacher"),
        ("balance=reward word_bonus=3", r"word_bonus=3\.0: this balance asks no teacher"),
        ("teacher_checkpoint=latest", "teacher_checkpoint=latest: teacher=task is no run; leave it out"),
        ("balance.lr=abc", r"balance\.lr=abc: must be positive and finite"),
    ],
)
def test_settings_without_meaning_are_named_and_leave_no_folder(tmp_path: Path, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tgrl.train(config.compose("train_tgrl", [f"out={tmp_path / 'run'}", *word.split()]))
    assert not (tmp_path / "run").exists()


def test_elements_that_are_no_words_are_named(tmp_path: Path) -> None:
    words = ["student.obs_keys=[privileged]", "student.elements.privileged=[1]", f"out={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="privileged: no element begins with '1'; there are: goal_door"):
        tgrl.train(config.compose("train_tgrl", words))


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_gap_of_returns_needs_both_policies_episodes(tmp_path: Path, who: str) -> None:
    """Else it would never be known, and the coefficient stay where it began."""
    words = [f"collect={who}", "gap_from=returns", f"out={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=f"gap_from=returns: with collect={who} the rival has no episodes"):
        tgrl.train(config.compose("train_tgrl", words))
    assert not (tmp_path / "run").exists()


def test_a_teacher_whom_nobody_asks_is_not_named(tmp_path: Path) -> None:
    words = ["balance=reward", "teacher=runs/expert", f"out={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="teacher=runs/expert: this balance asks no teacher; leave the word"):
        tgrl.train(config.compose("train_tgrl", words))
    assert not (tmp_path / "run").exists()
