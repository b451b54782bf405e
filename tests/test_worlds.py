"""Worlds by the names that datasets keep."""

import pytest
from episode_examples import SPEC

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.worlds import env_of_dataset, make_task


def test_a_task_is_made_by_the_name_in_a_dataset():
    assert make_task("one_leg_insert").spec.task == "one_leg_insert"


@pytest.mark.parametrize("name", ["no_such_task", "one_leg_insert seed=1", "a,b", "../x", "", "null"])
def test_a_name_that_is_no_task_is_one_line(name):
    with pytest.raises(UserError, match="task"):
        make_task(name)


@pytest.mark.parametrize("randomness", ["low seed=1", "{a:b}", 0.5])
def test_a_randomness_that_is_no_name_is_one_line(tmp_path, randomness):
    spec = type(SPEC).from_dict({**SPEC.to_dict(), "task": "one_leg_insert"})
    store = EpisodeStore.create(tmp_path / "d", spec, {"randomness": randomness})
    with store, pytest.raises(UserError, match="of task one_leg_insert is no name"):
        env_of_dataset(store, 1)
