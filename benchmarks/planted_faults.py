"""Faults planted in the numbers, times and lengths of sound episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robofb.types import EnvSpec, Episode

Rng = np.random.Generator
Planted = tuple[Episode, int | None]  # the faulty episode and the fault's first frame, None for all of it


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: of the finding that should appear.
        plant: makes a faulty episode of a clean one.
        tolerance: frames by which the place may be off.
        images: whether it needs a dataset with cameras.
        beside: whether the faulty episode is added to the dataset instead of replacing the clean one.
    """

    name: str
    plant: Callable[[Episode, Rng, EnvSpec], Planted]
    tolerance: int = 0
    images: bool = False
    beside: bool = False


def columns(spec: EnvSpec, prefix: str, key: str = "state") -> list[int]:
    """Return the columns whose names begin with `prefix`."""
    array = spec.action if key == "action" else spec.obs[key]
    return [column for column, name in enumerate(array.names) if name.startswith(prefix)]


def with_state(episode: Episode, state: np.ndarray) -> Episode:
    """Return the episode with another state."""
    return replace(episode, obs={**episode.obs, "state": state.astype(np.float32)})


def direction(rng: Rng) -> np.ndarray:
    """Return a random unit vector (3,)."""
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def rotation(rng: Rng, angle: float) -> np.ndarray:
    """Return the matrix (3, 3) of a turn by `angle` [rad] about a random axis."""
    x, y, z = direction(rng)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def inner(episode: Episode, rng: Rng, margin: int = 2, span: int = 1) -> int:
    """Return a random frame that is `margin` away from both ends, with `span` frames from it on."""
    return int(rng.integers(margin, len(episode) - margin - span + 1))


def nan_state(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Put NaN or infinity into one random value of the state."""
    state = episode.obs["state"].copy()
    frame = int(rng.integers(len(state)))
    state[frame, rng.integers(state.shape[1])] = rng.choice([np.nan, np.inf, -np.inf])
    return with_state(episode, state), frame


def nan_action(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Put NaN into one random value of the action."""
    action = episode.action.copy()
    frame = int(rng.integers(len(action)))
    action[frame, rng.integers(action.shape[1])] = np.nan
    return replace(episode, action=action), frame


def position_jump(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Move a body by 0.10 to 0.30 m, for one frame or for the rest of the episode."""
    state = episode.obs["state"].astype(np.float64)
    frame = inner(episode, rng)
    body = columns(spec, rng.choice(["ee_pos", "leg_pos", "top_pos"]))
    last = frame + 1 if rng.random() < 0.5 else len(state)
    state[frame:last, body] += rng.uniform(0.10, 0.30) * direction(rng)
    return with_state(episode, state), frame


def rotation_jump(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Turn a body by 0.7 to 3.1 rad, for one frame or for the rest of the episode."""
    state = episode.obs["state"].astype(np.float64)
    frame = inner(episode, rng)
    body = columns(spec, rng.choice(["ee_rot6d", "leg_rot6d", "top_rot6d"]))
    last = frame + 1 if rng.random() < 0.5 else len(state)
    turn = rotation(rng, rng.uniform(0.7, 3.1))
    vectors = state[frame:last, body].reshape(-1, 2, 3)
    state[frame:last, body] = (vectors @ turn.T).reshape(-1, 6)
    return with_state(episode, state), frame


def skewed_rotation(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Stretch a 6D rotation by 1 to 30 % in one frame."""
    state = episode.obs["state"].copy()
    frame = int(rng.integers(len(state)))
    body = columns(spec, rng.choice(["ee_rot6d", "leg_rot6d", "top_rot6d"]))
    state[frame, body] *= 1.0 + rng.choice([-1, 1]) * rng.uniform(0.01, 0.3)
    return with_state(episode, state), frame


def stuck_action(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Repeat one action for 1.0 to 2.5 s."""
    action = episode.action.copy()
    count = int(rng.integers(10, 26))
    frame = inner(episode, rng, span=count)
    action[frame : frame + count] = action[frame]
    return replace(episode, action=action), frame


def clipped_action(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Hold one position element at its bound for 3 to 10 steps."""
    action = episode.action.copy()
    count = int(rng.integers(3, 11))
    frame = inner(episode, rng, span=count)
    column = int(rng.integers(3))
    bound = rng.choice([spec.action.low[column], spec.action.high[column]])  # type: ignore[index]
    action[frame : frame + count, column] = bound
    return replace(episode, action=action), frame


def out_of_bounds(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Command 1 to 100 mm beyond a bound in one step."""
    action = episode.action.copy()
    frame = int(rng.integers(len(action)))
    column = int(rng.integers(3))
    action[frame, column] = spec.action.high[column] + rng.uniform(0.001, 0.1)  # type: ignore[index]
    return replace(episode, action=action), frame


def gripper_chatter(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Open and close the gripper in turn, 1 or 2 steps each, 4 to 10 times."""
    action = episode.action.copy()
    hold, times = int(rng.integers(1, 3)), int(rng.integers(4, 11))
    frame = inner(episode, rng, span=hold * times)
    usual = action[frame - 1, 9]
    for index in range(times):
        part = slice(frame + index * hold, frame + (index + 1) * hold)
        action[part, 9] = -usual if index % 2 == 0 else usual
    return replace(episode, action=action), frame


def backwards(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Set the clock back by 0.11 to 5 s from one frame on."""
    times = episode.timestamps.copy()
    frame = inner(episode, rng)
    times[frame:] -= rng.uniform(0.11, 5.0)
    return replace(episode, timestamps=times), frame


def gap(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Lose 1 to 20 frames' time."""
    times = episode.timestamps.copy()
    frame = inner(episode, rng)
    times[frame:] += spec.control_dt * int(rng.integers(1, 21))
    return replace(episode, timestamps=times), frame


def drift(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Run the clock 3 to 40 % faster or slower, with 3 % jitter."""
    times = episode.timestamps
    factor = rng.choice([1 + rng.uniform(0.03, 0.4), 1 - rng.uniform(0.03, 0.3)])
    steps = np.diff(times) * factor * (1 + rng.uniform(-0.03, 0.03, len(times) - 1))
    return replace(episode, timestamps=times[0] + np.concatenate([[0.0], steps.cumsum()])), None


def no_new_frame(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Repeat an observation with its timestamp 1 to 10 times."""
    count = int(rng.integers(1, 11))
    frame = inner(episode, rng, span=count)
    part = slice(frame, frame + count)
    obs = {key: rows.copy() for key, rows in episode.obs.items()}
    for rows in obs.values():
        rows[part] = rows[frame - 1]
    times = episode.timestamps.copy()
    times[part] = times[frame - 1]
    return replace(episode, obs=obs, timestamps=times), frame


def late(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Let the commands stand 3 to 6 steps before where they were."""
    shift = int(rng.integers(3, 7))
    action = np.concatenate([episode.action[shift:], np.repeat(episode.action[-1:], shift, 0)])
    return replace(episode, action=action), None


def lengthened(episode: Episode, before: int, after: int) -> Episode:
    """Repeat the first and the last observation and action, and stretch the time."""
    index = np.r_[np.zeros(before, int), np.arange(len(episode)), np.full(after, len(episode) - 1)]
    shown = np.r_[np.zeros(before, int), np.arange(len(episode) + 1), np.full(after, len(episode))]
    reward = np.where(np.r_[np.zeros(before, bool), np.ones(len(episode), bool), np.zeros(after, bool)],
                      episode.reward[index], 0).astype(np.float32)  # fmt: skip
    times = episode.timestamps[0] + 0.1 * np.arange(len(shown))
    return replace(
        episode,
        obs={key: rows[shown] for key, rows in episode.obs.items()},
        action=episode.action[index],
        reward=reward,
        source=episode.source[index],
        timestamps=times,
    )


def idle_head(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Wait 1 to 4 s at the start."""
    return lengthened(episode, int(rng.integers(10, 41)), 0), 0


def idle_tail(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Wait 1 to 4 s at the end."""
    return lengthened(episode, 0, int(rng.integers(10, 41))), len(episode)


def duplicate(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Record the same episode again, at another time of day."""
    return replace(episode, timestamps=episode.timestamps + rng.uniform(10, 1e5)), None


def near_duplicate(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Record the same episode again with noise of 0.1 to 2 mm on the state."""
    noise = rng.normal(scale=rng.uniform(0.0001, 0.002), size=episode.obs["state"].shape)
    noise[:, columns(spec, "ee_rot") + columns(spec, "leg_rot") + columns(spec, "top_rot")] = 0.0
    return with_state(episode, episode.obs["state"] + noise), None


def shortened(episode: Episode, steps: int, reward: float) -> Episode:
    """Keep the first steps and call it a success."""
    rewards = np.zeros(steps, np.float32)
    rewards[-1] = reward
    return replace(
        episode,
        obs={key: rows[: steps + 1] for key, rows in episode.obs.items()},
        action=episode.action[:steps],
        reward=rewards,
        timestamps=episode.timestamps[: steps + 1],
        source=episode.source[:steps],
    )


def short(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Cut an episode to 5 to 35 % of its length."""
    return shortened(episode, max(2, int(len(episode) * rng.uniform(0.05, 0.35))), 1.0), None


def long(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Slow the second half down until the episode has 2.5 to 5 times its length."""
    extra = int(len(episode) * rng.uniform(1.5, 4.0))
    return lengthened(episode, extra // 2, extra - extra // 2), None


def unrewarded(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Cut an episode to 40 to 80 % before its reward, marked a success."""
    return shortened(episode, int(len(episode) * rng.uniform(0.4, 0.8)), 0.0), None


def far_end(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Cut an episode to 40 to 80 %, marked a success and rewarded."""
    return shortened(episode, int(len(episode) * rng.uniform(0.4, 0.8)), 1.0), None


FAULTS = {
    "nan_state": Fault("not_finite", nan_state),
    "nan_action": Fault("not_finite", nan_action),
    "position_jump": Fault("position_jump", position_jump),
    "rotation_jump": Fault("rotation_jump", rotation_jump),
    "rot6d_not_orthonormal": Fault("rot6d_not_orthonormal", skewed_rotation),
    "stuck_action": Fault("stuck_action", stuck_action),
    "clipped_action": Fault("clipped_action", clipped_action),
    "action_out_of_bounds": Fault("action_out_of_bounds", out_of_bounds),
    "gripper_chatter": Fault("gripper_chatter", gripper_chatter, tolerance=10),
    "time_backwards": Fault("time_backwards", backwards),
    "time_gap": Fault("time_gap", gap),
    "rate_drift": Fault("rate_drift", drift),
    "no_new_frame": Fault("no_new_frame", no_new_frame),
    "command_lag": Fault("command_lag", late),
    "idle_head": Fault("idle_head", idle_head),
    "idle_tail": Fault("idle_tail", idle_tail, tolerance=2),
    "duplicate_episode": Fault("duplicate_episode", duplicate, beside=True),
    "near_duplicate_episode": Fault("near_duplicate_episode", near_duplicate, beside=True),
    "short_episode": Fault("length_outlier", short),
    "long_episode": Fault("length_outlier", long),
    "success_without_reward": Fault("success_without_reward", unrewarded),
    "success_ends_apart": Fault("success_ends_apart", far_end),
}
