"""`robofb deploy`, with the task itself as the arm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deployed_example import write_deployed
from residual_example import save_residual_run

from robofb.config import compose
from robofb.deploy.live.conductor import LEFT, Ended
from robofb.deploy.live.deployment import _figures
from robofb.deploy.live.session import LiveSession, Outcome
from robofb.deploy.run_policy import deploy
from robofb.errors import UserError
from robofb.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return save_residual_run(tmp_path_factory.mktemp("deployed") / "run")


def test_it_tells_what_became_of_every_episode(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody trained this policy: its 6D rotations are none, and the third chunk of them ends an episode."""
    found = deploy(compose("deploy", [f"run={run.path}", "episodes=2", "arm.parts=4"]))
    facts = run.summary()["deploy"]
    assert (facts["successes"], facts["episodes"]) == (0, 2) == (sum(found.success), len(found.success))
    assert facts["task"] == "one_leg_insert" and facts["mean_steps"] == sum(found.steps) / 2
    assert facts["counts"]["stop"] == 2 and "passed" not in facts["counts"]
    assert all(why.startswith("fault: 3 chunks in a row refused: 6D rotation") for why in facts["gave_up"])
    lines = (run.path / "deployments.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == facts
    said = capsys.readouterr().out
    assert said.startswith("success 0.0 % (0/2")
    assert all(f"{name}: {count}" in said for name, count in facts["counts"].items())


def test_narrow_limits_are_kept(run: Run) -> None:
    """Whoever starts outside the box is not armed; the run is told so for each episode."""
    words = [f"run={run.path}", "episodes=2", "limits.low_m=[0.2,-0.45,0.5]"]
    found = deploy(compose("deploy", words))
    assert found.steps == [0, 0] and all("bring it inside by hand" in why for why in found.ended)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["limits.low_m=[0.9,0,0]"], "must lie below high_m"),
        (["limits.low_n=[0,0,0]"], "limits has no key 'low_n'"),
        (["arm=robot"], "robot"),
        (["arm=ur", "control_hz=1e18"], "control_hz=1e+18: needs 10 to 1000"),
        (["camera=foo"], "camera=foo: no such camera; valid: file, http, opencv,"),
        (["realtime=true", "teleop=foo"], "teleop=foo: no such teleop; valid: auto, gamepad,"),
        (
            ["realtime=true", "attended=true", "teleop=scripted"],
            "teleop=scripted: no such teleop",
        ),
        (["teleop=gamepad"], "teleop: needs realtime=true"),
        (["camera=synthetic"], "camera: needs realtime=true"),
        (["rate=20"], "acts 10 times a second"),
        (["arm.parts=5"], "parts=5: must divide the 12 steps of physics"),
        (["latency_s=-1"], "latency_s"),
        (["fade_s=1e308"], "fade_s=1e+308: needs 0 to 10"),
        (["patience_s=0"], "patience_s=0"),
        (["data=x"], "data=x: needs realtime=true"),
        (["page=true"], "page=true: needs realtime=true"),
        (["realtime=true", "latency_s=0.1"], "latency_s=0.1: only simulated time has one"),
        (["realtime=true", "dry=true"], "a simulated arm needs no protection"),
        (["realtime=true", "camera=synthetic"], "cameras none; here are front: leave camera= out"),
        (["realtime=true", "attended=true"], "needs a terminal"),
        (["arm=ur", "realtime=false"], "only a simulated arm waits"),
        (["arm=ur", "attended=false"], "which no arm says"),
        (["task=grid_navi"], "brings its own simulator"),
        (["task=peg_hole"], "one_leg_insert"),
    ],
)
def test_bad_words_are_refused_in_one_line(run: Run, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        deploy(compose("deploy", [f"run={run.path}", *words]))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_dataset_of_something_else_is_refused_before_any_process_begins(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"run={run.path}", "realtime=true", "attended=false", f"data={tmp_path / 'data'}"]
    monkeypatch.setattr(LiveSession, "run", _begun)
    with pytest.raises(AssertionError, match="begun"):
        deploy(compose("deploy", words))
    assert not (tmp_path / "data").exists()  # it could be made there
    write_deployed(tmp_path / "data")
    with pytest.raises(UserError, match="holds task 'line', not 'one_leg_insert'"):
        deploy(compose("deploy", words))


def _begun(session: LiveSession) -> None:
    raise AssertionError("begun")


def test_an_episode_that_a_person_left_in_is_in_no_figure() -> None:
    labels = (("success", "a person", 7), ("aborted", LEFT, 3), ("discarded", "a person", 2))
    ended = [Ended(number, 0, *label) for number, label in enumerate(labels)]
    assert _figures(Outcome([*ended, Ended(3, 0, "aborted", "the link", 5)])) == (
        [True, False],
        [7, 5],
        ["aborted: the link"],
        {},
    )


def test_only_arms_are_driven(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {"task": {}}, "agents") as other:
        pass
    with pytest.raises(UserError, match="is an agents run; those that can be evaluated"):
        deploy(compose("deploy", [f"run={other.path}"]))
