"""The age of the newest new picture, by hand and against the whole history."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robofb.deploy.cameras.camera import Frame, StaleFrameError
from robofb.deploy.cameras.freshness import Freshness
from robofb.errors import UserError

IMAGE = np.zeros((1, 1, 3), np.uint8)


def frame(sequence: int, captured_s: float, digest: int) -> Frame:
    return Frame(IMAGE, captured_s, sequence, digest)


def test_age_is_since_the_exposure_and_infinite_before_the_first() -> None:
    fresh = Freshness("front")
    assert fresh.age_s(5.0) == math.inf
    fresh.see(frame(0, 10.0, 7), now_s=10.03)
    assert fresh.age_s(10.05) == pytest.approx(0.05) and fresh.why == ""


def test_no_new_frame_lets_the_age_grow() -> None:
    fresh = Freshness("front")
    fresh.see(frame(4, 10.0, 1), 10.0)
    fresh.see(frame(4, 10.1, 2), 10.1)  # its sequence stands still
    assert fresh.age_s(10.3) == pytest.approx(0.3) and fresh.why == "no new frame"
    fresh.see(frame(5, 10.0, 3), 10.2)  # its stamp does
    fresh.see(frame(6, math.nan, 3), 10.2)
    assert fresh.age_s(10.3) == pytest.approx(0.3)
    fresh.see(frame(7, 10.25, 4), 10.3)
    assert fresh.age_s(10.3) == pytest.approx(0.05) and fresh.why == ""


def test_same_pixels_with_new_stamps_are_no_news_after_so_many_repetitions() -> None:
    fresh = Freshness("front", repeats=3)
    for number, digest in enumerate([1, 2, 2, 2]):  # first of the same pixels at 0.1 s
        fresh.see(frame(number, number / 10, digest), number / 10)
        assert fresh.age_s(number / 10) == pytest.approx(0.0)
    fresh.see(frame(4, 0.4, 2), 0.4)  # the third repetition
    assert fresh.age_s(0.4) == pytest.approx(0.3) and fresh.why == "same pixels 4 times"
    fresh.see(frame(5, 0.5, 2), 0.5)
    assert fresh.age_s(0.5) == pytest.approx(0.4)
    fresh.see(frame(6, 0.6, 3), 0.6)
    assert fresh.age_s(0.6) == pytest.approx(0.0) and fresh.why == ""


def test_a_rendered_scene_may_stand_still_but_not_its_stamp() -> None:
    fresh = Freshness("front")
    for number in range(1000):
        fresh.see(frame(number, number / 10, 1)._replace(rendered=True), number / 10)
    assert fresh.age_s(100.0) == pytest.approx(0.1) and fresh.why == ""
    fresh.see(frame(1000, 99.9, 2)._replace(rendered=True), 100.5)  # its stamp does
    assert fresh.age_s(100.5) == pytest.approx(0.6) and fresh.why == "no new frame"


def test_a_stamp_from_the_future_hides_no_frozen_stream() -> None:
    fresh = Freshness("front")
    fresh.see(frame(0, 1e9, 1), now_s=10.0)
    assert fresh.age_s(10.5) == pytest.approx(0.5)
    fresh.see(frame(1, 10.4, 2), now_s=10.5)
    assert fresh.age_s(10.5) == pytest.approx(0.1)


def test_check_says_which_camera_how_old_and_why() -> None:
    fresh = Freshness("wrist", repeats=1)
    with pytest.raises(StaleFrameError, match=r"camera wrist: nothing new for inf s \(no picture has come\)"):
        fresh.check(1.0, 0.2)
    fresh.see(frame(0, 1.0, 1), 1.0)
    fresh.check(1.2, 0.2 + 1e-9)
    with pytest.raises(StaleFrameError, match=r"nothing new for 0.25 s \(no new frame\)"):
        fresh.check(1.25, 0.2)
    fresh.see(frame(1, 1.2, 1), 1.2)
    with pytest.raises(StaleFrameError, match=r"nothing new for 0.25 s \(same pixels 2 times\)"):
        fresh.check(1.25, 0.2)


def test_repeats_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="repeats=0"):
        Freshness("front", 0)


arrivals = st.lists(
    st.tuples(
        st.integers(0, 3),  # how far the sequence rises
        st.integers(-20, 60),  # how far the stamp does [ms]
        st.integers(0, 100),  # after what it arrives [ms]
        st.integers(0, 2),  # content
    ),
    max_size=40,
)


@given(arrivals, st.integers(1, 4), st.integers(0, 300))
def test_age_is_never_less_than_since_the_last_new_content(
    steps: list[tuple[int, int, int, int]], repeats: int, wait_ms: int
) -> None:
    """Bookkeeping over the whole history: runs of equal content among the frames whose stamps rose."""
    fresh = Freshness("front", repeats)
    sequence, stamp_ms, now_ms = 0, 0, 0
    accepted: list[tuple[int, int, int]] = []  # sequence, stamp, content
    for rise, stamp_rise_ms, later_ms, content in steps:
        sequence, stamp_ms, now_ms = sequence + rise, stamp_ms + stamp_rise_ms, now_ms + later_ms
        fresh.see(frame(sequence, stamp_ms / 1000, content), now_ms / 1000)
        known_ms = min(stamp_ms, now_ms)
        if not accepted or (sequence > accepted[-1][0] and known_ms > accepted[-1][1]):
            accepted.append((sequence, known_ms, content))
    now_ms += wait_ms
    age_s = fresh.age_s(now_ms / 1000)
    if not accepted:
        assert age_s == math.inf
        return
    run = list(accepted)
    while len({content for _, _, content in run}) > 1:
        run.pop(0)
    since_new_ms = run[0][1] if len(run) > repeats else run[-1][1]
    assert age_s == pytest.approx((now_ms - since_new_ms) / 1000)
    assert age_s >= (now_ms - run[-1][1]) / 1000 - 1e-9
    if repeats == 1:
        assert age_s >= (now_ms - run[0][1]) / 1000 - 1e-9
