import numpy as np
import pytest
from episode_examples import make_episode
from hypothesis import given
from hypothesis import strategies as st

from edit.examples import assert_same_but_origin, made, make_dataset
from robofb.errors import UserError
from robofb.store.edit.plan import CAME_FROM
from robofb.store.edit.trim import moving_steps, trim
from robofb.store.episodes import EpisodeStore
from robofb.types import ArraySpec, EnvSpec, Episode

HAND = EnvSpec(
    task="hand",
    obs={
        "state": ArraySpec(
            (11,),
            names=(
                "gripper_width",
                "leg_pos_base_x",
                *(f"ee_pos_base_{axis}" for axis in "xyz"),
                *(f"ee_rot6d_base_{index}" for index in range(6)),
            ),
        )
    },
    action=ArraySpec((1,)),
    control_dt=0.1,
    max_steps=50,
)
STILL = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]  # the identity's columns, one after another


def hand_episode(rows, timestamps=None) -> Episode:
    """Return an episode whose state at each observation is a row."""
    steps = len(rows) - 1
    return Episode(
        obs={"state": np.asarray(rows, np.float32)},
        action=np.arange(steps, dtype=np.float32)[:, None],
        reward=np.zeros(steps, np.float32),
        terminated=True,
        success=True,
        timestamps=np.arange(steps + 1) * 0.1 if timestamps is None else np.asarray(timestamps, np.float64),
        source=np.zeros(steps, np.uint8),
    )


def hand_dataset(folder, *episodes, spec=HAND) -> EpisodeStore:
    with EpisodeStore.create(folder, spec) as store:
        for episode in episodes:
            store.append(episode)
    return EpisodeStore.open(folder)


def moved(column, values):
    """Return rows that stand still but for one column."""
    rows = np.tile(np.asarray(STILL), (len(values), 1))
    rows[:, column] += values
    return rows


def test_head_and_tail_by_hand(tmp_path):
    source = make_dataset(tmp_path / "d", [1], lengths=[10])
    before = make_episode(1, 10)
    after = made(trim(source, tmp_path / "c", head=2, tail=3))[0]
    assert len(after) == 5
    np.testing.assert_array_equal(after.action, before.action[[2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(after.reward, before.reward[2:7])
    np.testing.assert_array_equal(after.source, before.source[2:7])
    np.testing.assert_array_equal(after.timestamps, before.timestamps[[2, 3, 4, 5, 6, 7]])
    np.testing.assert_array_equal(after.obs["front"], before.obs["front"][2:8])
    np.testing.assert_array_equal(after.obs["state"], before.obs["state"][2:8])
    assert before.terminated and not after.terminated  # the step that ended it is gone
    assert after.success is before.success
    assert after.meta[CAME_FROM][0]["steps"] == [2, 7]


def test_the_end_stays_where_only_the_head_is_cut(tmp_path):
    source = make_dataset(tmp_path / "d", [1, 2], lengths=[10, 3])
    for number, after in enumerate(made(trim(source, tmp_path / "c", head=1)), start=1):
        before = make_episode(number, 10 if number == 1 else 3)
        assert after.terminated is before.terminated
        np.testing.assert_array_equal(after.obs["state"], before.obs["state"][1:])


def test_bottlenecks_move_along(tmp_path):
    def marks(*steps):
        return {"bottlenecks": [{"step": step, "by": "person", "why": "grasp"} for step in steps]}

    source = make_dataset(tmp_path / "d", [0, 1], lengths=[10, 10])
    with EpisodeStore.open(source.path, "a") as store:
        store.update({0: {"meta": marks(0, 2, 5, 7, 8, 10)}, 1: {"meta": marks(1)}})
        trimmed = made(trim(store, tmp_path / "c", head=2, tail=3))
    assert trimmed[0].meta["bottlenecks"] == marks(0, 3, 5)["bottlenecks"]  # observations 2..7 are left
    assert "bottlenecks" not in trimmed[1].meta
    with EpisodeStore.open(source.path, "a") as store:
        store.update({1: {"meta": {"bottlenecks": [3]}}})
        with pytest.raises(UserError, match="meta bottlenecks of episode 1 is not sound"):
            trim(store, tmp_path / "e", head=2)


@pytest.mark.parametrize(
    ("column", "per_step"),
    [
        (2, 0.003),  # 0.03 m/s along x
        (4, -0.003),
        (0, 0.003),  # fingers
        (6, 0.03),  # first axis turns by 0.03: a point 0.1 m out moves 0.003 m
        (10, 0.03),  # third element of the second axis
    ],
)
def test_idle_ends_by_hand(tmp_path, column, per_step):
    # Observations 0..7; motion in steps 2, 3 and 5 only.
    values = np.array([0, 0, 0, 1, 2, 2, 3, 3]) * per_step
    store = hand_dataset(tmp_path / "d", hand_episode(moved(column, values)))
    assert moving_steps(store, 0, 0.029) == (2, 6)
    assert moving_steps(store, 0, 0.031) == (0, 0)
    after = made(trim(store, tmp_path / "c", idle_m_per_s=0.02))[0]
    assert after.action[:, 0].tolist() == [2, 3, 4, 5]
    assert not after.terminated


def test_another_things_motion_is_not_the_hands(tmp_path):
    store = hand_dataset(tmp_path / "d", hand_episode(moved(1, [0.0, 0.1, 0.2])))
    assert moving_steps(store, 0, 0.01) == (0, 0)


def test_speed_is_by_the_true_timestamps(tmp_path):
    rows = moved(2, [0.0, 0.01, 0.02, 0.02])
    store = hand_dataset(
        tmp_path / "d",
        hand_episode(rows, [0.0, 1.0, 1.1, 1.2]),  # 0.01, 0.1 and 0 m/s
        hand_episode(rows, [0.0, 0.0, 0.1, 0.1]),  # two moments at once: moved in no time is moving
    )
    assert moving_steps(store, 0, 0.05) == (1, 2)
    assert moving_steps(store, 1, 0.5) == (0, 1)
    assert moving_steps(store, 1, 0.05) == (0, 2)


def test_motion_of_the_last_step_is_seen_in_the_final_observation(tmp_path):
    store = hand_dataset(
        tmp_path / "d", hand_episode(moved(3, [0.0, 0.0, 0.1])), hand_episode([STILL, STILL])
    )
    assert moving_steps(store, 0, 0.01) == (1, 2)
    assert moving_steps(store, 1, 0.0) == (0, 0)


def test_all_cuts_apply_together(tmp_path):
    store = hand_dataset(tmp_path / "d", hand_episode(moved(2, [0, 0, 1, 2, 3, 4, 4, 4])))  # moves in 1..4
    plan = trim(store, tmp_path / "c", head=3, tail=1, idle_m_per_s=0.1)
    assert [(piece.start, piece.stop) for piece in plan.pieces] == [(3, 5)]
    assert plan.notes == ("episode 0: keeps steps 3-4 of 0-6",)


@given(head=st.integers(0, 12), tail=st.integers(0, 12))
def test_trim_keeps_the_middle_or_refuses(ten_steps, head, tail):
    if head + tail == 0:
        return
    if head + tail >= 10:
        with pytest.raises(UserError, match="nothing would be left of episode 0, 10 steps"):
            trim(ten_steps, ten_steps.path / "c", head, tail)
        return
    piece = trim(ten_steps, ten_steps.path / "c", head, tail).pieces[0]
    assert list(range(10))[head : 10 - tail] == list(range(piece.start, piece.stop))


@pytest.fixture(scope="module")
def ten_steps(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("ten") / "d", [1], lengths=[10])


def test_an_untouched_episode_stays_exact(tmp_path):
    active = hand_episode(moved(2, [0.0, 1.0, 2.0]))
    after = made(trim(hand_dataset(tmp_path / "d", active), tmp_path / "c", idle_m_per_s=0.1))[0]
    assert_same_but_origin(after, active)


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({}, "trim needs --head, --tail or --idle"),
        ({"head": -1}, "neither can be negative"),
        ({"idle_m_per_s": -0.1}, r"--idle -0\.1: needs a speed"),
        ({"idle_m_per_s": float("nan")}, "--idle nan: needs a speed"),
        ({"idle_m_per_s": 0.1}, "names no elements ee_pos_<frame>_x"),
    ],
)
def test_mistakes_are_named(ten_steps, cuts, message):
    with pytest.raises(UserError, match=message):
        trim(ten_steps, ten_steps.path.with_name("c"), **cuts)


def test_an_idle_episode_is_named(tmp_path):
    store = hand_dataset(tmp_path / "d", hand_episode(moved(2, [0.0, 1.0])), hand_episode([STILL, STILL]))
    with pytest.raises(UserError, match="nothing would be left of episode 1, 1 steps: drop it first"):
        trim(store, tmp_path / "c", idle_m_per_s=0.01)
