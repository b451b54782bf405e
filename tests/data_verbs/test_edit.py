import json
from dataclasses import replace

import numpy as np
import pytest

from robofb import cli
from robofb.store.episodes import EpisodeStore
from robofb.types import ArraySpec, EnvSpec, Episode

SPEC = EnvSpec(
    task="line",
    obs={"state": ArraySpec((3,), unit="m", names=tuple(f"ee_pos_base_{axis}" for axis in "xyz"))},
    action=ArraySpec((1,), unit="m"),
    control_dt=0.1,
    max_steps=20,
)
WRITING = [
    ["merge", "a", "b", "--out", "out"],
    ["split", "a", "--out-dir", "out", "--fractions", "0.5,0.5"],
    ["trim", "a", "--out", "out", "--head", "1"],
    ["trim", "a", "--out", "out", "--idle", "0.01"],
    ["relabel", "a", "--out", "out", "--source", "human"],
    ["relabel", "a", "--in-place", "--success", "false", "--episodes", "1"],
    ["drop", "a", "--out", "out", "--episodes", "0,2-3"],
]


def line(steps: int) -> Episode:
    """Return an episode that moves 1 m a step, but for its first and last step."""
    x = np.clip(np.arange(-1, steps), 0, steps - 2)
    return Episode(
        obs={"state": np.stack([x, 0 * x, 0 * x], axis=1).astype(np.float32)},
        action=np.full((steps, 1), steps, np.float32),
        reward=np.zeros(steps, np.float32),
        terminated=True,
        success=steps != 6,
        timestamps=np.arange(steps + 1) * 0.1,
        source=np.full(steps, 4, np.uint8),
    )


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    """Make datasets a (4, 5, 6 and 7 steps) and b (8 steps) in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, lengths in (("a", [4, 5, 6, 7]), ("b", [8])):
        with EpisodeStore.create(name, SPEC) as store:
            for steps in lengths:
                store.append(line(steps))


def data(*arguments) -> int:
    return cli.run(["data", *arguments])


def lengths(folder) -> list[int]:
    with EpisodeStore.open(folder) as store:
        return store.episode_lengths.tolist()


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", WRITING, ids=" ".join)
def test_a_dry_run_says_what_happens_and_writes_nothing(arguments, tmp_path, capsys):
    before = files(tmp_path)
    assert data(*arguments, "--dry-run") == 0
    told = capsys.readouterr().out
    assert files(tmp_path) == before and not (tmp_path / "out").exists()
    assert told.endswith("dry run: nothing is written\n")
    assert data(*arguments) == 0
    assert capsys.readouterr().out == told.removesuffix("dry run: nothing is written\n")
    if "--in-place" not in arguments:
        assert {path: files(tmp_path)[path] for path in before if path.name != ".writer.lock"} == {
            path: content for path, content in before.items() if path.name != ".writer.lock"
        }


def test_merge_split_trim_and_drop(capsys):
    assert data("merge", "b", "a", "--out", "c") == 0
    assert capsys.readouterr().out.startswith("c: 5 episodes, 30 steps, about ")
    assert lengths("c") == [8, 4, 5, 6, 7]
    assert (
        data("split", "c", "--out-dir", "s", "--fractions", "0.6,0.4", "--names", "x,y", "--seed", "1") == 0
    )
    assert len(lengths("s/x")) == 3 and sorted(lengths("s/x") + lengths("s/y")) == [4, 5, 6, 7, 8]
    assert data("trim", "c", "--out", "t", "--head", "1", "--tail", "2") == 0
    assert lengths("t") == [5, 1, 2, 3, 4]
    capsys.readouterr()
    assert data("trim", "a", "--out", "i", "--idle", "0.5") == 0
    assert "episode 3: keeps steps 1-5 of 0-6" in capsys.readouterr().out
    assert lengths("i") == [2, 3, 4, 5]
    assert data("drop", "c", "--failed", "--shorter-than", "5", "--out", "d") == 0
    assert "without episodes 1,3 of c (2 of 5)" in capsys.readouterr().out
    assert lengths("d") == [8, 5, 7]


def test_relabel(capsys):
    command = [
        "relabel",
        "a",
        "--episodes",
        "0-1",
        "--success",
        "false",
        "--meta",
        "who=ann",
        "--meta",
        "n=2",
    ]
    assert data(*command, "--in-place") == 0
    assert capsys.readouterr().out == 'episodes 0-1 of a: success false, who "ann", n 2\n'
    with EpisodeStore.open("a") as store:
        assert store.successes.tolist() == [False, False, False, True]
        assert store[1].meta == {"who": "ann", "n": 2} and store[2].meta == {}
    assert data("relabel", "a", "--source", "human", "--task", "curve", "--out", "r") == 0
    with EpisodeStore.open("r") as store:
        assert store.spec == replace(SPEC, task="curve")
        assert set(store.read("source").tolist()) == {0}


def test_stats(capsys):
    assert data("stats", "a", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["elements"][0] | {"name": "", "mean": 0, "std": 0} == {
        "key": "state", "name": "", "unit": "m", "min": 0.0, "max": 5.0, "mean": 0, "std": 0,
    }  # fmt: skip
    assert data("stats", "a") == 0
    assert "ee_pos_base_x" in capsys.readouterr().out


def test_repair(tmp_path, capsys):
    (tmp_path / "a" / ".staging").mkdir()
    (tmp_path / "a" / ".staging" / "x").write_text("123")
    assert data("repair", "a", "--dry-run") == 0
    told = "to mend:\n.staging: 1 stale files, 3 B\ndry run: nothing is written\n"
    assert capsys.readouterr().out == told
    assert data("repair", "a") == 0
    assert capsys.readouterr().out == "removed or put right:\n.staging: 1 stale files, 3 B\n"
    assert data("repair", "a") == 0
    assert capsys.readouterr().out == (
        "a: nothing to mend; damage inside files is not looked for: see robofb data doctor\n"
    )
    assert lengths("a") == [4, 5, 6, 7]


def test_a_refused_split_writes_none_of_its_parts(tmp_path, capsys):
    (tmp_path / "s" / "validation").mkdir(parents=True)
    (tmp_path / "s" / "validation" / "mine.txt").write_text("x")
    assert data("split", "a", "--out-dir", "s", "--fractions", "0.5,0.5") == 2
    assert "s/validation is not empty" in capsys.readouterr().err
    assert not (tmp_path / "s" / "train").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["merge", "a", "--out", "c"], "merge needs two datasets or more, not 1"),
        (["merge", "a", "a", "--out", "c"], "a is given twice"),
        (["merge", "a", "nowhere", "--out", "c"], "nowhere: no such dataset folder"),
        (["split", "a", "--out-dir", "a", "--fractions", "0.5,0.5"], "a/train lies inside the dataset"),
        (["split", "a", "--out-dir", "s", "--fractions", "half"], "--fractions half: needs numbers"),
        (["trim", "a", "--out", "a", "--head", "1"], "a is the dataset to read from"),
        (["trim", "a", "--out", "b", "--head", "1"], "b already holds another dataset than this trim makes"),
        (["trim", "a", "--out", "c", "--head", "4"], "nothing would be left of episode 0, 4 steps"),
        (["drop", "a", "--out", "c", "--episodes", "2,4"], "a has no episode 4; valid: 0..3"),
        (["drop", "a", "--out", "c"], "drop needs --episodes"),
        (["drop", "a", "--out", "c", "--shorter-than", "-3"], "--shorter-than -3: needs a number of steps"),
        (["drop", "a", "--out", "c", "--longer-than", "-3"], "--longer-than -3: needs a number of steps"),
        (["drop", "a", "--out", "c", "--longer-than", "7"], "a: no episode fits: there is nothing to drop"),
        (["split", "a", "--out-dir", "s", "--fractions", "1"], "each above 0 and below 1"),
        (["relabel", "a", "--in-place", "--meta", "success=false"], "use --success"),
        (
            ["relabel", "a", "--in-place", "--meta", "x={bad"],
            "--meta x={bad: begins as JSON does and is none",
        ),
        (["relabel", "a", "--in-place", "--meta", 'x="bad'], "begins as JSON does and is none"),
        (["relabel", "a", "--out=", "--success", "true"], "--out= needs a path or value"),
        (["repair", ""], "word 3 of the command is empty: give a path or value"),
        (["relabel", "a", "--success", "true"], "relabel needs either --out FOLDER or --in-place"),
        (["relabel", "a", "--out", "c", "--in-place"], "relabel needs either --out FOLDER or --in-place"),
        (["relabel", "a", "--in-place", "--success", "yes"], "--success yes: valid: true, false"),
        (["relabel", "a", "--in-place", "--source", "human"], "cannot change --in-place"),
        (["stats", "nowhere"], "nowhere: no such dataset folder"),
        (["repair", "nowhere"], "nowhere: no such dataset folder"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(arguments, words, tmp_path, capsys):
    before = files(tmp_path)
    assert data(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert files(tmp_path) == before
