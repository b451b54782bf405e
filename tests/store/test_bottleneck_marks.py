"""Bottleneck marks in an episode's meta: what goes in comes out, and nothing else is taken."""

import pytest

from robofb.errors import UserError
from robofb.store.bottlenecks import BY_PERSON, BY_RULE, Bottleneck, bottlenecks_meta, load_bottlenecks


def test_marks_survive_the_meta_in_order_of_steps():
    marks = [Bottleneck(9, BY_RULE, "b"), Bottleneck(2, BY_PERSON, "ä")]
    meta = bottlenecks_meta(marks)
    assert meta["bottlenecks"][0] == {"step": 2, "by": "person", "why": "ä"}
    assert load_bottlenecks(meta, 9) == (marks[1], marks[0])


def test_no_marks_take_the_key_away():
    assert bottlenecks_meta([]) == {"bottlenecks": None}
    assert load_bottlenecks({}, 3) == ()


@pytest.mark.parametrize(
    "stored",
    [
        "grasp",
        [3],
        [{"step": 3, "by": "person"}],
        [{"step": True, "by": "person", "why": "x"}],
        [{"step": 3, "by": "robot", "why": "x"}],
        [{"step": 3, "by": "rule", "why": None}],
        [{"step": 3, "by": "rule", "why": "x", "more": 1}],
        [{"step": -1, "by": "rule", "why": "x"}],
        [{"step": 6, "by": "rule", "why": "x"}],
    ],
)
def test_what_is_no_mark_is_refused_by_name(stored):
    with pytest.raises(UserError, match="bottlenecks"):
        load_bottlenecks({"bottlenecks": stored}, 5)
