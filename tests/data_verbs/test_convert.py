import pytest
from format_examples import EXAMPLES, diffusion_policy, juicer, robofb

from robofb import cli
from robofb.store.episodes import EpisodeStore


def run(*words):
    return cli.run(["data", "convert", *map(str, words)])


def test_says_what_was_done_and_assumed(tmp_path, capsys):
    assert run(juicer(tmp_path), "--out", tmp_path / "out", "--task", "mine") == 0
    text = capsys.readouterr().out
    assert "(juicer) to" in text and "2 episodes, 8 steps" in text
    assert "  state (16,) float32" in text
    assert "note: 6D rotations were the first two rows" in text
    with EpisodeStore.open(tmp_path / "out") as store:
        assert store.spec.task == "mine"


def test_dry_run_says_would(tmp_path, capsys):
    assert run(juicer(tmp_path), "--out", tmp_path / "out", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("would convert ")
    assert not (tmp_path / "out").exists()


def test_a_wrong_rate_is_warned_of(tmp_path, capsys):
    assert run(robofb(tmp_path), "--out", tmp_path / "out", "--to", "robomimic", "--rate", "20") == 0
    text = capsys.readouterr().out
    assert "warning: the timestamps of 2 episodes (first 0) disagree with the declared 20 Hz" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "rlds"], f"format 'rlds' is unknown; valid: auto, {', '.join(sorted(EXAMPLES))}"),
        (
            ["--to", "rlds"],
            "format 'rlds' cannot be written; valid: diffusion_policy, lerobot, robofb, robomimic",
        ),
        (
            ["--rate", "10", "--to", "diffusion_policy"],
            "is in format 'diffusion_policy' already: choose another with --to",
        ),
        (["--rate", "-1"], "rate=-1.0: needs a positive number of Hz"),
        ([], "does not say at what rate it was recorded: give --rate HZ"),
        (["--video"], "--video: format 'robofb' stores no video"),
        (["--rate", "10", "--from", "lerobot"], "cannot read"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, words, message):
    assert run(diffusion_policy(tmp_path), "--out", tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert message in error.replace("\n", " ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
