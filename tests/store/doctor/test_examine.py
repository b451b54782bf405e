"""One fault of each kind in an otherwise sound dataset, with its exact place."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sound_episodes import (
    ACTION,
    CLOSE,
    LENGTH,
    NAMELESS,
    SPEC,
    STATE,
    overwrite,
    sound_episode,
    write_dataset,
)

from robofb.cli import run
from robofb.errors import UserError
from robofb.store.doctor.examine import CHECK_NAMES, examine
from robofb.store.doctor.text import format_diagnosis
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_POLICY, SOURCE_SCRIPTED

NUMBER = 3  # the episode that gets the fault
SOUND = [sound_episode(number) for number in range(8)]


def state_with(frames, names, value):
    """Return episode 3 with named elements of its state changed by a function in some frames."""
    state = SOUND[NUMBER].obs["state"].copy()
    columns = [STATE.index(name) for name in names]
    state[np.ix_(frames, columns)] = value(state[np.ix_(frames, columns)])
    return replace(SOUND[NUMBER], obs={**SOUND[NUMBER].obs, "state": state})


def action_with(steps, column, values):
    action = SOUND[NUMBER].action.copy()
    action[steps, column] = values
    return replace(SOUND[NUMBER], action=action)


def images_with(change):
    images = SOUND[NUMBER].obs["image_front"].copy()
    change(images)
    return replace(SOUND[NUMBER], obs={**SOUND[NUMBER].obs, "image_front": images})


def times_with(change):
    times = SOUND[NUMBER].timestamps.copy()
    change(times)
    return replace(SOUND[NUMBER], timestamps=times)


def found(folder, **options):
    """Return (fault, severity, episode, frames, key) of each finding."""
    findings = examine(folder, **options).findings
    return [(f.fault, f.severity, f.episode, f.frames, f.key) for f in findings]


def found_with(tmp_path, episode):
    return found(write_dataset(tmp_path / "d", [*SOUND[:NUMBER], episode, *SOUND[NUMBER + 1 :]]))


def test_a_sound_dataset_has_no_findings_and_every_check_runs(tmp_path):
    diagnosis = examine(write_dataset(tmp_path / "d", SOUND))
    assert diagnosis.findings == []
    assert diagnosis.not_checked == {}
    assert diagnosis.sound_episodes == len(diagnosis.lengths) == 8
    assert diagnosis.measured["command_lag_steps"] == pytest.approx(2.0, abs=0.1)
    assert diagnosis.measured["command_lag_ms"] == pytest.approx(200, abs=10)


def test_a_tool_that_leaps_for_one_frame(tmp_path):
    faulty = state_with([12], ["tool_pos_base_x"], lambda x: x + 0.2)
    assert found_with(tmp_path, faulty) == [("position_jump", "error", 3, (12, 12), "state")]


def test_a_tool_that_leaps_and_stays(tmp_path):
    faulty = state_with(range(12, LENGTH + 1), ["tool_pos_base_z"], lambda z: z + 0.2)
    assert found_with(tmp_path, faulty) == [("position_jump", "error", 3, (12, 12), "state")]


def test_an_object_that_turns_at_once_is_a_warning(tmp_path):
    # Exchanging w and z of a turn about z by a is a turn by pi - a: a leap both ways but at a = pi / 2.
    faulty = state_with([7], ["cup_quat_base_w", "cup_quat_base_z"], lambda wz: wz[:, ::-1])
    assert found_with(tmp_path, faulty) == [("rotation_jump", "warning", 3, (7, 7), "state")]


def test_a_quaternion_and_its_negative_are_the_same_rotation(tmp_path):
    faulty = state_with([7], [f"cup_quat_base_{axis}" for axis in "wxyz"], lambda q: -q)
    assert found_with(tmp_path, faulty) == []


def test_a_quaternion_of_length_two(tmp_path):
    faulty = state_with([7, 8], [f"cup_quat_base_{axis}" for axis in "wxyz"], lambda q: 2 * q)
    assert found_with(tmp_path, faulty) == [("quat_not_unit", "error", 3, (7, 8), "state")]


def test_a_6d_rotation_with_columns_that_lean(tmp_path):
    # One column of length 1.01 is 0.01 off, ten times the limit; it turns nothing.
    names = [f"tool_rot6d_base_{index}" for index in range(3)]
    faulty = state_with([LENGTH], names, lambda x: 1.01 * x)
    assert found_with(tmp_path, faulty) == [("rot6d_not_orthonormal", "error", 3, (LENGTH, LENGTH), "state")]


def test_the_same_action_for_a_second(tmp_path):
    faulty = action_with(slice(5, 15), slice(0, 9), SOUND[NUMBER].action[5, :9])
    assert found_with(tmp_path, faulty) == [("stuck_action", "warning", 3, (5, 14), "action")]
    assert found_with(tmp_path / "short", action_with(slice(5, 14), slice(0, 9), faulty.action[5, :9])) == []


def test_an_action_that_stays_at_its_bound(tmp_path):
    column = ACTION.index("tool_pos_base_z")
    faulty = action_with([10, 11, 12], column, 1.0)
    assert found_with(tmp_path, faulty) == [("clipped_action", "warning", 3, (10, 12), "action")]


def test_an_action_beyond_its_bound(tmp_path):
    faulty = action_with([10], ACTION.index("tool_pos_base_z"), -1.01)
    assert found_with(tmp_path, faulty) == [("action_out_of_bounds", "error", 3, (10, 10), "action")]


def test_a_gripper_that_opens_and_closes_three_times_in_a_second(tmp_path):
    # It is told to close at 5, to open at 7, to close at 9, to open at 11, and to close at 20 for good.
    faulty = action_with([5, 6, 9, 10], ACTION.index("gripper"), 1.0)
    assert found_with(tmp_path, faulty) == [("gripper_chatter", "warning", 3, (5, 11), "action")]
    missed_grasp = action_with([12, 13], ACTION.index("gripper"), 1.0)  # 12, 14, then 20: once more
    assert CLOSE == 20
    (finding,) = found_with(tmp_path / "grasp", missed_grasp)
    assert finding == ("gripper_chatter", "warning", 3, (12, 20), "action")
    slow = action_with([8, 9], ACTION.index("gripper"), 1.0)  # 8, 10, then 20: 1.2 s
    assert found_with(tmp_path / "slow", slow) == []


def test_time_that_stands_still(tmp_path):
    def change(times):
        times[9:11] = times[8]

    faulty = times_with(change)
    assert found_with(tmp_path, faulty) == [
        ("no_new_frame", "error", 3, (9, 10), "timestamp"),
        ("time_gap", "error", 3, (11, 11), "timestamp"),  # from 8 to 11 passed 0.3 s
    ]


def test_a_lost_frame_is_a_gap(tmp_path):
    def change(times):
        times[30:] += 0.1

    assert found_with(tmp_path, times_with(change)) == [("time_gap", "error", 3, (30, 30), "timestamp")]


@pytest.mark.parametrize(("pauses", "severity"), [(1, "warning"), (0, "error"), ("often", "error")])
def test_an_arm_that_was_held_is_elsewhere_when_time_has_leapt(tmp_path, pauses, severity):
    def change(times):
        times[12:] += 2.0

    moved = state_with(range(12, LENGTH + 1), ["tool_pos_base_z"], lambda z: z + 0.2)
    faulty = replace(moved, timestamps=times_with(change).timestamps, meta={**moved.meta, "pauses": pauses})
    assert found_with(tmp_path, faulty) == [("time_gap", severity, 3, (12, 12), "timestamp")]


def test_a_clock_three_percent_slow(tmp_path):
    def change(times):
        times[:] = times[0] + 1.03 * (times - times[0])

    (finding,) = examine(write_dataset(tmp_path / "d", [*SOUND[:3], times_with(change), *SOUND[4:]])).findings
    assert (finding.fault, finding.episode, finding.frames) == ("rate_drift", 3, None)
    assert "9.71 Hz by timestamps, 10.00 Hz declared: 0.12 s late" in finding.text  # 1 / 0.103; 40 x 3 ms


def test_time_that_runs_backwards(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND)
    overwrite(folder, "data/timestamp", NUMBER * LENGTH + 17, 300.0)  # where 301.7 s was
    places = found(folder, only=["time"])
    assert ("time_backwards", "error", 3, (17, 17), "timestamp") in places
    assert {place[2] for place in places} == {3}


@pytest.mark.parametrize(
    ("array", "row", "frame"),
    [
        ("data/state", NUMBER * LENGTH + 5, 5),
        ("final/state", NUMBER, LENGTH),
        ("data/action", NUMBER * LENGTH + 39, 39),
        ("data/reward", NUMBER * LENGTH, 0),
    ],
)
def test_nan_is_found_wherever_it_is(tmp_path, array, row, frame):
    folder = write_dataset(tmp_path / "d", SOUND)
    overwrite(folder, array, row, np.nan)
    key = array.partition("/")[2]
    assert found(folder) == [("not_finite", "error", 3, (frame, frame), key)]


def test_images_that_freeze_while_the_tool_moves(tmp_path):
    def change(images):
        images[11:14] = images[10]

    assert found_with(tmp_path, images_with(change)) == [
        ("frozen_image", "error", 3, (11, 13), "image_front")
    ]


def test_no_new_frame_is_told_apart_from_new_timestamp_with_the_same_pixels(tmp_path):
    def freeze(images):
        images[11] = images[10]

    def stop(times):
        times[11] = times[10]

    faulty = replace(images_with(freeze), timestamps=times_with(stop).timestamps)
    diagnosis = examine(write_dataset(tmp_path / "d", [*SOUND[:3], faulty, *SOUND[4:]]))
    assert [f.fault for f in diagnosis.findings] == ["no_new_frame", "time_gap"]
    assert "image_front repeats its pixels" in diagnosis.findings[0].text


def test_images_of_earlier(tmp_path):
    def change(images):
        images[20:22] = images[8:10]

    places = found_with(tmp_path, images_with(change))
    assert places == [("repeated_image", "error", 3, (20, 21), "image_front")]


@pytest.mark.parametrize(("value", "fault"), [(3, "dark_image"), (250, "bright_image"), (120, "flat_image")])
def test_images_that_show_nothing(tmp_path, value, fault):
    def change(images):
        noise = np.random.default_rng(0).integers(0, 2, images[4:6].shape)
        images[4:6] = value + noise  # deviation 0.5

    assert found_with(tmp_path, images_with(change)) == [(fault, "error", 3, (4, 5), "image_front")]


def test_an_episode_in_the_dark(tmp_path):
    def change(images):
        images[:] = images // 4  # mean 30: bright enough to be seen, a quarter of the others

    assert found_with(tmp_path, images_with(change)) == [("dark_image", "error", 3, None, "image_front")]


def test_commands_that_lead_by_six_steps(tmp_path):
    # Shifting the actions forward by four makes the lag 2 + 4.
    action = np.concatenate([SOUND[3].action[4:], SOUND[3].action[-1:].repeat(4, 0)])
    action[:, 9] = SOUND[3].action[:, 9]
    (finding,) = examine(
        write_dataset(tmp_path / "d", [*SOUND[:3], replace(SOUND[3], action=action), *SOUND[4:]])
    ).findings
    assert (finding.fault, finding.severity, finding.episode) == ("command_lag", "warning", 3)
    assert "after 6.0 steps" in finding.text
    assert "the dataset's median is 2.0 steps" in finding.text


def test_waiting_at_both_ends(tmp_path):
    index = np.r_[np.zeros(12, int), np.arange(LENGTH + 1), np.full(10, LENGTH)]
    steps = np.minimum(index[:-1], LENGTH - 1)
    obs = {key: rows[index] for key, rows in SOUND[3].obs.items()}
    obs["image_front"] = np.random.default_rng(9).integers(80, 160, obs["image_front"].shape, dtype=np.uint8)
    jitter = 1e-4 * np.random.default_rng(9).normal(size=(len(steps), 3))
    action = SOUND[3].action[steps]
    action[:, :3] += jitter.astype(np.float32)  # a person's hand
    reward = np.zeros(len(steps), np.float32)
    reward[-1] = 1.0
    faulty = replace(
        SOUND[3],
        obs=obs,
        action=action,
        reward=reward,
        source=np.zeros(len(steps), np.uint8),
        timestamps=0.1 * np.arange(len(index)),
    )
    assert [place for place in found_with(tmp_path, faulty) if place[0].startswith("idle")] == [
        ("idle_head", "warning", 3, (0, 11), ""),
        ("idle_tail", "warning", 3, (52, 61), ""),  # 12 + 40 steps, then ten at rest
    ]


def test_an_episode_recorded_twice(tmp_path):
    again = replace(SOUND[2], timestamps=SOUND[2].timestamps + 1000.0)
    (finding,) = examine(write_dataset(tmp_path / "d", [*SOUND, again])).findings
    assert (finding.fault, finding.severity, finding.episode) == ("duplicate_episode", "error", 8)
    assert "episode 2" in finding.text


def test_a_policy_may_do_the_same_twice(tmp_path):
    acted = replace(SOUND[2], source=np.full(LENGTH, SOURCE_POLICY, np.uint8))
    (finding,) = examine(write_dataset(tmp_path / "d", [*SOUND[:2], acted, acted])).findings
    assert (finding.fault, finding.severity, finding.episode) == ("duplicate_episode", "warning", 3)


def test_an_episode_nearly_recorded_twice(tmp_path):
    state = SOUND[2].obs["state"].copy()
    state[:, :3] += np.random.default_rng(0).normal(scale=5e-4, size=(LENGTH + 1, 3))
    images = SOUND[5].obs["image_front"]
    again = replace(SOUND[2], obs={"state": state, "image_front": images})
    (finding,) = examine(write_dataset(tmp_path / "d", [*SOUND, again])).findings
    assert (finding.fault, finding.severity, finding.episode) == ("near_duplicate_episode", "warning", 8)
    assert "episode 2" in finding.text


def test_every_copy_of_a_copy_is_found(tmp_path):
    copies = []
    for seed in range(3):
        action = SOUND[2].action.copy()
        action[:, :3] += np.random.default_rng(seed).normal(scale=1e-4, size=(LENGTH, 3))
        images = np.random.default_rng(seed).integers(80, 160, SOUND[2].obs["image_front"].shape)
        obs = {**SOUND[2].obs, "image_front": images.astype(np.uint8)}
        copies.append(replace(SOUND[2], action=action, obs=obs))
    places = found(write_dataset(tmp_path / "d", [*SOUND, *copies]))
    assert [(place[0], place[2]) for place in places] == [("near_duplicate_episode", n) for n in (8, 9, 10)]


def cut(episode, steps):
    return replace(
        episode,
        obs={key: rows[: steps + 1] for key, rows in episode.obs.items()},
        action=episode.action[:steps],
        reward=np.eye(1, steps, steps - 1, dtype=np.float32)[0],
        timestamps=episode.timestamps[: steps + 1],
        source=episode.source[:steps],
    )


def test_an_episode_of_half_the_length_that_does_not_end_as_successes_do(tmp_path):
    assert found_with(tmp_path, cut(SOUND[3], 20)) == [
        ("length_outlier", "warning", 3, None, ""),
        ("success_ends_apart", "warning", 3, None, ""),
    ]


def test_rewards_that_contradict_the_flag(tmp_path):
    unpaid = replace(SOUND[3], reward=np.zeros(LENGTH, np.float32))
    assert found_with(tmp_path, unpaid) == [("success_without_reward", "error", 3, None, "reward")]
    failed = replace(SOUND[3], success=False)
    assert found_with(tmp_path / "f", failed) == [("failure_with_reward", "warning", 3, None, "reward")]


def test_a_dataset_without_any_success_is_warned_of_once(tmp_path):
    rows = np.zeros(LENGTH, np.float32)
    failures = [replace(episode, success=False, reward=rows) for episode in SOUND]
    assert found(write_dataset(tmp_path / "d", failures)) == [("no_success", "warning", None, None, "")]
    one = [replace(failures[0], success=True), *failures[1:]]
    assert found(write_dataset(tmp_path / "one", one)) == []


def test_a_lost_image_chunk_is_found_where_info_sees_nothing(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND)
    # Chunks hold 16 images: number 8 holds rows 128 to 143, steps 8 to 23 of episode 3.
    (folder / "data" / "image_front" / "8.0.0.0").unlink()
    assert run(["data", "info", str(folder)]) == 0
    assert found(folder) == [("damaged_file", "error", 3, (8, 23), "image_front")]


def test_damage_in_one_episode_hides_nothing_in_the_others(tmp_path):
    episodes = [*SOUND[:5], replace(SOUND[5], reward=np.zeros(LENGTH, np.float32)), *SOUND[6:]]
    folder = write_dataset(tmp_path / "d", episodes)
    chunk = folder / "data" / "image_front" / "8.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    overwrite(folder, "data/state", NUMBER * LENGTH + 4, np.inf)
    assert found(folder) == [
        ("damaged_file", "error", 3, (8, 23), "image_front"),
        ("not_finite", "error", 3, (4, 4), "state"),
        ("success_without_reward", "error", 5, None, "reward"),
    ]


def test_an_unreadable_state_does_not_hide_a_bad_end_of_another_episode(tmp_path):
    folder = write_dataset(tmp_path / "d", [*SOUND, cut(SOUND[3], 30)])
    overwrite(folder, "data/state", 0, np.nan)
    assert ("success_ends_apart", "warning", 8, None, "") in found(folder)


def test_missing_rows_are_named(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND)
    header = folder / "data" / "state" / ".zarray"
    values = json.loads(header.read_text())
    values["shape"][0] = 7 * LENGTH + 25  # of 8 * 40
    header.write_text(json.dumps(values))
    with pytest.raises(UserError, match="damaged"):
        EpisodeStore.open(folder)
    assert found(folder) == [("rows_missing", "error", 7, (25, 39), "state")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"compressor": null}',
        '{"compressor": {"id": "zstd"}, "shape": [3]}',
        '{"compressor": {"id": "zstd"}, "shape": [9, 10], "chunks": [0, 10]}',
    ],
)
def test_a_damaged_header_leaves_the_other_arrays_to_be_checked(tmp_path, content):
    folder = write_dataset(tmp_path / "d", [replace(SOUND[0], reward=SOUND[0].reward * 0), *SOUND[1:]])
    (folder / "data" / "action" / ".zarray").write_text(content)
    places = found(folder)
    assert places == [
        ("damaged_file", "error", None, None, "data/action"),
        ("success_without_reward", "error", 0, None, "reward"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"episodes": [{"end": 0}]}',
        "[1]",
        '{"episodes": null}',
        '{"episodes": [{"end": 40.0, "success": true, "terminated": true, "meta": {}}]}',
    ],
)
def test_a_damaged_index_is_a_fault(tmp_path, content):
    folder = write_dataset(tmp_path / "d", SOUND[:2])
    (folder / "index.json").write_text(content)
    assert found(folder) == [("damaged_file", "error", None, None, "")]
    text = format_diagnosis(examine(folder))
    verdict = "no episode could be looked at: the dataset itself is damaged; errors: 1, warnings: 0"
    assert text.splitlines()[2:] == [verdict]
    for words in ("indices", "NoneType", "subscriptable", "argument"):
        assert words not in text  # of Python


@pytest.mark.parametrize("content", ["{", '{"format": "robofb-episodes", "schema_version": 1, "meta": {}}'])
def test_damaged_attributes_are_a_fault_as_a_damaged_index_is(tmp_path, content):
    folder = write_dataset(tmp_path / "d", SOUND[:2])
    (folder / ".zattrs").write_text(content)
    assert found(folder) == [("damaged_file", "error", None, None, "")]
    assert run(["data", "doctor", str(folder)]) == 1


def test_a_lost_index_is_a_fault(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND[:2])
    (folder / "index.json").unlink()
    assert found(folder) == [("damaged_file", "error", None, None, "")]


def rewrite_last(folder, **changes):
    index = json.loads((folder / "index.json").read_text())
    index["episodes"][-1] |= changes
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("rows", [None, 10**15])
def test_an_end_that_no_disk_could_hold_is_a_fault_of_its_episode(tmp_path, rows):
    folder = write_dataset(tmp_path / "d", SOUND[:3])
    rewrite_last(folder, end=10**15)
    for header in folder.glob("data/*/.zarray") if rows else ():
        values = json.loads(header.read_text())
        values["shape"][0] = rows
        header.write_text(json.dumps(values))
    assert ("rows_missing", "error", 2, None, "") in found(folder)


@pytest.mark.parametrize(
    ("stored", "words"),
    [(5, "is 5: needs a list"), (["a"], "holds 'a'"), (99999, "step 99999; valid: 0..40"), (-3, "step -3")],
)
def test_marks_that_mark_nothing(tmp_path, stored, words):
    folder = write_dataset(tmp_path / "d", SOUND[:3])
    mark = {"step": stored, "by": "person", "why": "tight"}
    rewrite_last(folder, meta={"bottlenecks": [mark] if "step" in words else stored})
    assert found(folder) == [("bad_bottlenecks", "error", 2, None, "")]
    assert words in examine(folder).findings[0].text


def test_the_verdict_counts_errors_of_the_dataset_itself(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND[:5])
    (folder / "final" / "state" / ".zarray").write_text("{")
    verdict = "5 of 5 episodes sound, errors of the dataset itself: 1; errors: 1, warnings: 0"
    assert format_diagnosis(examine(folder)).splitlines()[-1] == verdict


def test_ends_that_other_tools_would_read_wrongly(tmp_path):
    folder = write_dataset(tmp_path / "d", SOUND)
    overwrite(folder, "meta/episode_ends", 2, 7)
    assert found(folder) == [("ends_differ", "warning", None, None, "meta/episode_ends")]


def test_a_dataset_without_names_is_checked_for_all_that_needs_none(tmp_path):
    def change(times):
        times[30:] += 0.1

    episodes = [*SOUND[:3], times_with(change), *SOUND[4:], SOUND[1]]
    folder = write_dataset(tmp_path / "d", episodes, NAMELESS)
    overwrite(folder, "data/action", 0, np.nan)
    diagnosis = examine(folder)
    assert {finding.fault for finding in diagnosis.findings} == {
        "not_finite",
        "time_gap",
        "duplicate_episode",
    }
    assert set(diagnosis.not_checked) == {"jumps", "rotations", "bounds", "chatter", "idle", "lag"}


def test_one_episode_of_one_step_is_sound(tmp_path):
    diagnosis = examine(write_dataset(tmp_path / "d", [cut(SOUND[0], 1)]))
    assert diagnosis.findings == []
    assert diagnosis.sound_episodes == 1


def test_a_dataset_without_episodes_is_none_to_learn_from(tmp_path):
    assert found(write_dataset(tmp_path / "d", [])) == [("no_episodes", "error", None, None, "")]


def test_only_the_wanted_checks_run(tmp_path):
    folder = write_dataset(tmp_path / "d", [*SOUND, replace(SOUND[0], reward=SOUND[0].reward * 0)])
    assert [place[0] for place in found(folder, only=["outcomes"])] == ["success_without_reward"]
    assert found(folder, only=["time"]) == []
    with pytest.raises(UserError, match=f"--only tim: no such check; valid: {', '.join(CHECK_NAMES)}"):
        examine(folder, only=["tim"])


def test_the_worst_stands_first_and_the_verdict_last(tmp_path):
    folder = write_dataset(tmp_path / "d", [*SOUND[:7], cut(SOUND[7], 20), SOUND[0]])
    lines = format_diagnosis(examine(folder)).splitlines()
    assert lines[0] == "error: duplicate_episode (1)"
    assert lines[1].startswith("  episode 8: ")
    assert lines[2] == "warning: length_outlier (1)"
    assert lines[-1] == "7 of 9 episodes sound; errors: 1, warnings: 2"


def test_scripted_demonstrations_are_sound(tmp_path, capsys):
    folder = tmp_path / "d"
    words = ["collect", "task=one_leg_insert", "episodes=6", "num_envs=6", f"out={folder}"]
    assert run([*words, "cameras=[front]", "image_size=[24,32]"]) == 0
    capsys.readouterr()
    assert run(["data", "doctor", str(folder), "--json", "--strict"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["findings"] == []
    assert result["not_checked"] == {}
    with EpisodeStore.open(folder) as store:
        assert (store[0].source == SOURCE_SCRIPTED).all()
        assert result["episodes"] == result["sound_episodes"] == len(store) == 6
        assert store.spec.task == result["task"] != SPEC.task
