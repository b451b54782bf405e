"""The page's messages: what is taken, and that nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_clients import NEUTRAL, message, text

from robofb.deploy.teleop.web_messages import BadMessageError, parse_message

HAND = {"position_m": [0.1, 0.2, 0.3], "quaternion": [1, 0, 0, 0], "grip": 1}


def test_takes_a_message_as_the_page_sends_it():
    taken = message(seq=7, t_ms=12.5, engaged=True, linear=[1, -0.5, 0], gripper=-1, event="undo", hand=HAND)
    assert (taken.seq, taken.t_ms, taken.engaged, taken.gripper, taken.event) == (7, 12.5, True, -1, "undo")
    assert taken.linear == (1.0, -0.5, 0.0)
    assert taken.hand is not None and taken.hand.position_m == (0.1, 0.2, 0.3)


def test_makes_quaternions_unit_length():
    hand = message(hand={**HAND, "quaternion": [0.995, 0, 0, 0]}).hand
    assert hand is not None and hand.quaternion == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ("", "not JSON"),
        ("[" * 2000, "not JSON"),
        ("null", "exactly the keys"),
        ("[]", "exactly the keys"),
        ("{}", "exactly the keys"),
        (text().replace('"t_ms": 0.0', '"t_ms": NaN'), "NaN is no number"),
        (text().replace('"t_ms": 0.0', '"t_ms": Infinity'), "Infinity is no number"),
        (text(linear=[1e308, 0, 0]), "linear"),
        (text().replace("[0, 0, 0]", "[1e999, 0, 0]", 1), "linear"),
        (text(linear=[1.001, 0, 0]), "linear"),
        (text(linear=[0, 0]), "linear"),
        (text(linear=[True, 0, 0]), "linear"),
        (text(linear=["0", 0, 0]), "linear"),
        (text(angular={"0": 1}), "angular"),
        (text(angular=[[0], 0, 0]), "angular"),
        (text(engaged=1), "engaged"),
        (text(gripper=0.5), "gripper"),
        (text(gripper=2), "gripper"),
        (text(event="explode"), "event"),
        (text(event=["start"]), "event"),
        (text(seq=-1), "seq"),
        (text(seq=10**300), "seq"),
        (text(seq=True), "seq"),
        (text(extra=1), "exactly the keys"),
        (text(hand={}), "exactly the keys"),
        (text(hand={**HAND, "quaternion": [0, 0, 0, 0]}), "unit length"),
        (text(hand={**HAND, "quaternion": [0.7, 0, 0, 0]}), "unit length"),
        (text(hand={**HAND, "position_m": [1e9, 0, 0]}), "position_m"),
        (text() + " " * 3000, "longer"),
    ],
)
def test_refuses_what_the_page_never_sends(hostile, reason):
    with pytest.raises(BadMessageError, match=reason):
        parse_message(hostile)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(NEUTRAL)), JSON_VALUES)
def test_any_other_value_is_taken_within_bounds_or_refused(key, value):
    """Whatever JSON stands for a key: either the message is refused, or every number of it is bounded."""
    try:
        taken = parse_message(json.dumps({**NEUTRAL, key: value}))
    except BadMessageError:
        return
    assert all(-1 <= number <= 1 for number in (*taken.linear, *taken.angular, taken.gripper))
    assert type(taken.engaged) is bool
