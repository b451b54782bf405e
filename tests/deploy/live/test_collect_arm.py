"""Demonstrations on an arm, from the user's words to a policy that the arm's deployment takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_parts import Script, say, sent_to, unsay
from omegaconf import OmegaConf

from robofb.config import compose
from robofb.deploy import collect_arm
from robofb.deploy.arms.ideal import HOME
from robofb.deploy.collect_arm import collect_on_arm, settings_of, spec_of
from robofb.deploy.live import deployment
from robofb.deploy.live.bench import SEEN
from robofb.deploy.live.draft import FACTS, PLAN, recorded_spec
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import UserError
from robofb.loading import load_policy
from robofb.sim.record import Collected
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows
from robofb.train.bc import train
from robofb.types import SOURCE_HUMAN, SOURCE_INTERVENTION

PATIENCE_S = 150.0  # on a machine with other things to do
Line = tuple[Callable[[dict[str, str]], bool], Any]


def words(data: Path, *more: str) -> list[str]:
    """Return what a user says."""
    devices = ["arm=franka", "limits.joints=null", "teleop=gamepad", "camera=synthetic", "image_size=[24,32]"]
    return [*devices, f"out={data}", "episodes=2", "control_hz=50", "abort_s=20", "watch.alone_s=20", *more]


def config(folder: Path, *said: str) -> Any:
    """Return the config, with devices that `live_parts.say` tells what to do."""
    cfg = compose("collect", said)
    if not cfg.simulated:
        cfg.arm = {"_target_": "robofb.deploy.live.fake.WrittenArm", "folder": str(folder)}
    if cfg.teleop:
        cfg.teleop = {"_target_": "robofb.deploy.live.fake.SaidTeleop", "folder": str(folder)}
    return cfg


def waiting(status: dict[str, str]) -> bool:
    return status["session"] == "waiting for a start"


def running(status: dict[str, str]) -> bool:
    return status["session"] == "running"


def arm_is(mode: str, steps: int = 0) -> Callable[[dict[str, str]], bool]:
    return lambda status: running(status) and status["arm"] == mode and int(status["steps"]) >= steps


def attempt(folder: Path, steps: int, end: str) -> list[Line]:
    """Begin, push upwards for so many steps, let go, and judge."""
    return [
        (waiting, "start"),
        (arm_is("ready"), lambda: say(folder, "held")),
        (arm_is("human", steps), lambda: unsay(folder, "held")),
        (arm_is("hold"), end),
    ]


def collect(folder: Path, script: Script, *said: str) -> Collected:
    """Do what the command does, with a script at the terminal."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Nobody", "Console"):
            patch.setattr(deployment, name, lambda: script)
        make = collect_arm.parts_of
        patch.setattr(collect_arm, "parts_of", lambda *args: replace(make(*args), arm_hung_s=20.0))
        return collect_on_arm(config(folder, *said))


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Collected]:
    """Folder, dataset and outcome of a session of three attempts; the second fails."""
    folder = tmp_path_factory.mktemp("collected")
    again = [
        (arm_is("hold"), lambda: say(folder, "held")),
        (arm_is("human", 9), lambda: unsay(folder, "held")),
    ]
    first = attempt(folder, 5, "success")
    script = Script(
        [
            *first[:-1],
            *again,
            first[-1],
            *attempt(folder, 3, "failure"),
            *attempt(folder, 4, "success"),
        ],
        PATIENCE_S,
    )
    return folder, folder / "data", collect(folder, script, *words(folder / "data"))


def test_what_a_person_does_is_recorded_as_it_was_commanded(
    collected: tuple[Path, Path, Collected],
) -> None:
    folder, data, outcome = collected
    assert (outcome.kept, outcome.discarded, outcome.total) == (2, 1, 2)
    positions_m = sent_to(folder)["position"]
    with EpisodeStore.open(data) as store:
        assert store.spec == spec_of(config(folder, *words(data))) and store.meta["arm"] == "fake"
        state, action = store.spec.obs["state"], store.spec.action
        assert state.names == SEEN and "N" in state.unit and action.names == ACTION_NAMES
        assert action.low is not None and action.low[:3] == (0.3, -0.3, 0.02)
        assert store.spec.control_dt == 0.1 and set(store.spec.obs) == {"state", "image_front"}
        assert len(store) == 2
        for episode, least in zip(store, (4, 2), strict=True):
            assert least <= len(episode) and episode.success and episode.reward.sum() == 1.0
            assert (episode.source == SOURCE_HUMAN).all()
            assert episode.meta["label"] == "success" and episode.meta["teleop"] == "fake"
            assert episode.meta["cameras"] == {"front": {"kind": "SyntheticCamera", "source": "test picture"}}
            np.testing.assert_allclose(episode.obs["state"][0, :3], HOME.position_m, atol=0.01)
            rise_m = episode.action[-1, 2] - HOME.position_m[2]
            assert rise_m > 0.003 and (np.diff(episode.action[:, 2]) > -1e-6).all()  # upwards alone
            for commanded in episode.action:
                assert np.nanmin(np.abs(positions_m - commanded[:3]).max(1)) < 1e-6
            assert episode.obs["image_front"].shape == (len(episode) + 1, 3, 24, 32)


def test_a_dataset_is_continued_where_the_settings_agree(collected: tuple[Path, Path, Collected]) -> None:
    folder, data, _ = collected
    nobody = Script([(lambda status: True, "it must not begin")])
    outcome = collect(folder, nobody, *words(data))
    assert (outcome.kept, outcome.discarded, outcome.total) == (0, 0, 2) and nobody.seen == []
    for word, message in (
        ("name=stack", "holds task 'real', not 'stack'"),
        ("rate=5", "control_dt 0.1 s, not 0.2 s"),
        ("~cameras.front", r"holds observations \['image_front', 'state'\]"),
        ("limits.high_m=[0.6,0.3,0.5]", r"holds high_m \[0.65, .* choose another folder"),
    ):
        with pytest.raises(UserError, match=message):
            collect(folder, nobody, *words(data, word, "episodes=9"))
    cfg = config(folder, *words(data, "episodes=9"))
    cfg.arm = {"_target_": "robofb.deploy.arms.ideal.IdealArm"}
    with pytest.raises(UserError, match="holds arm fake, not ideal: choose another folder"):
        collect_on_arm(cfg)


def test_an_arm_that_lacks_a_setting_is_refused_before_any_process_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_arm, "run_session", lambda *_: pytest.fail("it must not begin"))
    cfg = compose("collect_arm", ["arm=so101", "teleop=web", f"out={tmp_path / 'data'}"])
    with pytest.raises(UserError, match="^arm: joints.shoulder_pan.homing_offset=None: needs"):
        collect_on_arm(cfg)
    assert not list(tmp_path.iterdir())


def trained(data: str, out: Path, *more: str) -> Any:
    size = ["steps=3", "batch_size=8", "validation_fraction=0", "threads=1", "policy.denoiser.width=16"]
    return train(compose("train_bc", [f"data={data}", "task=null", f"out={out}", *size, *more]))


def test_the_arms_deployment_takes_what_was_trained_on_it(
    collected: tuple[Path, Path, Collected], tmp_path: Path
) -> None:
    run = trained(str(collected[1]), tmp_path / "run")
    spec = load_policy(run).spec
    assert set(spec.obs) == {"state"} and spec.task == "real"
    parts = deployment.parts_of(
        compose("deploy", [f"run={run.path}", "arm=franka", "limits.joints=null"]), run.path, spec
    )
    assert parts.num_state == len(SEEN) and parts.arm.action_dt_s == 0.1


def test_demonstrations_and_deployments_are_trained_on_together(
    collected: tuple[Path, Path, Collected], tmp_path: Path
) -> None:
    """What only a deployment holds stands in nobody's way; a person's corrections count twice."""
    deployed = tmp_path / "deployed"
    with EpisodeStore.open(collected[1]) as demonstrations:
        spec = recorded_spec(demonstrations.spec)
        with EpisodeStore.create(deployed, spec) as store:
            for episode in demonstrations:
                rows = len(episode) + 1
                more = {
                    key: np.zeros((rows, *spec.obs[key].shape), spec.obs[key].dtype) for key in (PLAN, FACTS)
                }
                source = np.full(len(episode), SOURCE_INTERVENTION, np.uint8)
                store.append(replace(episode, obs={**episode.obs, **more}, source=source))
    for number, folders in enumerate(((collected[1], deployed), (deployed, collected[1]))):
        data = f"[{','.join(map(str, folders))}]"
        run = trained(data, tmp_path / str(number), "source_weights.intervention=2", "steps=200")
        drawn = run.summary()["bc_training"]["drawn"]["by_source"]
        assert sum(drawn.values()) == 1600
        assert drawn["intervention"] / 1600 == pytest.approx(2 / 3, abs=0.06)


def test_a_dataset_without_what_the_policy_sees_is_refused(
    collected: tuple[Path, Path, Collected], tmp_path: Path
) -> None:
    with (
        EpisodeStore.open(collected[1]) as full,
        EpisodeStore.create(tmp_path / "blind", full.spec.only(["state"])) as blind,
    ):
        for episode in full:
            blind.append(replace(episode, obs={"state": episode.obs["state"]}))
        sizes: dict[str, Any] = {"obs_history": 1, "horizon": 4}
        assert len(Windows([full, blind], obs_keys=("state",), **sizes)) == 2 * len(Windows(full, **sizes))
        with pytest.raises(UserError, match=r"blind holds observations \['state'\], not \['image_front'"):
            Windows([full, blind], obs_keys=("state", "image_front"), **sizes)


def test_a_simulated_arm_goes_by_its_task(tmp_path: Path) -> None:
    said = ["arm=sim", "task=one_leg_insert", "teleop=gamepad", f"out={tmp_path / 'data'}", "episodes=1"]
    said += ["camera=sim", "image_size=[24,32]", "abort_s=20"]
    outcome = collect(tmp_path, Script(attempt(tmp_path, 4, "success"), PATIENCE_S), *said)
    assert (outcome.kept, outcome.total) == (1, 1)
    with EpisodeStore.open(tmp_path / "data") as store:
        assert store.spec.task == "one_leg_insert" and store.meta["randomness"] == "low"
        state = store.spec.obs["state"]
        episode = store[0]
        height = episode.obs["state"][:, state.names.index("ee_pos_base_z")]
        assert height[-1] > height[0] and (episode.source == SOURCE_HUMAN).all()
        for name in ("front", "wrist"):
            images = episode.obs[f"image_{name}"]
            assert images.shape == (len(episode) + 1, 3, 24, 32) and images.std() > 10
            assert (images[0] != images[-1]).any()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (["arm=ur"], "teleop=null: a person must drive the arm"),
        (["arm=ur", "teleop=scripted"], "teleop=scripted: no such teleop; valid: auto, gamepad, keyboard,"),
        (["arm=ur", "teleop=foo"], "teleop=foo: no such teleop; valid: auto, gamepad,"),
        (["arm=ur", "camera=foo"], "camera=foo: no such camera; valid: file, http, opencv,"),
        (["arm=sim", "teleop=gamepad"], "task=null: a simulated arm needs a task"),
        (["arm=ur", "task=one_leg_insert", "teleop=gamepad"], "say what is demonstrated by name="),
        (["arm=sim", "task=one_leg_insert", "teleop=gamepad", "rate=5"], "rate=5.0: a simulated arm takes"),
        (["arm=sim", "task=one_leg_insert", "teleop=gamepad", "name=x"], "name=x: a simulated arm takes"),
        (["arm=sim", "task=grid_navi", "teleop=gamepad"], "task grid_navi cannot be driven by hand"),
        (["arm=ur", "rate=0"], "rate=0.0: needs 0.1 to 100"),
        (["arm=ur", "rate=1e-9"], "rate=1e-09: needs 0.1 to 100"),
        (["arm=ur", "control_hz=1e308"], "control_hz=1e+308: needs 10 to 1000"),
        (["arm=ur", "control_hz=1e-320"], "needs 10 to 1000"),
        (
            ["arm=ur", "teleop=gamepad", "control_hz=25"],
            "control_hz=25: a control step of 0.1 s",
        ),
        (["arm=ur", "image_size=[0,0]"], "image_size=[0, 0]: needs 1 to 4096 pixels each"),
        (["arm=ur", "image_size=[24]"], r"image_size=[24]: needs [height,width]"),
        (["arm=ur", "num_envs=4"], "collect arm has no key 'num_envs'"),
        (["arm=ur", "cameras=[front]"], "cameras=[front]"),
        (["arm=ur", "cameras=front"], "cameras=front: on an arm say camera=..."),
        (["arm=ur", "camera=opencv", "cameras.front=null"], "cameras.front=None: no camera"),
        (["arm=urr"], "arm=urr: no such arm"),
    ],
)
def test_bad_words_are_refused_in_one_line(said: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        collect_on_arm(compose("collect", [*said, f"out={tmp_path / 'data'}"]))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_nothing_is_left_where_nothing_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new dataset is gone again where the arm does not answer; one that was there stays."""
    quits = Script([(lambda status: True, "quit")], PATIENCE_S)
    assert collect(tmp_path, quits, *words(tmp_path / "data")).total == 0
    assert not (tmp_path / "data").exists()

    def fail(*_: object) -> None:
        assert (tmp_path / "data").exists()
        raise UserError("the arm does not answer")

    monkeypatch.setattr(collect_arm, "run_session", fail)
    for is_there in (False, True):
        if is_there:
            (tmp_path / "data").mkdir()
        with pytest.raises(UserError, match="does not answer"):
            collect_on_arm(config(tmp_path, *words(tmp_path / "data")))
        assert (tmp_path / "data").exists() == is_there


def test_failures_are_kept_where_they_are_wanted(tmp_path: Path) -> None:
    for word, kept in (("false", ("success",)), ("true", ("success", "failure"))):
        cfg = config(tmp_path, *words(tmp_path / "data", f"failures={word}"))
        recorder = collect_arm.parts_of(cfg, spec_of(cfg), tmp_path).recorder
        assert recorder is not None and recorder.keeps == kept
        assert recorder.human_source == SOURCE_HUMAN and recorder.meta == settings_of(cfg)


def test_an_arm_among_the_words_means_the_other_config() -> None:
    simulated = compose("collect", ["cameras=[front]"])
    assert simulated.cameras == ["front"] and "arm" not in simulated
    on_arm = compose("collect", ["camera=opencv", "arm=ur", "teleop=gamepad"])
    assert set(on_arm.cameras) == {"front"} and on_arm == compose(
        "collect arm", ["camera=opencv", "arm=ur", "teleop=gamepad"]
    )
    assert OmegaConf.select(on_arm, "teleop.deadman") == 4
