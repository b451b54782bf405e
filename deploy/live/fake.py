"""Parts of a deployment that write down what they are sent and err on request: for tests and endurance runs.

They travel to processes, and are told what to do there by files in a folder: `say`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from robofb.deploy.arms.arm import ArmState, ArmTarget
from robofb.deploy.arms.ideal import HOME, IdealArm
from robofb.deploy.cameras.camera import CameraLostError, Frame
from robofb.deploy.cameras.synthetic import SyntheticCamera
from robofb.deploy.limits import Limits
from robofb.deploy.live.arm_process import ArmSetup
from robofb.deploy.live.bench import SEEN, RealBench, arm_spec, image_specs
from robofb.deploy.live.device_processes import CameraSetup, TeleopSetup
from robofb.deploy.live.draft import recorded_spec
from robofb.deploy.live.policy_process import PolicySetup, PolicySource
from robofb.deploy.live.recorder_process import RecordSetup
from robofb.deploy.live.session import Parts
from robofb.deploy.pose import columns_of
from robofb.deploy.ring import Ring
from robofb.deploy.watch import Watch
from robofb.errors import DeviceLostError
from robofb.types import Obs, TeleopCommand

HZ, STEP_S, CHUNK = 50.0, 0.1, 8
DAWDLE_S = 2.0
SPEC = arm_spec("line", Limits(), {}, STEP_S, max_steps=1000)
SENT = np.dtype([("wall_s", "f8"), ("position", "f8", (3,)), ("turn", "f8", (4,)), ("gripper", "f8")])


def say(folder: Path, word: str) -> None:
    """Tell the parts in other processes something; it holds until `unsay`."""
    (folder / word).touch()


def unsay(folder: Path, word: str) -> None:
    """Take it back, where it is said."""
    (folder / word).unlink(missing_ok=True)


@dataclass
class WrittenArm(IdealArm):
    """An ideal arm that appends every command to a file, and has the faults that `say` gives it.

    Where it `coasts` it goes on by itself, whichever process looks, until one stops it that has enabled it.

    Attributes:
        folder: of the file `sent` and of what was said: lost, frozen, reflex, dawdle, coasts, deaf.
    """

    folder: Path = field(default_factory=Path)
    enabled: bool = False

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)  # a config says it in words

    def connect(self) -> None:
        """Refuse while nobody answers."""
        self._listen()
        if self.lost:
            self._dawdle()
            super().state()

    def enable(self) -> None:
        """Take orders from now on."""
        self.enabled = True

    def recover(self) -> None:
        """Clear the fault, where it is no longer said."""
        self._dawdle()
        super().recover()

    def state(self) -> ArmState:
        """Return it, with the faults of now."""
        self._listen()
        state = super().state()
        if (self.folder / "coasts").exists() and np.isfinite(sent_to(self.folder)["wall_s"][-1:]).all():
            x, y, _ = state.pose.position_m
            return replace(state, pose=state.pose._replace(position_m=(x, y, state.received_s % 1.0)))
        return state

    def command(self, target: ArmTarget) -> ArmTarget:
        """Write it down."""
        sent = super().command(target)
        self.commands.clear()
        row = np.array([(time.monotonic(), target.pose.position_m, target.pose.turn, target.gripper)], SENT)
        with (self.folder / "sent").open("ab") as file:
            file.write(row.tobytes())
        return sent

    def stop(self) -> None:
        """Write it down too, as a row of NaN: what was sent before it and after it do not hang together."""
        if not self.enabled or (self.folder / "deaf").exists():
            return
        with (self.folder / "sent").open("ab") as file:
            file.write(np.full(SENT.itemsize // 8, np.nan).tobytes())

    def _dawdle(self) -> None:
        """Take longer than a process may show no life, and count how often that was done."""
        if (self.folder / "dawdle").exists():
            time.sleep(DAWDLE_S)
            with (self.folder / "dawdled").open("a") as file:
                file.write(".")

    def _listen(self) -> None:
        self.lost, self.frozen = (self.folder / "lost").exists(), (self.folder / "frozen").exists()
        if (self.folder / "reflex").exists():
            self.fault = "a reflex"


def sent_to(folder: Path) -> np.ndarray:
    """Return the commands that the arm got, of dtype `SENT`; NaN where it was stopped."""
    file = folder / "sent"
    data = file.read_bytes() if file.is_file() else b""
    return np.frombuffer(data[: len(data) // SENT.itemsize * SENT.itemsize], SENT)


def num_stops(folder: Path) -> int:
    """Return how often the arm was stopped."""
    return int(np.isnan(sent_to(folder)["wall_s"]).sum())


@dataclass(frozen=True)
class WrittenPlace:
    """Makes the bench of a `WrittenArm`."""

    folder: Path
    hz: float = HZ

    def make(self) -> RealBench:
        """Return it."""
        return RealBench(WrittenArm(folder=self.folder), self.hz, SEEN)


@dataclass
class LinePlans:
    """Go to and fro along y, 1 cm a step, from where the tool was seen; misbehaves as `say` tells it.

    Attributes:
        folder: of what was said: nan, jump, far, text, slow, die.
    """

    folder: Path
    steps: int = 0

    def begin(self, seed: int) -> None:
        """Start anew."""
        self.steps = 0

    def skip(self) -> None:
        """Nothing hangs on a step."""

    def plan(self, obs: Obs) -> Any:
        """Return a chunk (8, 10)."""
        self.steps += 1
        if (self.folder / "die").exists():
            raise RuntimeError("told to die")
        if (self.folder / "slow").exists():
            time.sleep(0.25)
        if (self.folder / "text").exists():
            return "left"
        x, y, z = obs["state"][0, :3].tolist()
        first, second, _ = columns_of(HOME.turn)
        way = 0.01 if (self.steps // 10) % 2 == 0 else -0.01
        rows = [[x, y + way * number, z, *first, *second, -1.0] for number in range(1, CHUNK + 1)]
        chunk = np.array(rows)
        if (self.folder / "nan").exists():
            chunk[3, 1] = np.nan
        if (self.folder / "jump").exists():
            chunk[:, 0] += 0.3
        if (self.folder / "far").exists():
            chunk[:, 2] = -0.2
        return chunk


@dataclass(frozen=True)
class LinePolicy:
    """Makes `LinePlans`."""

    folder: Path

    def make(self) -> LinePlans:
        """Return them."""
        return LinePlans(self.folder)


@dataclass(frozen=True)
class FullRecordSetup(RecordSetup):
    """A recorder whose disk is full by the first episode: no file may grow beyond some bytes from then on."""

    def opened(self) -> None:
        """Set the limit, in the recorder's process."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


@dataclass(frozen=True)
class SaidCameraSetup(CameraSetup):
    """A camera whose pictures stop, or repeat, while `say` tells it: blind, repeating."""

    folder: Path = field(default_factory=Path)

    def make(self, scene: Ring) -> SaidCamera:
        """Return it."""
        return SaidCamera(self.name, self.folder)


class SaidCamera(SyntheticCamera):
    """See `SaidCameraSetup`. Satisfies `cameras.camera.Camera`."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, height=48, width=64)
        self._folder = folder
        self._shown: Frame | None = None

    def read(self) -> Frame:
        """Return the next picture."""
        frame = super().read()
        if (self._folder / "blind").exists():
            raise CameraLostError("told to be blind")
        if self._shown is not None and (self._folder / "repeating").exists():
            frame = self._shown._replace(captured_s=frame.captured_s, sequence=frame.sequence)
        self._shown = frame
        return frame


def line_parts(
    folder: Path,
    *,
    data: Path | None = None,
    recorder_kind: type[RecordSetup] = RecordSetup,
    source: PolicySource | None = None,
    hz: float = HZ,
    arm_hung_s: float = 20.0,
    alone_s: float = 20.0,
    **more: Any,
) -> Parts:
    """Return a deployment of the line policy (or another) on the written arm, told by files in `folder`."""
    arm = ArmSetup(WrittenPlace(folder, hz), Limits(), Watch(alone_s=alone_s), STEP_S, patience_s=1.0)
    cameras: Mapping[str, CameraSetup] = more.get("cameras", {})
    pictures = image_specs({name: (each.height, each.width) for name, each in cameras.items()})
    spec = recorded_spec(SPEC.with_obs({**SPEC.obs, **pictures}))
    recorder = None if data is None else recorder_kind(data, spec, {}, {"robot": "written"})
    policy = PolicySetup(source or LinePolicy(folder), STEP_S, tuple(cameras))
    return Parts(arm, policy, len(SEEN), recorder=recorder, arm_hung_s=arm_hung_s, **more)


@dataclass(frozen=True)
class SaidTeleopSetup(TeleopSetup):
    """A device that says what `say` tells it: held (and pushing upwards), gone; silent else."""

    folder: Path = field(default_factory=Path)

    def make(self) -> SaidTeleop:
        """Return it."""
        return SaidTeleop(self.folder)


@dataclass
class SaidTeleop:
    """See `SaidTeleopSetup`. Satisfies `interfaces.Teleop`."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)  # a config says it in words

    def connect(self) -> None:
        """Open nothing."""

    def read(self) -> TeleopCommand:
        """Return what is said now."""
        if (self.folder / "gone").exists():
            raise DeviceLostError("told to be gone")
        held = (self.folder / "held").exists()
        return TeleopCommand(np.array([0, 0, 0.05 * held, 0, 0, 0]), 0.0, held)

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Close nothing."""
