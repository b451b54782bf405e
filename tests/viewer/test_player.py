"""Where a viewer stands in an episode, by hand and in time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robofb.viewer.player import Player

TIMES_S = np.array([5.0, 5.1, 5.3, 5.4, 6.0])


def test_playing_follows_the_recorded_times():
    player = Player(TIMES_S)
    player.toggle()
    steps = []
    for _ in range(5):
        player.tick(0.2)  # 0.2, 0.4, 0.6, 0.8, 1.0 s after the first observation
        steps.append(player.step)
    assert steps == [1, 3, 3, 3, 4]
    assert not player.playing and player.time_s == 1.0


def test_speed_scales_time_and_a_paused_player_stands_still():
    player = Player(TIMES_S)
    player.tick(9.0)
    assert player.step == 0
    player.speed = 2.0
    player.toggle()
    player.tick(0.15)
    assert player.step == 2


def test_play_at_the_end_starts_again():
    player = Player(TIMES_S)
    player.seek(4)
    player.toggle()
    assert player.step == 0 and player.playing


def test_a_scrub_while_playing_goes_on_from_there():
    player = Player(TIMES_S)
    player.toggle()
    player.seek(2)
    player.tick(0.11)
    assert player.step == 3 and player.playing


def test_a_step_by_hand_pauses_and_stays_inside():
    player = Player(TIMES_S)
    player.toggle()
    player.move(-1)
    assert (player.step, player.playing) == (0, False)
    player.move(99)
    assert player.step == player.last == 4


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.lists(
        st.one_of(
            st.tuples(st.just("tick"), st.floats(0, 3)),
            st.tuples(st.just("seek"), st.integers(-5, 30)),
            st.tuples(st.just("move"), st.integers(-5, 5)),
            st.tuples(st.just("toggle"), st.none()),
        )
    ),
)
def test_whatever_happens_the_step_exists_and_time_never_plays_backwards(gaps, actions):
    times_s = np.concatenate([[0.0], np.cumsum(gaps)])
    player = Player(times_s)
    for name, value in actions:
        before = player.step
        getattr(player, name)(*([] if value is None else [value]))
        assert 0 <= player.step <= player.last
        if name == "tick":
            assert player.step >= before
        if player.playing:
            assert player.step < player.last
