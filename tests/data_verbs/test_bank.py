"""`robofb data bank` from the command line."""

import pytest
from scripted_dataset import write_dataset

from robofb.cli import run
from robofb.sim.reset_bank import ResetBank

COMMAND = ["data", "bank", "--num-envs", "8"]


def test_makes_the_same_bank_twice_and_never_over_another(tmp_path, capsys):
    for name in ("a.npz", "b.npz"):
        words = [
            "--task",
            "one_leg_insert",
            "--states",
            "4",
            "--kinds",
            "grasped=3,near_goal=1",
            "--seed",
            "2",
        ]
        assert run([*COMMAND, *words, "--out", str(tmp_path / name)]) == 0
    assert (
        "4 states of one_leg_insert: 0 reaching, 0 near_object, 3 grasped, 1 near_goal"
        in capsys.readouterr().out
    )
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert ResetBank.open(tmp_path / "a.npz").provenance["method"] == "disassembly"
    assert run([*COMMAND, "--task", "one_leg_insert", "--out", str(tmp_path / "a.npz")]) == 2
    assert "a.npz exists" in capsys.readouterr().err


def test_dry_run_writes_nothing(tmp_path, capsys):
    demos = write_dataset(tmp_path / "demos")
    out = tmp_path / "bank.npz"
    assert run([*COMMAND, "--demos", str(demos), "--states", "8", "--out", str(out), "--dry-run"]) == 0
    assert "nothing is written" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demos"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say either --task NAME or --demos DATASET"),
        (["--task", "one_leg", "--demos", "x"], "say either"),
        (["--task", "no_such"], "no_such"),
        (["--task", "gymnasium"], "task.id"),
        (["--demos", "x", "--randomness", "low"], "leave it out"),
        (["--task", "one_leg", "--kinds", "grasped"], "'grasped' is not KIND=WEIGHT"),
        (["--task", "one_leg", "--kinds", "grasped=1,grasped=0"], "grasped is there twice"),
        (["--task", "one_leg", "--kinds", "held=1"], "bank kind 'held'; valid: reaching"),
        (["--task", "one_leg", "--randomness", "huge"], "huge"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, words, message):
    assert run([*COMMAND, *words, "--out", str(tmp_path / "bank.npz")]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told and "\n" not in told
    assert not (tmp_path / "bank.npz").exists()
