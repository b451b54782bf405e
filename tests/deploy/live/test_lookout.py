"""What is seen of a deployment, from records written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest

from robofb.deploy.live.lookout import Lookout
from robofb.deploy.live.page_texts import MODE_COLOURS, age, figures_html, status_html
from robofb.deploy.live.policy_process import write_plan
from robofb.deploy.live.process import attacher
from robofb.deploy.live.records import MODES, Rings, row_of, text
from robofb.deploy.modes import Mode
from robofb.deploy.pose import Pose

NOW_S = 100.0


@pytest.fixture
def rings() -> Iterator[Rings]:
    with closing(Rings(3, {"front": (4, 6)}, ["arm"])) as made:
        yield made


@pytest.fixture
def lookout(rings: Rings) -> Iterator[Lookout]:
    with ExitStack() as stack:
        yield Lookout(rings.addresses, attacher(stack))


def write_tick(rings: Rings, wall_s: float, x_m: float = 0.5, **values: Any) -> None:
    """Say that the arm is at x, and sent nowhere."""
    tick = dict.fromkeys(rings.ticks.dtype.names or (), 0)
    tick |= {
        "time_s": wall_s - 90.0,
        "wall_s": wall_s,
        "observed_s": math.nan,
        "mode": MODES.index(Mode.POLICY),
    }
    tick |= {"pose": row_of(Pose((x_m, 0.0, 0.2), (1.0, 0.0, 0.0, 0.0)), -1.0), "sent": row_of(None, 0.0)}
    rings.ticks.write(**(tick | {"reason": b""} | values))


def test_before_anything_is_said_nothing_is_known(lookout: Lookout) -> None:
    sight = lookout.look(NOW_S)
    assert sight.tick is None and sight.home is None and sight.pictures == {} and sight.counts == {}
    assert np.isnan([sight.age_s, sight.compute_s, sight.period_s, sight.planning_s, sight.plan_age_s]).all()
    assert sight.plan_m.shape == sight.trail_m.shape == (0, 3)
    assert "starting" in status_html({}, sight, "12:00:00") and figures_html({}, sight) == ""


def test_the_loop_is_judged_by_its_last_second(rings: Rings, lookout: Lookout) -> None:
    for wall_s, compute_s in ((98.5, 0.5), (99.1, 0.001), (99.2, 0.003), (99.5, 0.008), (99.9, 0.002)):
        write_tick(rings, wall_s, compute_s=compute_s)
    sight = lookout.look(NOW_S)
    assert sight.age_s == pytest.approx(0.1)
    assert sight.compute_s == pytest.approx(0.0025)  # the median of 1, 2, 3 and 8 ms
    assert sight.most_compute_s == 0.008
    assert sight.period_s == pytest.approx(0.4)  # from 99.5 to 99.9; 98.5 is too long ago
    assert np.isnan(lookout.look(NOW_S + 2.0).period_s)


def test_ticks_that_were_missed_are_no_long_period(rings: Rings, lookout: Lookout) -> None:
    write_tick(rings, 99.0)
    lookout.look(99.0)
    for number in range(rings.ticks.slots + 10):  # the first of these are overwritten
        write_tick(rings, 99.2 + 1e-4 * number)
    assert lookout.look(99.4).period_s == pytest.approx(1e-4)


def test_the_trail_is_thinned_forgotten_and_has_no_gaps_for_an_arm_that_says_nothing(
    rings: Rings, lookout: Lookout
) -> None:
    for number in range(100):  # 1 s at 100 Hz, 1 mm each
        write_tick(rings, 99.0 + 0.01 * number, 0.5 + 0.001 * number)
    write_tick(rings, 99.999, pose=row_of(None, 0.0))
    trail_m = lookout.look(NOW_S).trail_m
    np.testing.assert_allclose(np.diff(trail_m[:, 0]), 0.005, atol=0.0011)  # one each 0.05 s
    assert trail_m[0].tolist() == [0.5, 0.0, 0.2]
    assert len(lookout.look(104.5).trail_m) == pytest.approx(len(trail_m) / 2, abs=1)
    assert len(lookout.look(110.0).trail_m) == 0


def test_home_is_where_the_arm_was_at_rest_there(rings: Rings, lookout: Lookout) -> None:
    write_tick(rings, 99.0, 0.4, at_home=1, at_rest=1)
    write_tick(rings, 99.1, 0.5, at_home=1)
    write_tick(rings, 99.2, 0.6, at_rest=1)
    home = lookout.look(NOW_S).home
    assert home is not None and home.position_m == (0.4, 0.0, 0.2)


def test_the_plan_shown_is_the_one_that_is_followed(rings: Rings, lookout: Lookout) -> None:
    """Not the newest, nor one of another epoch, nor one that was none."""
    for epoch, observed_s, count, took_s in ((3, 9.0, 2, 0.01), (2, 9.0, 1, 0.02), (3, 9.5, 4, 0.03)):
        write_plan(rings.plans, epoch, observed_s, np.full((count, 10), observed_s, np.float32), took_s)
    write_tick(rings, 99.9, epoch=3, observed_s=9.0)  # the arm's clock says 9.9
    sight = lookout.look(NOW_S)
    assert sight.plan_m.tolist() == [[9.0] * 3] * 2
    assert sight.planning_s == 0.03 and sight.plan_age_s == pytest.approx(0.9)
    write_plan(rings.plans, 3, 9.6, "left", 0.0)
    write_tick(rings, 99.95, epoch=3, observed_s=9.6)
    assert lookout.look(NOW_S).plan_m.shape == (0, 3)
    write_plan(rings.plans, 3, 9.7, np.array([[0.1] * 10, [math.nan] * 10]), 0.0)
    write_tick(rings, 99.95, epoch=3, observed_s=9.7)
    np.testing.assert_allclose(lookout.look(NOW_S).plan_m, [[0.1] * 3])


def test_pictures_have_the_age_of_what_they_show(rings: Rings, lookout: Lookout) -> None:
    image = np.arange(72, dtype=np.uint8).reshape(3, 4, 6)
    rings.frames["front"].write(sequence=1, captured_s=99.7, digest=5, image=image)
    picture = lookout.look(NOW_S).pictures["front"]
    assert picture.image.shape == (4, 6, 3) and picture.image[1, 2].tolist() == [8, 32, 56]
    assert picture.age_s == pytest.approx(0.3)
    rings.frames["front"].write(sequence=2, captured_s=99.9, digest=5, image=image)  # the same pixels
    assert lookout.look(NOW_S).pictures["front"].age_s == pytest.approx(0.3)


def test_what_is_said_has_its_colour_and_its_figures(rings: Rings, lookout: Lookout) -> None:
    write_tick(rings, 99.0, mode=MODES.index(Mode.HOLD), reason=text("a <b> plan"), gate=(7, 2, 1), steps=12)
    rings.counts.write(json=b'{"clamped: box": 2, "overrun": 3}')
    sight = lookout.look(NOW_S)
    status = {"session": "running", "episode": "1 of 4", "successes": "1 of 1", "restarts": "policy 2 times"}
    said = status_html(status, sight, "12:34:56")
    assert f"background:{MODE_COLOURS[Mode.HOLD]}" in said and "HOLD" in said and "a &lt;b&gt; plan" in said
    assert "episode 1 of 4" in said and "12 steps" in said and "1 of 1" in said and "12:34:56" in said
    assert age(1.0) in said and "color:#dc2626" in age(1.0) and "color" not in age(0.4)
    figures = figures_html(status | {"dropped": "episode 0: full"}, sight)
    for words in (
        "7 passed, 2 clamped, 1 refused",
        "clamped: box 2, overrun 3",
        "policy 2 times",
        "episode 0: full",
        "longest period –",
    ):
        assert words in figures


def test_every_mode_has_a_colour() -> None:
    assert set(MODE_COLOURS) == set(Mode)
