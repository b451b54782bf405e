"""An episode's recording, by hand: what is a row, what is an action, and who chose it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deployed_example import drafted, shown, tick
from live_parts import SPEC

from robofb.deploy.live.bench import image_specs
from robofb.deploy.live.draft import FACT_NAMES, FACTS, PLAN, PLAN_ROWS, Draft, recorded_spec
from robofb.deploy.live.records import MODES
from robofb.deploy.live.records import PLAN as PLAN_DTYPE
from robofb.deploy.modes import Mode
from robofb.store.checks import check_episode
from robofb.types import SOURCE_HUMAN, SOURCE_INTERVENTION, SOURCE_POLICY


def test_an_action_is_what_was_sent_last_before_the_next_step() -> None:
    draft = drafted(
        [
            tick(0.0, 0.41, is_step=True),
            tick(0.05, 0.42),
            tick(0.1, 0.43, Mode.HUMAN, is_step=True),
            tick(0.15, 0.44, Mode.HUMAN),
            tick(0.2, 0.45, is_step=True),
        ]
    )
    episode = draft.made(True, {"label": "success"})
    check_episode(episode, recorded_spec(SPEC))
    assert len(episode) == 2 and episode.timestamps.tolist() == [0.0, 0.1, 0.2]
    np.testing.assert_allclose(episode.action[:, 0], [0.42, 0.44])
    np.testing.assert_allclose(episode.action[0, 3:], [1, 0, 0, 0, -1, 0, 1], atol=1e-7)
    assert episode.source.tolist() == [SOURCE_POLICY, SOURCE_INTERVENTION]
    assert episode.reward.tolist() == [0.0, 1.0] and episode.success
    assert episode.meta == {"label": "success", "pauses": 0}
    np.testing.assert_allclose(episode.obs["state"][:, 0], [0.0, 0.1, 0.2])


def test_where_the_arm_stood_a_row_that_nobody_acted_on_gives_way() -> None:
    draft = drafted(
        [
            tick(0.0, 0.41, is_step=True),
            tick(0.1, 0.42, is_step=True),
            tick(0.15, 0.43, Mode.HOLD),
            tick(0.2, 0.43, Mode.HOLD, is_step=True),
            tick(0.9, 0.43, Mode.HOLD),
            tick(1.0, 0.44, is_step=True),
            tick(1.1, 0.45, is_step=True),
        ]
    )
    episode = draft.made(False, {})
    assert episode.timestamps.tolist() == [0.0, 1.0, 1.1]  # the row of 0.1 s led nowhere
    assert episode.meta == {"pauses": 1}
    np.testing.assert_allclose(episode.action[:, 0], [0.41, 0.44])


def test_each_row_keeps_its_picture(tmp_path: Path) -> None:
    """Where rows give way, and after what was done before the arm went home, pictures do too."""
    spec = SPEC.with_obs({**SPEC.obs, **image_specs({"front": (2, 4)})})
    draft = Draft(spec, tmp_path)
    ticks = [
        tick(0.0, 0.3, Mode.HUMAN, is_step=True),
        tick(0.1, 0.3, Mode.HUMAN, is_step=True),
        tick(0.2, 0.4, Mode.HOMING, is_step=True),
        tick(0.3, 0.41, is_step=True),
        tick(0.4, 0.42, is_step=True),
        tick(0.5, 0.43, Mode.HOLD),
        tick(0.6, 0.44, is_step=True),
        tick(0.7, 0.45, is_step=True),
    ]
    for number, each in enumerate(ticks):
        acting = int(each["mode"]) in (MODES.index(Mode.POLICY), MODES.index(Mode.HUMAN))
        draft.add(each, acting, {"image_front": shown(np.full((3, 2, 4), number, np.uint8))})
    episode = draft.made(False, {})
    check_episode(episode, spec)
    draft.close()
    assert episode.timestamps.tolist() == [0.3, 0.6, 0.7]
    assert episode.obs["image_front"][:, 0, 0, 0].tolist() == [3, 6, 7]
    assert list(tmp_path.iterdir()) == []


def test_one_that_failed_takes_no_more_room(tmp_path: Path) -> None:
    draft = Draft(SPEC.with_obs({**SPEC.obs, **image_specs({"front": (2, 4)})}), tmp_path)
    picture = {"image_front": shown(np.zeros((3, 2, 4), np.uint8))}
    before = len(list(Path("/proc/self/fd").iterdir()))
    draft.add(tick(0.0, 0.41, is_step=True), True, picture)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    draft.fail("3 ticks were missed")
    draft.add(tick(0.1, 0.42, is_step=True), True, picture)
    draft.fail("another reason")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert draft.broken == "3 ticks were missed" and len(draft) == 0


def test_nothing_is_added_after_the_task_is_over() -> None:
    ticks = [tick(0.1 * number, 0.4, is_step=True, verdict=number >= 2) for number in range(6)]
    assert len(drafted(ticks)) == 2


def test_facts_are_of_the_step_before_and_plans_of_the_row_they_were_made_from() -> None:
    first = tick(0.0, 0.41, is_step=True, compute_s=0.001)
    slow = tick(0.07, 0.42, compute_s=0.004, gate=(5, 2, 1))
    second = tick(0.1, 0.43, is_step=True, compute_s=0.002, observed_s=0.0, gate=(6, 2, 1), epoch=3)
    second["judged"] = (0, 1, 0, 1, 0, 0)
    draft = drafted([first, slow, second])
    plan = np.zeros((), PLAN_DTYPE)
    plan["observed_s"], plan["count"], plan["took_s"] = 0.1, 2, 0.03
    plan["actions"][:2, 0] = (0.5, 0.6)
    draft.plan(plan[()])
    episode = draft.made(False, {})
    facts = dict(zip(FACT_NAMES, episode.obs[FACTS][1], strict=True))
    assert facts["longest_compute_s"] == pytest.approx(0.004)
    assert facts["longest_period_s"] == pytest.approx(0.07)
    assert facts["followed_plan_age_s"] == pytest.approx(0.1) and facts["epoch"] == 3
    assert (facts["chunks_passed"], facts["chunks_clamped"], facts["chunks_refused"]) == (6, 2, 1)
    assert [name for name in FACT_NAMES if name.startswith("chunk_") and facts[name]] == [
        "chunk_clamped_box",
        "chunk_clamped_speed",
    ]
    assert (facts["plan_count"], facts["plan_took_s"]) == (2, 0.03)
    np.testing.assert_allclose(episode.obs[PLAN][1, :, 0], [0.5] + [0.6] * (PLAN_ROWS - 1))
    before = dict(zip(FACT_NAMES, episode.obs[FACTS][0], strict=True))
    assert before["followed_plan_age_s"] == -1 and before["plan_count"] == 0


def test_a_row_says_when_its_pictures_were_captured_by_its_own_clock() -> None:
    """The arm's is 90 s behind this machine's; a stamp of the future is as old as the row."""
    spec = recorded_spec(SPEC.with_obs({**SPEC.obs, **image_specs({"front": (2, 4), "wrist": (2, 4)})}))
    names = spec.obs[FACTS].names
    assert names[: len(FACT_NAMES)] == FACT_NAMES
    assert names[len(FACT_NAMES) :] == ("image_front_captured_s", "image_wrist_captured_s")
    draft = Draft(spec, Path())
    for time_s, front_s, wrist_s in ((1.0, 90.97, 90.5), (1.1, 91.02, 91.2)):
        shown_s = {"image_front": front_s, "image_wrist": wrist_s}
        pictures = {key: shown(np.zeros((3, 2, 4), np.uint8), each_s) for key, each_s in shown_s.items()}
        draft.add(tick(time_s, 0.4, is_step=True, wall_s=90.0 + time_s), True, pictures)
    episode = draft.made(False, {})
    check_episode(episode, spec)
    draft.close()
    np.testing.assert_allclose(episode.obs[FACTS][:, -2:], [[0.97, 0.5], [1.02, 1.1]], atol=1e-9)


def test_a_plan_that_is_nonsense_is_kept_as_none() -> None:
    draft = drafted(
        [tick(0.0, 0.4, is_step=True), tick(0.1, 0.4, is_step=True), tick(0.2, 0.4, is_step=True)]
    )
    for observed_s, count in ((0.0, -1), (0.1, 3)):
        plan = np.zeros((), PLAN_DTYPE)
        plan["observed_s"], plan["count"], plan["actions"][1] = observed_s, count, np.nan
        draft.plan(plan[()])
    episode = draft.made(False, {})
    check_episode(episode, recorded_spec(SPEC))
    assert episode.obs[FACTS][:, FACT_NAMES.index("plan_count")].tolist() == [-1, -1, 0]


def test_a_demonstration_begins_at_home_and_is_a_persons_own() -> None:
    """What was driven before the arm went home is left out; nothing is kept that only policies have."""
    draft = Draft(SPEC, Path(), SOURCE_HUMAN)
    ticks = [
        tick(0.0, 0.30, Mode.HUMAN, is_step=True),
        tick(0.1, 0.31, Mode.HUMAN, is_step=True),
        tick(0.2, 0.32, Mode.HOMING, is_step=True),
        tick(0.3, 0.40, Mode.HOMING, is_step=True),
        tick(0.4, 0.40, Mode.READY, is_step=True),
        tick(0.5, 0.41, Mode.HUMAN, is_step=True),
        tick(0.6, 0.42, Mode.HUMAN, is_step=True),
        tick(0.7, 0.43, Mode.HUMAN, is_step=True),
    ]
    for each in ticks:
        draft.add(each, int(each["mode"]) == MODES.index(Mode.HUMAN), {})
    episode = draft.made(True, {})
    check_episode(episode, SPEC)
    assert episode.timestamps.tolist() == [0.5, 0.6, 0.7]
    np.testing.assert_allclose(episode.action[:, 0], [0.41, 0.42])
    assert episode.source.tolist() == [SOURCE_HUMAN] * 2
