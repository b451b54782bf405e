"""The parts that a task puts together, and which goes where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco

from robofb.envs.contact_bits import TOP
from robofb.envs.furniture.screws import FRICTION
from robofb.envs.furniture.thread import Thread, add_thread
from robofb.envs.sensors import add_frame_sensor, add_overlap_sensor

PART_SHIFT_SHARE = 0.5  # of the frame's shift, by which each part strays on its own
OBSTACLE = "obstacle"


@dataclass(frozen=True)
class Part:
    """A free part at its start.

    Attributes:
        name: of the body.
        build: adds its shape to the body.
        start_m: position of the body's origin.
        start_quat: wxyz orientation.
        grasp_m: where a gripper takes it, in its frame.
        shift_share: of the random shift that it strays on its own, beside the frame's.
        yaw_share: of the random heading.
        side_m: of its square footprint, with which it starts inside the obstacle's edges; 0 for a part that
            is never near them.
    """

    name: str
    build: Callable[[mujoco.MjsBody], None]
    start_m: tuple[float, float, float]
    start_quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    grasp_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_share: float = PART_SHIFT_SHARE
    yaw_share: float = 1.0
    side_m: float = 0.0


@dataclass(frozen=True)
class Pair:
    """Two parts to put together: assembled where their seats coincide.

    Attributes:
        plug: name of the part that is brought; its seat's z points out of the socket.
        socket: name of the part that it goes to.
        plug_seat_m: the seat in the plug's frame.
        socket_seat_m: the seat in the socket's frame.
        tip_m: length of the plug below its seat, for "over the hole".
        symmetry: headings a turn at which it is assembled; 0: any.
        position_only: the axes do not matter.
        thread: how it is screwed, or None.
        tip_radius_m: of the thread's ledge, which carries the tip.
        rest_m: depth below the plug's seat at which the ledge carries it; None: at the tip. Negative where
            the plug has the hole and the socket the pin: there its ceiling rests on the pin.
        near_m: fine scale of the relative features: about ten times the play.
        far_m: their coarse scale.
    """

    plug: str
    socket: str
    plug_seat_m: tuple[float, float, float]
    socket_seat_m: tuple[float, float, float]
    tip_m: float
    symmetry: int = 0
    position_only: bool = False
    thread: Thread | None = None
    tip_radius_m: float = 0.006
    rest_m: float | None = None
    near_m: float = 0.01
    far_m: float = 0.04

    @property
    def name(self) -> str:
        """Name of the pair's sites, sensors and thread."""
        return f"{self.plug}_{self.socket}"

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the ten relative features, squashed by tanh: where the plug's seat is in the socket's."""
        return (
            *(f"{self.name}_plug_socket_{axis}_tanh_{_in_words(self.near_m)}" for axis in "xyz"),
            *(f"{self.name}_plug_socket_{axis}_tanh_{_in_words(self.far_m)}" for axis in "xyz"),
            *(f"{self.name}_plug_tilt_socket_{axis}_tanh_100mrad" for axis in "xy"),
            f"{self.name}_plug_heading_socket_cos",
            f"{self.name}_plug_heading_socket_sin_tanh_100mrad",
        )


def _in_words(length_m: float) -> str:
    """Return a length as names have it: 5mm, 4cm."""
    return f"{1e2 * length_m:g}cm" if length_m >= 0.01 else f"{1e3 * length_m:g}mm"


def add_pair(spec: mujoco.MjSpec, pair: Pair, plug: mujoco.MjsBody, socket: mujoco.MjsBody) -> None:
    """Add a pair's seats, their sensors and its thread."""
    seat = plug.add_site(name=f"{pair.name}_plug", pos=pair.plug_seat_m, group=4)
    goal = socket.add_site(name=f"{pair.name}_socket", pos=pair.socket_seat_m, group=4)
    kinds = mujoco.mjtSensor
    add_frame_sensor(
        spec, f"{pair.name}_grasp", kinds.mjSENS_FRAMEPOS, spec.site(f"{pair.plug}_grasp"), spec.site("tcp")
    )
    add_frame_sensor(spec, f"{pair.name}_pos", kinds.mjSENS_FRAMEPOS, seat, goal)
    add_frame_sensor(spec, f"{pair.name}_zaxis", kinds.mjSENS_FRAMEZAXIS, seat, goal)
    add_frame_sensor(spec, f"{pair.name}_xaxis", kinds.mjSENS_FRAMEXAXIS, seat, goal)
    add_overlap_sensor(spec, f"{pair.name}_overlap", pair.plug, pair.socket)
    if pair.thread is not None:
        rest_m = pair.tip_m if pair.rest_m is None else pair.rest_m
        depth_m = rest_m - pair.thread.travel_m  # of the thread's mouth below the seat
        mouth = (*pair.socket_seat_m[:2], pair.socket_seat_m[2] - depth_m)
        tip = (*pair.plug_seat_m[:2], pair.plug_seat_m[2] - rest_m)
        add_thread(spec, pair.thread, pair.name, socket, mouth, plug, tip, pair.tip_radius_m)


def add_obstacle(spec: mujoco.MjSpec) -> None:
    """Add the fixed corner that people push a part against: two bars along +x and +y of its inner edge."""
    body = spec.worldbody.add_body(name=OBSTACLE, mocap=True)
    for centre, half in (
        ((-0.05, 0.011, 0.015), (0.07, 0.011, 0.015)),
        ((0.011, -0.06, 0.015), (0.011, 0.06, 0.015)),
    ):
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=centre,
            size=half,
            contype=TOP,
            conaffinity=TOP,
            rgba=(0.35, 0.37, 0.4, 1),
            **FRICTION,
        )
