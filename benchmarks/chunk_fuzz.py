"""Chunks of every kind for the gate of deployment, and what is wrong with plans, told without its code."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from robofb.deploy.limits import Limits
from robofb.deploy.pose import Pose
from robofb.deploy.safety import Plan

_ODD = (math.nan, math.inf, -math.inf, 0.0, 1e-30, 1e30, 1e300, -1e300)


def violations(plan: Plan, start: Pose, limits: Limits, dt_s: float) -> list[str]:
    """Return what is wrong with a plan that begins one step after `start`, computed by scipy."""
    places = np.array([start.position_m, *(pose.position_m for pose in plan.poses)])
    turns = np.array([start.turn, *(pose.turn for pose in plan.poses)])
    wrong = []
    if not (np.isfinite(places).all() and np.isfinite(turns).all() and np.isfinite(plan.gripper).all()):
        return ["not finite"]
    if not np.allclose(np.linalg.norm(turns, axis=1), 1.0, atol=1e-9):
        return ["no rotation"]
    if (places < np.array(limits.low_m) - 1e-9).any() or (places > np.array(limits.high_m) + 1e-9).any():
        wrong.append("box")
    rotations = Rotation.from_quat(turns, scalar_first=True)
    cosine = np.clip(rotations.apply([0, 0, 1]) @ np.array(limits.tool_axis), -1, 1)
    if np.arccos(cosine).max() > limits.most_tilt_rad + 1e-6:
        wrong.append("tilt")
    if np.linalg.norm(np.diff(places, axis=0), axis=1).max() > limits.max_speed_m_s * dt_s + 1e-8:
        wrong.append("speed")
    if (rotations[1:] * rotations[:-1].inv()).magnitude().max() > limits.max_turn_rad_s * dt_s + 1e-6:
        wrong.append("turn")
    if np.abs(plan.gripper).max() > 1:
        wrong.append("gripper")
    return wrong


def some_start(generator: np.random.Generator, limits: Limits) -> Pose:
    """Return a pose inside box and cone."""
    place = generator.uniform(limits.low_m, limits.high_m)
    heading, angle = generator.uniform(0, 2 * math.pi), generator.uniform(0, 0.99 * limits.most_tilt_rad)
    away = angle * np.array([math.cos(heading), math.sin(heading), 0.0])
    upright = Rotation.align_vectors([limits.tool_axis], [[0, 0, 1]])[0]
    twist = Rotation.from_rotvec([0, 0, generator.uniform(-3, 3)])
    x, y, z, w = (upright * Rotation.from_rotvec(away) * twist).as_quat().tolist()
    return Pose(tuple(place.tolist()), (w, x, y, z))


def slipped_chunk(generator: np.random.Generator, start: Pose, count: int = 16) -> np.ndarray:
    """Return a chunk (count, 10) that wanders off from `start`, by little or much of each kind."""
    rotation = Rotation.from_quat(start.turn, scalar_first=True)
    sizes = 10.0 ** generator.uniform(-4, 0.3, 3)
    chunk = np.empty((count, 10))
    chunk[:, :3] = start.position_m + 0.1 * sizes[0] * generator.normal(size=(count, 3)).cumsum(0)
    turned = Rotation.from_rotvec(sizes[1] * generator.normal(size=(count, 3)).cumsum(0)) * rotation
    columns = turned.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(count, 6)
    chunk[:, 3:9] = columns * generator.uniform(0.5, 2) + 0.05 * generator.normal(size=(count, 6))
    chunk[:, 9] = sizes[2] * generator.normal(size=count)
    return chunk


def sound_chunk(generator: np.random.Generator, start: Pose, limits: Limits, dt_s: float) -> np.ndarray:
    """Return a chunk (16, 10) float32 as a policy makes it: half of the speed that is allowed."""
    way = np.array(some_start(generator, limits).position_m) - start.position_m
    distance = float(np.linalg.norm(way))
    step = min(0.5 * limits.max_speed_m_s * dt_s, distance / 16) * way / distance
    chunk = np.empty((16, 10), np.float32)
    chunk[:, :3] = start.position_m + step * np.arange(1, 17)[:, None]
    columns = Rotation.from_quat(start.turn, scalar_first=True).as_matrix()[:, :2].T.reshape(6)
    chunk[:, 3:9] = columns + 0.001 * generator.normal(size=(16, 6))
    chunk[:, 9] = -1.0
    return chunk


def wild_chunk(generator: np.random.Generator, start: Pose) -> object:
    """Return nonsense: other shapes and types, numbers of any size, and sound ones with a few odd entries."""
    kind = generator.integers(4)
    if kind == 0:
        shape = generator.integers(0, 14, size=generator.integers(0, 4))
        return generator.normal(size=shape).astype(generator.choice(["f4", "f8", "i8", "?"]))
    if kind == 1:
        return generator.normal(size=(16, 10)) * 10.0 ** generator.uniform(-3, 30)
    chunk = slipped_chunk(generator, start)
    if kind == 2:
        chunk[generator.integers(16), generator.integers(10)] = generator.choice(_ODD)
    else:
        chunk[:, 3:9] = generator.normal(size=(16, 6))
    return chunk
