"""Where each move sends the hand, by hand. Two rows: the second never disturbs the first."""

import math

import pytest
import torch

from robofb.envs.furniture.moves import (
    CLOSED,
    OPEN,
    Carry,
    GoTo,
    Pose,
    Reach,
    Relax,
    Scene,
    Screw,
    Shift,
    Wait,
    about_z,
    nearest,
    turn_between,
)
from robofb.geometry import rotation_angle, rotvec_to_matrix

ORIGIN = (0.0, 0.0, 0.0)
DOWN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


def about(x=0.0, y=0.0, z=0.0):
    return rotvec_to_matrix(torch.tensor([x, y, z]))


def pose(place, rotation=None):
    rotation = torch.eye(3) if rotation is None else rotation
    other = torch.tensor([9.0, 9.0, 9.0])
    return Pose(torch.stack([torch.tensor(place), other]), torch.stack([rotation, torch.eye(3)]))


def scene(tcp=((0.4, 0.0, 0.3), DOWN), start=None, grasp_error=(0.0, 0.0, 0.0), aim=(0.0, 0.0), **parts):
    hand = pose(*tcp)
    begin = hand if start is None else pose(*start)
    return Scene(
        tcp=hand,
        command=hand,
        start=begin,
        parts={name: pose(*where) for name, where in parts.items()},
        grasp_error=torch.tensor([grasp_error, (0.0, 0.0, 0.0)]),
        aim_error=torch.tensor([aim, (0.0, 0.0)]),
    )


def check(target, place, rotation, distance=None):
    torch.testing.assert_close(target.pose.position[0], torch.tensor(place), atol=1e-5, rtol=0)
    torch.testing.assert_close(target.pose.rotation[0], rotation, atol=1e-5, rtol=0)
    if distance is not None:
        assert target.distance[0].item() == pytest.approx(distance, abs=1e-5)


def test_wait_stays_where_the_move_began():
    seen = scene(start=((0.1, 0.2, 0.3), about(z=0.5)))
    check(Wait().target(seen), (0.1, 0.2, 0.3), about(z=0.5), 0.0)


def test_relax_commands_where_the_hand_is():
    check(Relax().target(scene(start=((0.1, 0.2, 0.3), DOWN))), (0.4, 0.0, 0.3), DOWN, 0.0)


def test_reach_goes_to_the_grasp_in_the_parts_frame():
    """A part at (0.5, 0.1, 0), turned by 90 degrees: its x is the base's y."""
    seen = scene(part=((0.5, 0.1, 0.0), about(z=math.pi / 2)))
    reach = Reach(part="part", grasp_m=(0.02, 0.0, 0.05), headings=[DOWN])
    check(reach.target(seen), (0.5, 0.12, 0.05), about(z=math.pi / 2) @ DOWN, math.hypot(0.1, 0.12, 0.25))
    assert reach.gripper == OPEN and Wait().gripper == CLOSED


def test_reach_stands_off_against_the_hands_z_and_errs_in_its_frame():
    seen = scene(part=((0.5, 0.1, 0.0),), grasp_error=(0.002, 0.003, 0.0))
    reach = Reach(part="part", grasp_m=(0.0, 0.0, 0.0), headings=[DOWN], stand_off_m=0.08)
    check(reach.target(seen), (0.502, 0.097, 0.08), DOWN)  # looking down, y is turned over


def test_reach_takes_the_heading_it_likes():
    seen = scene(part=((0.5, 0.1, 0.0), about(z=0.3)))
    headings = [turn @ DOWN for turn in about_z((0, 90, 180, 270))]
    for like, found in (
        (None, about(z=0.3) @ DOWN),
        (about(z=math.pi / 2) @ DOWN, about(z=0.3 + math.pi / 2) @ DOWN),
        (about(z=-1.0) @ DOWN, about(z=0.3 - math.pi / 2) @ DOWN),
    ):
        reach = Reach(part="part", grasp_m=(0.0, 0.0, 0.0), headings=headings, like=like)
        check(reach.target(seen), (0.5, 0.1, 0.0), found)


def test_shift_goes_by_a_vector_from_the_start():
    """The start's z looks along +x; "along the TCP" goes there."""
    along_x = about(y=math.pi / 2)
    seen = scene(start=((0.4, 0.1, 0.2), along_x))
    check(Shift(by_m=(0.0, 0.0, 0.1), along_tcp_m=-0.05).target(seen), (0.35, 0.1, 0.3), along_x)
    check(Shift(to_height_m=0.5).target(seen), (0.4, 0.1, 0.5), along_x)
    turned = Shift(turn=about(z=math.pi)).target(seen)
    check(turned, (0.4, 0.1, 0.2), about(z=math.pi) @ along_x)


def test_goto_goes_to_a_fixed_pose():
    target = GoTo(place_m=(0.4, 0.3, 0.3), rotation=about(z=1.0) @ DOWN).target(scene())
    check(target, (0.4, 0.3, 0.3), about(z=1.0) @ DOWN, 0.3)


def test_carry_brings_the_seat_over_the_goal():
    """The part hangs 0.1 below the hand, upright; its seat is its origin; the socket is turned."""
    seen = scene(part=((0.4, 0.0, 0.2),), top=((0.5, 0.2, 0.0), about(z=math.pi / 2)))
    carry = Carry(part="part", to="top", seat_m=ORIGIN, goal_m=(0.06, 0.0, 0.03), above_m=0.05)
    gap = math.hypot(0.1, 0.26, 0.12)  # from (0.4, 0, 0.2) to (0.5, 0.26, 0.08)
    check(carry.target(seen), (0.5, 0.26, 0.18), DOWN, gap)


def test_carry_misses_by_the_aim_in_the_sockets_frame():
    turned = about(z=math.pi / 2)
    seen = scene(aim=(0.001, 0.0), part=((0.4, 0.0, 0.2),), top=((0.5, 0.2, 0.0), turned))
    check(Carry(part="part", to="top", seat_m=ORIGIN, goal_m=ORIGIN).target(seen), (0.5, 0.201, 0.1), DOWN)


def test_carry_turns_a_lying_part_upright():
    """Its z lies along +y: the least turn to up is -90 degrees ... about -x, and the hand goes with it."""
    lying = about(x=-math.pi / 2)
    torch.testing.assert_close(lying[:, 2], torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    seen = scene(tcp=((0.4, 0.05, 0.2), DOWN), part=((0.4, 0.0, 0.2), lying), top=((0.5, 0.2, 0.0),))
    carry = Carry(part="part", to="top", seat_m=ORIGIN, goal_m=ORIGIN)
    # the hand was 0.05 along the part's z, so it ends 0.05 above; looking down becomes looking along +y
    turn = about(x=math.pi / 2)
    check(carry.target(seen), (0.5, 0.2, 0.05), turn @ DOWN)
    torch.testing.assert_close((turn @ DOWN)[:, 2], torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("symmetry", "ends_at"), [(0, 1.0), (1, 0.0), (2, 0.0), (4, math.pi / 2), (3, 0.0)])
def test_carry_turns_to_the_nearest_heading_that_serves(symmetry, ends_at):
    """The part is turned by 1 rad against the socket, which is turned by 0.2."""
    seen = scene(part=((0.4, 0.0, 0.2), about(z=1.2)), top=((0.5, 0.2, 0.0), about(z=0.2)))
    carry = Carry(part="part", to="top", seat_m=ORIGIN, goal_m=ORIGIN, symmetry=symmetry)
    check(carry.target(seen), (0.5, 0.2, 0.1), about(z=ends_at - 1.0) @ DOWN)


def test_screw_turns_about_the_sockets_axis_and_follows_the_part_down():
    """Where the move began the hand looked straight down; the part has sunk to 0.031 by now."""
    seen = scene(
        tcp=((0.5, 0.2, 0.1), DOWN),
        start=((0.5, 0.2, 0.15), DOWN),
        part=((0.501, 0.2, 0.031),),
        top=((0.5, 0.2, 0.03),),
    )
    screw = Screw(part="part", to="top", seat_m=ORIGIN, goal_m=ORIGIN, angle_rad=-0.5, press_m=0.002)
    # the seat belongs on the axis: the hand follows by -1 mm in x; 2 mm of pressing
    check(screw.target(seen), (0.499, 0.2, 0.098), about(z=-0.5) @ DOWN)
    assert screw.target(seen).distance[0].item() == pytest.approx(0.05 * 2 * math.sin(0.25), abs=1e-5)


def test_nearest_is_the_least_angle():
    generator = torch.Generator().manual_seed(0)
    frame = rotvec_to_matrix(torch.randn(20, 3, generator=generator))
    wanted = rotvec_to_matrix(torch.randn(20, 3, generator=generator))
    choices = list(rotvec_to_matrix(torch.randn(6, 3, generator=generator)))
    found = rotation_angle(nearest(frame, choices, wanted), wanted)
    every = torch.stack([rotation_angle(frame @ choice, wanted) for choice in choices])
    torch.testing.assert_close(found, every.amin(0))


def test_turn_between_is_the_least_turn():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, 3, generator=generator), dim=-1)
    turn = turn_between(a, b)
    torch.testing.assert_close((turn @ a.unsqueeze(-1)).squeeze(-1), b, atol=1e-5, rtol=0)
    angle = torch.acos((a * b).sum(-1).clamp(-1, 1))
    torch.testing.assert_close(rotation_angle(turn, torch.eye(3).expand(50, 3, 3)), angle, atol=1e-3, rtol=0)
    same = turn_between(a, a)
    torch.testing.assert_close(same, torch.eye(3).expand(50, 3, 3), atol=1e-6, rtol=0)
