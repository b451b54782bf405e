"""What the processes of a deployment tell one another, as plain numbers in shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from robofb.deploy.cameras.camera import Frame
from robofb.deploy.modes import Mode
from robofb.deploy.pose import Pose
from robofb.deploy.ring import Record, Ring
from robofb.deploy.safety import ACTION_DIM, BOX, GRIPPER, SPEED, TILT, TURN
from robofb.deploy.scene import SCENE

MOST_ACTIONS = 64
MOST_JOINTS = 8
TEXT = 160  # bytes of a reason
LAST_WORD = 400
SUPERVISOR = "supervisor"  # its beats are beside those of its processes
MODES = tuple(Mode)
VERDICTS = ("", "success", "failure")  # of the task itself
JUDGED = ("refused", BOX, TILT, SPEED, TURN, GRIPPER)
"""What the gate may say of a chunk: that it is refused, or what of it is clamped."""

BEAT = np.dtype([("at_s", "f8"), ("until_s", "f8"), ("word", f"S{LAST_WORD}")])
"""A process lives: when by `time.monotonic`, until when it is busy, and its last word where it gives up."""

PLAN = np.dtype(
    [
        ("epoch", "i8"),
        ("observed_s", "f8"),
        ("took_s", "f8"),
        ("count", "i4"),
        ("actions", "f4", (MOST_ACTIONS, ACTION_DIM)),
    ]
)
"""A chunk of a policy: `count` of the `actions` are some; -1 where it sent what is no such array."""

COMMAND = np.dtype(
    [("at_s", "f8"), ("twist", "f8", (6,)), ("gripper", "f8"), ("engaged", "u1"), ("event", "S16")]
)
"""What a person's device said."""

ORDER = np.dtype([("kind", "S8"), ("what", "S16"), ("episode", "i8"), ("seed", "i8"), ("reason", f"S{TEXT}")])
"""What the supervisor wants done: kind "ask" (what: an `Ask`), "begin", "end" (what: a label), "quit"."""

_SHOWN = [("sequence", "i8"), ("captured_s", "f8"), ("digest", "u8"), ("rendered", "u1")]

GLANCE = np.dtype([*_SHOWN, ("number", "i8")])
"""What a controller must know of a picture, and its number in the ring of pictures."""

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)

RECORDED = np.dtype([("episode", "i8"), ("saved", "u1"), ("word", f"S{TEXT}")])
"""What became of an episode's recording: why it was not saved, else where."""

WRITING = np.dtype([("episode", "i8"), ("number", "i8")])
"""An episode that the recorder begins to write, and the number that it gets in the dataset."""

COUNTS = np.dtype([("json", "S4000")])
"""What was clamped, refused and so on so far, as JSON."""


def tick_dtype(num_state: int, num_cameras: int = 0) -> np.dtype:
    """Return the type of what a controller says at each tick.

    Args:
        num_state: numbers that a policy sees beside pictures.
        num_cameras: whose pictures it tells of, in the order of `Addresses.frames`.
    """
    return np.dtype(
        [
            ("time_s", "f8"),  # of the arm's clock
            ("wall_s", "f8"),  # by time.monotonic
            ("compute_s", "f8"),
            ("mode", "u1"),  # index in MODES
            ("verdict", "u1"),  # index in VERDICTS
            ("is_step", "u1"),  # a control step begins here
            ("blind", "u1"),  # a camera shows nothing new for longer than a policy may drive
            ("linked", "u1"),  # the arm said where it is
            ("at_home", "u1"),
            ("at_rest", "u1"),
            ("epoch", "i8"),
            ("episode", "i8"),
            ("steps", "i8"),  # control steps of the episode in which the arm was driven
            ("gate", "i8", (3,)),  # chunks passed, of these clamped, and refused so far
            ("judged", "u1", (len(JUDGED),)),  # which of JUDGED holds of the newest chunk of a control step
            ("frames_age_s", "f8"),
            ("pictures", "i8", (num_cameras,)),  # numbers of the newest in the cameras' rings; 0 for none
            ("observed_s", "f8"),  # of the plan that is followed; NaN where there is none
            ("state", "f4", (num_state,)),
            ("pose", "f8", (8,)),  # measured: position, quaternion, gripper
            ("joints", "f8", (MOST_JOINTS,)),
            ("force", "f8", (3,)),
            ("sent", "f8", (8,)),  # as `pose`; NaN where nothing was
            ("reason", f"S{TEXT}"),
        ]
    )


class Order(NamedTuple):
    """One record for `ORDER`."""

    kind: str
    what: str = ""
    episode: int = -1
    seed: int = 0
    reason: str = ""


class Seen(NamedTuple):
    """What a conductor looks at of the newest tick."""

    mode: Mode
    verdict: str
    linked: bool
    at_home: bool
    at_rest: bool
    episode: int
    steps: int
    frames_age_s: float
    reason: str

    @classmethod
    def of(cls, tick: Record) -> Seen:
        """Read a record of `tick_dtype`."""
        value = tick.value
        return cls(
            MODES[int(value["mode"])],
            VERDICTS[int(value["verdict"])],
            bool(value["linked"]),
            bool(value["at_home"]),
            bool(value["at_rest"]),
            int(value["episode"]),
            int(value["steps"]),
            float(value["frames_age_s"]),
            said(bytes(value["reason"])),
        )


def frame_dtype(height: int, width: int) -> np.dtype:
    """Return the type of a picture, as a policy sees it, with what is known of it."""
    return np.dtype([*_SHOWN, ("image", "u1", (3, height, width))])


def frame_in(glance: Any, image: np.ndarray = _NO_IMAGE) -> Frame:
    """Return the frame that a record of dtype `GLANCE`, or one with its fields, tells of."""
    captured_s, sequence = float(glance["captured_s"]), int(glance["sequence"])
    return Frame(image, captured_s, sequence, int(glance["digest"]), bool(glance["rendered"]))


def text(value: str, most: int = TEXT) -> bytes:
    """Return what fits into a record of a reason."""
    return value.encode("utf-8", "replace")[:most]


def said(value: bytes) -> str:
    """Return a record's text; a character cut in two at its end is left out."""
    return value.decode("utf-8", "ignore")


def row_of(pose: Pose | None, gripper: float) -> list[float]:
    """Return a pose with its gripper as a record holds it; NaN for none."""
    return [math.nan] * 8 if pose is None else [*pose.position_m, *pose.turn, gripper]


def pose_of(row: Sequence[float]) -> Pose:
    """Return the pose in what `row_of` made."""
    x, y, z, w, i, j, k = (float(value) for value in row[:7])
    return Pose((x, y, z), (w, i, j, k))


class Addresses(NamedTuple):
    """Of all rings of a deployment, for `Ring.attach`; a camera's by its name.

    Attributes:
        ticks, counts: the controller writes.
        plans: the policy's process.
        commands: the person's device's.
        orders: the supervisor.
        recorded, writing: the recorder.
        scene: the arm's process, of a simulated arm.
        glances, frames: each camera's own process.
        beats: by the name of the process, `SUPERVISOR` too.
    """

    ticks: Any
    counts: Any
    plans: Any
    commands: Any
    orders: Any
    recorded: Any
    writing: Any
    scene: Any
    glances: dict[str, Any]
    frames: dict[str, Any]
    beats: dict[str, Any]


class Rings:
    """All rings of a deployment. The supervisor makes them and takes them away again.

    Args:
        num_state: see `tick_dtype`.
        cameras: (height, width) of each camera's pictures, by name.
        processes: names of those that are to show that they live, beside the supervisor.
    """

    def __init__(self, num_state: int, cameras: dict[str, tuple[int, int]], processes: Sequence[str]) -> None:
        self.ticks = Ring(tick_dtype(num_state, len(cameras)), 1024)
        self.counts, self.plans = Ring(COUNTS, 4), Ring(PLAN, 64)
        self.commands, self.orders = Ring(COMMAND, 64), Ring(ORDER, 256)
        self.recorded, self.writing = Ring(RECORDED, 64), Ring(WRITING, 4)
        self.scene = Ring(SCENE, 64)
        self.glances = {name: Ring(GLANCE, 64) for name in cameras}
        self.frames = {name: Ring(frame_dtype(*size), 16) for name, size in cameras.items()}
        self.beats = {name: Ring(BEAT, 4) for name in (SUPERVISOR, *processes)}

    @property
    def addresses(self) -> Addresses:
        """What the processes are told."""
        return Addresses(
            self.ticks.address,
            self.counts.address,
            self.plans.address,
            self.commands.address,
            self.orders.address,
            self.recorded.address,
            self.writing.address,
            self.scene.address,
            _addresses(self.glances),
            _addresses(self.frames),
            _addresses(self.beats),
        )

    def close(self) -> None:
        """Take them away; safe twice."""
        for ring in (
            self.ticks,
            self.counts,
            self.plans,
            self.commands,
            self.orders,
            self.recorded,
            self.writing,
            self.scene,
        ):
            ring.close()
        for group in (self.glances, self.frames, self.beats):
            for ring in group.values():
                ring.close()


def _addresses(rings: Mapping[str, Ring]) -> dict[str, Any]:
    return {name: ring.address for name, ring in rings.items()}
