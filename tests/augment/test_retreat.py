"""Ways back from a bottleneck: hand-worked paths, and the bounds that every draw keeps."""

import math

import pytest
import torch

from robofb.augment import retreat
from robofb.augment.retreat import Retreat, draw_retreat
from robofb.geometry import rotation_angle
from robofb.rng import EpisodeRng

ROOM = ((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))


def test_a_path_by_hand():
    """Two lifts, 5 cm at 60 degrees to the vertical towards +x (two whole steps), then 10 degrees of yaw."""
    way = Retreat(2, 0.05, math.radians(60), 0.0, (0.0, 0.0, math.radians(10)))
    positions, rotations = way.waypoints(torch.zeros(3), torch.eye(3), *ROOM)
    x, z = 0.02 * math.sin(math.radians(60)), 0.01
    expected = [[0, 0, 0.02], [0, 0, 0.04], [x, 0, 0.04 + z], [2 * x, 0, 0.04 + 2 * z]]
    expected += [expected[-1]] * 2  # the turn in two steps of 5 degrees
    torch.testing.assert_close(positions, torch.tensor(expected, dtype=torch.float64))
    yaw = torch.atan2(rotations[:, 1, 0], rotations[:, 0, 0]).rad2deg()
    torch.testing.assert_close(yaw, torch.tensor([0, 0, 0, 0, 5, 10], dtype=torch.float64))


def test_the_path_stops_before_it_leaves_the_workspace():
    way = Retreat(9, 0.2, 0.1, 0.0, (0.0, 0.0, 0.1))
    positions, _ = way.waypoints(torch.tensor([0.0, 0.0, 0.5]), torch.eye(3), (-1, -1, 0), (1, 1, 0.55))
    torch.testing.assert_close(positions[:, 2], torch.tensor([0.52, 0.54, 0.54], dtype=torch.float64))
    cornered, _ = way.waypoints(torch.tensor([0.0, 0.0, 0.55]), torch.eye(3), (-1, -1, 0), (1, 1, 0.55))
    assert cornered.shape == (1, 3)  # nothing but the turn


@pytest.mark.parametrize("seed", range(20))
def test_every_draw_keeps_the_bounds(seed):
    way = draw_retreat(EpisodeRng(torch.tensor([seed])))
    assert 1 <= way.lifts <= 9 and 0.2 <= way.distance_m <= 0.5
    assert math.radians(5) <= way.polar_rad <= math.radians(80)
    positions, rotations = way.waypoints(torch.zeros(3), torch.eye(3), *ROOM)
    path = torch.cat([torch.zeros(1, 3, dtype=torch.float64), positions])
    assert path.diff(dim=0).norm(dim=-1).max() <= retreat.STEP_M + 1e-9
    turns = rotation_angle(rotations[:-1], rotations[1:])
    assert turns.max() <= retreat.TURN_STEP_RAD + 1e-6
    assert rotation_angle(torch.eye(3).double(), rotations[-1]) <= retreat.MOST_TURN_RAD + 1e-6
    ray = positions[-1] - positions[way.lifts - 1]
    assert math.acos(float(ray[2] / ray.norm())) == pytest.approx(way.polar_rad)
    assert float(ray.norm()) == pytest.approx(0.02 * math.floor(way.distance_m / 0.02))
    assert draw_retreat(EpisodeRng(torch.tensor([seed]))) == way


def test_draws_fill_their_ranges():
    ways = [draw_retreat(EpisodeRng(torch.tensor([seed]))) for seed in range(300)]
    assert {way.lifts for way in ways} == set(range(1, 10))
    assert min(way.distance_m for way in ways) < 0.21 and max(way.distance_m for way in ways) > 0.49
    assert max(way.polar_rad for way in ways) > math.radians(78)
    assert max(torch.tensor(way.turn_rad).norm().item() for way in ways) > math.radians(43)
