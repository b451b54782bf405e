"""What is found of an arm and of cameras before a deployment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from arm_makers import PEERS
from jointed_arm import JointedArm

from robofb.config import compose
from robofb.deploy import doctor as looked
from robofb.deploy.arms.arm import ArmError, ArmState
from robofb.deploy.arms.ideal import HOME, IdealArm
from robofb.deploy.cameras import opencv
from robofb.deploy.doctor import DoctorConfig, doctor
from robofb.doctor import BROKEN, MISSING, OK, Finding
from robofb.errors import UserError

QUICK = ("seconds=0.3", "control_hz=20")
NO_JOINTS = "limits.joints=null"


def examined(monkeypatch: pytest.MonkeyPatch, arm: IdealArm, *words: str) -> dict[str, Finding]:
    """Return the findings of an arm that is made in place of a UR, by name, broken or not."""
    cfg = compose("deploy doctor", ["arm=ur", *QUICK, *words])
    made = looked.build
    monkeypatch.setattr(looked, "build", lambda node, *args: arm if node == cfg.arm else made(node, *args))
    return {finding.name: finding for finding in looked._look_at_arm(cfg)}


def test_a_sound_arm_is_found_sound_and_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = IdealArm(force_n=(0.0, 3.0, 4.0))
    found = examined(monkeypatch, arm, NO_JOINTS)
    assert {finding.status for finding in found.values()} == {OK}
    assert arm.commands == [] and found["force"].detail == "5.0 N"
    assert "at [0.480, 0.000, 0.220] m, tilted by 0.00 rad" in found["tool"].detail


def test_joints_that_have_no_room_or_are_not_the_arms_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above its table a UR5e's elbow is bent by 1.9 rad, of which it may have 3.14 - 0.1."""
    joints = examined(monkeypatch, JointedArm())["joints"]
    assert joints.status == OK and "joint_pos_2 has 1." in joints.detail
    for word, says in (
        ("limits.joints.high_rad.2=1.5", "joint_pos_2 has -0."),
        ("limits.joints.least_singular=0.5", "least singular value 0.2"),
    ):
        found = examined(monkeypatch, JointedArm(), word)
        assert found["joints"].status == BROKEN and says in found["joints"].detail
    found = examined(monkeypatch, IdealArm())
    assert found["joints"].status == BROKEN and "0 joints, limits.joints has 6" in found["joints"].detail
    assert examined(monkeypatch, IdealArm(), NO_JOINTS)["joints"].detail == "it says none"


def test_it_moves_a_little_only_where_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = IdealArm()
    found = examined(monkeypatch, arm, "move=true", NO_JOINTS)
    assert found["motion"].status == OK and "went up 10.0 mm of 10" in found["motion"].detail
    heights = [target.pose.position_m[2] for target in arm.commands]
    assert max(heights) == pytest.approx(HOME.position_m[2] + 0.01, abs=1e-4) and arm.stops == 1


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        (IdealArm(fault="a reflex"), "fault"),
        (IdealArm(pose=HOME._replace(position_m=(0.9, 0.0, 0.2))), "tool"),
        (IdealArm(home=HOME._replace(turn=(1.0, 0.0, 0.0, 0.0))), "home"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_moves(
    monkeypatch: pytest.MonkeyPatch, arm: IdealArm, name: str
) -> None:
    found = examined(monkeypatch, arm, "move=true", NO_JOINTS)
    assert [each for each, finding in found.items() if finding.status == BROKEN] == [name]
    assert "motion" not in found and arm.commands == [] and found[name].fix


def test_an_arm_whose_stamp_stands_still_has_neither_stream_nor_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = examined(monkeypatch, IdealArm(frozen=True), NO_JOINTS)
    assert [each for each, finding in found.items() if finding.status == BROKEN] == ["stream", "clock"]
    assert found["clock"].detail == "it stands still"


@dataclass
class ClockedArm(IdealArm):
    """An ideal arm that stamps by a clock of its own, in seconds, which runs fast and is set back.

    Attributes:
        rate: its seconds in one of this machine's.
        set_back_s: at every third state.
    """

    rate: float = 1.0
    set_back_s: float = 0.0

    def state(self) -> ArmState:
        state = super().state()
        set_back_s = self.set_back_s * (state.stamp // 3)
        return replace(state, stamp=self.rate * state.received_s - set_back_s)


@pytest.mark.parametrize(
    ("arm", "status", "detail"),
    [
        (ClockedArm(), OK, "it gains 0.000 % (+- 0.000)"),
        (ClockedArm(rate=1.05), BROKEN, "it gains 5.000 % (+- 0.000)"),
        (ClockedArm(rate=0.9), BROKEN, "it gains -10.000 %"),
        (ClockedArm(set_back_s=2.0), BROKEN, "it steps back"),
        (IdealArm(), OK, "it counts what it sends, and tells no time"),
    ],
)
def test_the_clock_of_an_arm_is_held_against_this_machines(
    monkeypatch: pytest.MonkeyPatch, arm: IdealArm, status: str, detail: str
) -> None:
    clock = examined(monkeypatch, arm)["clock"]
    assert clock.status == status and clock.detail.startswith(detail)


def test_an_arm_that_does_nothing_is_no_arm_to_deploy_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(monkeypatch, IdealArm(stuck=True), "move=true", NO_JOINTS)
    assert found["motion"].status == BROKEN and "went up 0.0 mm" in found["motion"].detail


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things is no fault."""
    monkeypatch.setattr(looked, "late_wakes", lambda hz, seconds: [0.001])


def test_a_camera_is_looked_at_and_a_broken_one_ends_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["task=one_leg_insert", "camera=synthetic", *QUICK]
    found = doctor(compose("deploy doctor", words))
    (camera,) = [finding for finding in found if finding.name == "camera front"]
    assert camera.detail.startswith("640 x 480, ") and camera.detail.endswith(", 0 repeated")
    assert "camera front clock" in {finding.name for finding in found}
    with pytest.raises(UserError, match="not fit for deployment: camera front"):
        doctor(compose("deploy doctor", [*words, "cameras.front.lose_at=3"]))
    assert "Broken: camera front" in capsys.readouterr().out


def test_cameras_of_a_simulated_scene_are_looked_at_without_a_policy() -> None:
    words = ["task=one_leg_insert", "camera=sim", *QUICK]
    found = {finding.name: finding.detail for finding in doctor(compose("deploy doctor", words))}
    assert "can render" in found["camera front"] and "can render" in found["camera wrist"]
    with pytest.raises(UserError, match="not fit for deployment: camera wrist"):
        doctor(compose("deploy doctor", [*words, "cameras.wrist.task=null"]))


def test_a_machine_that_wakes_late_is_not_fit_for_an_arm_by_the_clock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A simulated arm in simulated time waits for it."""
    monkeypatch.setattr(looked, "late_wakes", lambda hz, seconds: [0.03])
    words = ["task=one_leg_insert", *QUICK]
    assert "pace" not in {finding.name for finding in doctor(compose("deploy doctor", words))}
    with pytest.raises(UserError, match="not fit for deployment: pace"):
        doctor(compose("deploy doctor", [*words, "realtime=true"]))
    assert "20 times a second: wakes 30.00 ms late, p99 30.00, worst 30.00" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["1e18", "1e-320", "0", "nan"])
def test_a_pace_that_no_machine_keeps_is_refused(word: str) -> None:
    with pytest.raises(UserError, match="control_hz=.*: needs 10 to 1000"):
        compose("deploy doctor", [f"control_hz={word}"])


@pytest.mark.parametrize("word", ["1e18", "61", "0", "-1", "nan", "inf"])
def test_a_look_takes_neither_nothing_nor_for_ever(word: str) -> None:
    with pytest.raises(UserError, match="seconds=.*: needs 0.1 to 60"):
        compose("deploy doctor", [f"seconds={word}"])


def test_a_misspelt_camera_is_refused() -> None:
    with pytest.raises(UserError, match="camera=foo: no such camera; valid: file, http, opencv,"):
        compose("deploy doctor", ["camera=foo"])


def test_a_simulated_arm_needs_a_task() -> None:
    with pytest.raises(UserError, match="needs a task"):
        doctor(compose("deploy doctor", []))


@pytest.mark.parametrize("source", ["2", "/dev/video2"])
def test_a_camera_that_goes_by_a_number_is_told_its_lasting_name(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(opencv, "BY_ID", tmp_path)
    (finding,) = named(source)
    assert finding.status == MISSING and f"source={source} is a number" in finding.detail
    assert "has none that stays" in finding.fix
    (tmp_path / "usb-Other-video-index0").symlink_to("/dev/video0")
    (tmp_path / "usb-Own-video-index0").symlink_to("/dev/video2")
    (finding,) = named(source)
    assert finding.fix == f"say cameras.front.source={tmp_path}/usb-Own-video-index0"


@pytest.mark.parametrize("word", ["camera=opencv cameras.front.source=/dev/v4l/by-id/it", "camera=synthetic"])
def test_a_name_that_stays_is_not_spoken_of(word: str) -> None:
    cfg = compose("deploy doctor", ["arm=ur", *QUICK, *word.split()])
    found = {finding.name for finding in looked._look_at_camera(cfg, "front")}
    assert "camera front" in found and "camera front name" not in found


def named(source: str) -> list[Finding]:
    """Return what is said of the name of a camera that is not there."""
    cfg = compose("deploy doctor", ["arm=ur", *QUICK, "camera=opencv", f"cameras.front.source={source}"])
    return [each for each in looked._look_at_camera(cfg, "front") if each.name == "camera front name"]


@pytest.mark.parametrize("name", sorted(PEERS))
def test_every_arm_goes_up_and_back_where_one_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Finding("peer", OK, "late where the machine has other things to do")
    monkeypatch.setattr(looked, "clock_finding", lambda *_: busy)
    monkeypatch.setattr(looked, "latency_finding", lambda *_: busy)
    with PEERS[name]() as (cfg, orders):
        watch = {**cfg.watch, "stale_s": 5.0}  # on a busy machine all halt
        found = doctor(DoctorConfig(cfg.arm, cfg.limits, watch, control_hz=20.0, seconds=1.0, move=True))
        assert orders() > 0
    (motion,) = [finding for finding in found if finding.name == "motion"]
    assert motion.status == OK and motion.detail.startswith("went up ")


def test_why_an_arm_takes_no_orders_is_said_beside_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = IdealArm()
    monkeypatch.setattr(arm, "enable", _refuse)
    found = examined(monkeypatch, arm, "move=true", NO_JOINTS)
    assert [name for name, finding in found.items() if finding.status == BROKEN] == ["motion"]
    assert found["link"].status == OK and found["motion"].detail == "it is under local control"


def _refuse() -> None:
    raise ArmError("it is under local control")
