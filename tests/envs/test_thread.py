"""The thread alone, on every engine: a leg over a table top that is fixed to the world, turned and pulled."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import mujoco
import pytest
import torch
from engine_scene import NAMES, make_engine

from robofb.envs.furniture.parts import Leg, TableTop, shape_leg, shape_table_top
from robofb.envs.furniture.thread import Thread, ThreadSwitch, add_thread
from robofb.geometry import quat_from_axis_angle, quat_from_yaw, quat_multiply
from robofb.sim.engine import free_joint_slices, joint_indices

LEG, TOP, THREAD = Leg(), TableTop(), Thread()
SUBSTEPS = 12  # of a control step, as in the tasks
HAND_KG_M2 = 0.005  # the leg is as hard to turn as with a hand on it
AXIS_M = (TOP.hole_xy, TOP.hole_xy)


class Bench:
    """A plug, a socket and a thread; heights are those of the leg's shoulder above the top's face.

    Args:
        height_m: where the leg starts, upright.
        off_m: beside the hole's axis, along x.
        tilt_rad: about x.
        yaw_rad: heading.
        engine: name of its config.
    """

    def __init__(self, height_m=0.007, off_m=0.0, tilt_rad=0.0, yaw_rad=0.3, thread=THREAD, engine="mujoco"):
        spec = mujoco.MjSpec()
        spec.compiler.degree = False
        spec.option.timestep = 1 / 120
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.iterations, spec.option.tolerance = 20, 1e-9
        top = spec.worldbody.add_body(name="top")
        shape_table_top(top, TOP)
        leg = spec.worldbody.add_body(name="leg")
        leg.add_freejoint(name="leg")
        shape_leg(leg, LEG)
        leg.explicitinertial, leg.mass, leg.ipos = True, LEG.mass_kg, (0.0, 0.0, 0.03)
        leg.inertia = (HAND_KG_M2,) * 3
        mouth_m = (*AXIS_M, thread.travel_m - LEG.peg_length)
        tip_m = (0.0, 0.0, -LEG.peg_length)
        add_thread(spec, thread, "thread", top, mouth_m, leg, tip_m, tip_radius_m=0.006)
        self.engine = make_engine(engine, spec.compile(), 1)
        self.switch = ThreadSwitch(self.engine.model, "thread", thread)
        self._q, self._v = free_joint_slices(self.engine.model, "leg")
        self._body = self.engine.model.body("leg").id
        joints, _ = joint_indices(self.engine.model, ["thread_slide", "thread_turn"])
        self._joints = torch.from_numpy(joints)
        tilt = quat_from_axis_angle(torch.tensor([1.0, 0, 0]).double(), torch.tensor(tilt_rad).double())
        quat = quat_multiply(tilt, quat_from_yaw(torch.tensor(yaw_rad).double()))
        place = torch.tensor([AXIS_M[0] + off_m, AXIS_M[1], height_m]).double()
        qpos = self.engine.field("qpos")
        qpos[0, self._q] = torch.cat([place, quat]).to(qpos)
        self.engine.forward(torch.tensor([0]))

    @property
    def height_m(self) -> float:
        return self.engine.field("qpos")[0, self._q][2].item()

    @property
    def yaw_rad(self) -> float:
        w, _, _, z = self.engine.field("qpos")[0, self._q][3:].tolist()
        return 2 * math.atan2(z, w)

    @property
    def held(self) -> bool:
        return bool(self.engine.field("eq_active")[0, self.switch._equality])

    def spin(self, rad_s: float) -> None:
        """Set the leg's speed about its axis."""
        self.engine.field("qvel")[0, self._v][5] = rad_s
        self.engine.forward(torch.tensor([0]))

    def run(self, steps, turn_rad_s=None, pull_n=0.0):
        """Play control steps with a force along z and, where wanted, a hand that turns at a speed.

        The hand also steadies: it damps tumbling, never the motion along the axis.
        """
        force = self.engine.field("xfrc_applied")[0, self._body]
        for _ in range(steps):
            self.switch.update(self.engine)
            for _ in range(SUBSTEPS):
                velocity = self.engine.field("qvel")[0, self._v]
                force[:] = 0.0
                force[2] = pull_n
                if turn_rad_s is not None:
                    force[3:5] = -0.1 * velocity[3:5]
                    force[5] = (0.2 * (turn_rad_s - velocity[5])).clamp(-0.3, 0.3)
                self.engine.step(1)
        force[:] = 0.0


Make = Callable[..., Bench]


@pytest.fixture(params=NAMES)
def make(request) -> Make:
    """Return what makes a bench, on each engine."""
    return partial(Bench, engine=request.param)


def screwed(make: Make, turns: float = 0.5) -> Bench:
    """Return a bench whose leg is engaged and turned in by so many turns."""
    bench = make()
    bench.run(2, turn_rad_s=-2.0, pull_n=-1.0)
    assert bench.held
    start = bench.yaw_rad
    while turned_rad(start, bench.yaw_rad) < 2 * math.pi * turns:
        bench.run(1, turn_rad_s=-2.0, pull_n=-1.0)
    bench.run(5)
    return bench


def turned_rad(start: float, now: float) -> float:
    """Return how far to the right, 0 .. 2 pi; strokes here are under a turn."""
    return (start - now) % (2 * math.pi)


@pytest.mark.parametrize(
    ("off_m", "tilt_rad", "gap_m", "spin_rad_s", "engages"),
    [
        (0.0, 0.0, 0.0, -0.25, True),
        (0.0, 0.0, 0.0, -0.15, False),  # too slow
        (0.0, 0.0, 0.0, 1.0, False),  # to the left
        (0.0, 0.0, 0.0009, -1.0, True),
        (0.0, 0.0, 0.0011, -1.0, False),  # above the ledge
        (0.0014, 0.0, 0.0, -1.0, True),
        (0.0016, 0.0, 0.0, -1.0, False),  # beside the axis
        # tilted about the shoulder the tip swings by 16 mm * sin; moved back onto the axis
        (0.0, 0.09, 0.0, -1.0, True),
        (0.0, 0.11, 0.0, -1.0, False),
    ],
)
def test_engages_only_within_its_tolerances_and_turning_right(
    make, off_m, tilt_rad, gap_m, spin_rad_s, engages
):
    reach = LEG.peg_length * math.cos(tilt_rad)
    bench = make(height_m=reach - LEG.peg_length + THREAD.travel_m + gap_m, off_m=off_m, tilt_rad=tilt_rad)
    qpos = bench.engine.field("qpos")[0, bench._q]
    qpos[1] -= LEG.peg_length * math.sin(tilt_rad)  # turned about x, the tip goes to +y
    bench.spin(spin_rad_s / math.cos(tilt_rad))
    bench.switch.update(bench.engine)
    assert bench.held is engages


def test_sinks_by_its_pitch(make):
    for pitch_m in (0.004, 0.007):
        bench = make(thread=replace(THREAD, pitch_m=pitch_m))
        bench.run(3, turn_rad_s=-2.0)
        start_m, start_rad = bench.height_m, bench.yaw_rad
        bench.run(15, turn_rad_s=-2.0)
        angle = turned_rad(start_rad, bench.yaw_rad)
        assert angle > 2.0
        assert start_m - bench.height_m == pytest.approx(pitch_m * angle / (2 * math.pi), rel=0.01)


def test_is_never_pulled_in(make):
    """Engaging changes nothing by itself: the nut comes to the plug."""
    for height_m in (0.0066, 0.007, 0.0078):
        bench = make(height_m=height_m)
        bench.spin(-0.5)
        bench.switch.update(bench.engine)
        assert bench.held
        assert bench.height_m == pytest.approx(height_m, abs=1e-6)
        bench.engine.field("qvel")[:] = 0.0
        bench.run(10)
        assert abs(bench.height_m - height_m) < 1e-4


def test_holds_against_pull_and_push(make):
    for force_n in (40.0, -40.0):
        bench = screwed(make)
        before_m, before_rad = bench.height_m, bench.yaw_rad
        bench.run(10, pull_n=force_n)
        assert bench.held
        assert bench.height_m == pytest.approx(before_m, abs=8e-4)  # the tie gives a little
        assert bench.yaw_rad == pytest.approx(before_rad, abs=0.02)
        bench.run(10)
        assert bench.height_m == pytest.approx(before_m, abs=1e-4)


def test_without_its_thread_the_leg_would_be_pulled_out(make):
    bench = make()
    bench.run(10, pull_n=40.0)
    assert bench.height_m > 0.05


def test_is_self_locking(make):
    """A screw that is let go neither sinks nor rises under the leg's weight."""
    bench = screwed(make)
    height_m, yaw_rad = bench.height_m, bench.yaw_rad
    bench.run(50)
    assert bench.height_m == pytest.approx(height_m, abs=1e-4)
    assert bench.yaw_rad == pytest.approx(yaw_rad, abs=0.02)


def test_ledge_carries_what_is_not_turned(make):
    bench = make()
    for pull_n in range(0, -41, -1):  # little by little: one blow of 10 N sends the leg through it
        bench.run(1, pull_n=pull_n)
    assert not bench.held
    assert bench.height_m == pytest.approx(THREAD.travel_m, abs=0.0012)  # the ledge is soft


def test_stops_at_the_end_of_its_travel(make):
    bench = make()
    bench.run(80, turn_rad_s=-2.0, pull_n=-1.0)
    assert bench.held
    assert bench.height_m == pytest.approx(0.0, abs=5e-4)


def test_unscrews_and_comes_free(make):
    bench = screwed(make, turns=0.3)
    bench.run(30, turn_rad_s=2.0, pull_n=3.0)
    assert not bench.held
    assert bench.height_m > 0.02


def test_continues_bit_for_bit_from_the_middle(make):
    bench = screwed(make)
    state = bench.engine.snapshot()
    bench.run(8, turn_rad_s=-2.0)
    bench.run(8, turn_rad_s=2.0, pull_n=2.0)
    there = bench.engine.snapshot()
    other = make(yaw_rad=1.0)
    other.engine.restore(torch.tensor([0]), state)
    other.run(8, turn_rad_s=-2.0)
    other.run(8, turn_rad_s=2.0, pull_n=2.0)
    assert torch.equal(other.engine.snapshot(), there)
