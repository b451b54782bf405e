"""Marks before they are saved: every change can be undone, and unsaved is what differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robofb.errors import UserError
from robofb.store.bottlenecks import BY_PERSON, BY_RULE, Bottleneck
from robofb.viewer.annotation import Annotation

RULE = Bottleneck(7, BY_RULE, "touches")


def opened():
    annotation = Annotation()
    annotation.open(0, [RULE])
    annotation.open(1, [])
    return annotation


def test_a_persons_mark_replaces_what_is_there():
    annotation = opened()
    annotation.mark(0, 7, "insert")
    annotation.mark(0, 2, "grasp")
    assert annotation.marks(0) == (Bottleneck(2, BY_PERSON, "grasp"), Bottleneck(7, BY_PERSON, "insert"))
    assert list(annotation.unsaved) == [0]


def test_undo_goes_back_over_episodes_and_over_a_save():
    annotation = opened()
    annotation.mark(0, 2, "a")
    annotation.remove(0, 7)
    annotation.mark(1, 5, "b")
    annotation.saved()
    assert annotation.unsaved == {}
    assert annotation.undo() == 1 and list(annotation.unsaved) == [1]
    assert annotation.undo() == 0 and annotation.undo() == 0
    assert annotation.marks(0) == (RULE,) and sorted(annotation.unsaved) == [0, 1]
    with pytest.raises(UserError, match="nothing to undo"):
        annotation.undo()


def test_opening_an_episode_again_keeps_its_changes():
    annotation = opened()
    annotation.mark(1, 5, "b")
    annotation.open(1, [])
    assert len(annotation.marks(1)) == 1


def test_there_is_nothing_to_remove_where_nothing_is_marked():
    with pytest.raises(UserError, match="step 6 is not marked"):
        opened().remove(0, 6)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["mark", "remove"]), st.integers(0, 1), st.integers(0, 9), st.sampled_from("ab")
    )
)


@given(CHANGES)
def test_undoing_all_changes_restores_the_dataset(changes):
    annotation, model = opened(), {0: {7: RULE}, 1: {}}
    for name, episode, step, why in changes:
        if name == "mark":
            annotation.mark(episode, step, why)
            model[episode][step] = Bottleneck(step, BY_PERSON, why)
        elif step in model[episode]:
            annotation.remove(episode, step)
            del model[episode][step]
        assert annotation.marks(episode) == tuple(sorted(model[episode].values()))
    try:
        while True:
            annotation.undo()
    except UserError:
        pass
    assert annotation.unsaved == {} and annotation.marks(0) == (RULE,) and annotation.marks(1) == ()
