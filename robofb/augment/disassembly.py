"""Make simulator states for reset banks backwards from the assembled pose, without any demonstration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.augment.settle import Settler
from robofb.errors import UserError
from robofb.geometry import (
    matrix_to_quat,
    matrix_to_rot6d,
    matrix_to_rotvec,
    nearest_turn,
    quat_to_matrix,
    rotvec_to_matrix,
    shortest_turn,
)
from robofb.rng import BANK_MAKING_STREAM, EpisodeRng, derive_seeds
from robofb.sim.bank_kinds import KINDS, BankTask
from robofb.sim.engine import free_joint_slices
from robofb.sim.ik import SerialArm, solve_differential_ik
from robofb.sim.vec_env import SimVecEnv

CLOSE_STEPS, PULL_STEPS, AWAY_STEPS = 5, 12, 20
MOST_SLIP_M = 0.002  # of a plug from its place while the hand closes
GRIP_ERROR_M = (0.002, 0.0, 0.002)  # across the pads and along the hand, never along their closing
OVER_M, ASIDE_M = 0.016, 0.010  # a plug near its goal: above the mouth, and beside its axis
FREE_ABOVE_MOUTH_M = 0.002
TILT_RAD, SPIN_RAD = math.radians(4), math.radians(10)
ASTRAY_LOW_M, ASTRAY_HIGH_M = (-0.05, -0.05, 0.03), (0.05, 0.05, 0.13)  # of a hand on its way, off the line
ASTRAY_TILT_RAD, ASTRAY_SPIN_RAD = math.radians(12), math.radians(20)
HEADING_RAD = math.radians(20)  # of a hand at its goal: about the axis, from where it starts an episode
BACK_OFF_M, BESIDE_M = 0.05, (0.012, 0.006)  # a hand near its object: behind the grasp, and off it
IK_ROUNDS, IK_ERROR_M, IK_ERROR = 40, 0.0005, 0.01
MOST_UPWARDS = 0.2  # of the tool's z: a hand that points up has its elbow in the table
ATTEMPTS_PER_STATE, LEAST_ATTEMPTS = 30, 300


@dataclass(frozen=True)
class Pose:
    """Positions (..., 3) [m] and rotations (..., 3, 3) in the world, float64."""

    position: Tensor
    rotation: Tensor

    def moved(self, by_m: Tensor, turn: Tensor) -> Pose:
        """Return the pose shifted by a vector (..., 3) and turned by (..., 3, 3), both in its own frame."""
        shift = (self.rotation @ by_m.unsqueeze(-1)).squeeze(-1)
        return Pose(self.position + shift, self.rotation @ turn)


class Disassembler:
    """Make sound states of each kind; attempt n of a kind depends on the seed and n alone.

    "grasped" and "near_goal" states: the parts are put together, the hand grips the plug, pulls it out along
    the socket's axis and brings it near, or to somewhere along the way back to where the episode has it.
    "near_object" and "reaching": the parts are where an episode starts, the open hand behind the grasp, or
    along the way there. A base policy was shown only what people do: they turn a lying plug upright by the
    shortest way, and of all grips take the one that otherwise turns the hand least from an episode's start.

    Args:
        env: see `Settler`.
        seed: of all draws.

    Raises:
        UserError: the task has nothing to take apart.
    """

    def __init__(self, env: SimVecEnv, seed: int) -> None:
        self.env, self.settler = env, Settler(env)
        self.task: BankTask = self.settler.task
        self.seed = derive_seeds(seed, BANK_MAKING_STREAM)
        joinings = self.task.joinings()
        if not joinings:
            raise UserError(f"task {env.spec.task} has no parts that could be taken apart at its start")
        device, model = env.device, env.engine.model

        def stack(rows: list[tuple[float, ...]]) -> Tensor:
            return torch.tensor(rows, dtype=torch.float64, device=device)

        self._plug_seat = stack([joining.plug_seat_m for joining in joinings])  # (J, 3)
        self._socket_seat = stack([joining.socket_seat_m for joining in joinings])
        self._grasp = stack([joining.grasp_m for joining in joinings])
        self._heights = stack([(j.free_m, j.tip_m, float(j.any_heading)) for j in joinings])
        most = max(len(joining.headings) for joining in joinings)
        turns = [[j.headings[k % len(j.headings)] for k in range(most)] for j in joinings]
        self._headings = torch.stack([torch.stack(row) for row in turns]).to(device, torch.float64)
        free = [[free_joint_slices(model, body) for body in (j.plug, j.socket)] for j in joinings]
        starts = [[[part.start for part in slices] for slices in pair] for pair in free]
        self._joint_at = torch.tensor(starts, device=device)  # (J, 2, 2): plug and socket; in qpos, in qvel
        home, _ = self.task.arm.forward(self.task.home_rad[None].to(device))
        self._home = Pose(home[0, :3, 3], home[0, :3, :3])

    def fill(self, kind: str, wanted: int, told: Callable[[int], object]) -> Tensor:
        """Return up to `wanted` states (n, S) of a kind, in the order of their attempts.

        Fewer where `ATTEMPTS_PER_STATE` attempts for each, and at least `LEAST_ATTEMPTS`, bring no more.

        Args:
            told: is called with the number of states that each round of attempts adds.
        """
        env, found, count = self.env, [], 0
        limit = max(LEAST_ATTEMPTS, ATTEMPTS_PER_STATE * wanted)
        for first in range(0, limit, env.num_envs):
            if count >= wanted:
                break
            numbers = torch.arange(first, first + env.num_envs, device=env.device)
            states, closed = self.attempt(kind, numbers)
            settled = self.settler.settle(states, closed)
            good = (settled.kind == KINDS.index(kind)) & (numbers < limit)
            kept = settled.state[good][: wanted - count]
            found.append(kept)
            count += len(kept)
            told(len(kept))
        return torch.cat(found) if found else env.engine.snapshot()[:0]

    def attempt(self, kind: str, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return states (B, S) of attempts `numbers` (B,), and whether the gripper is closed (B,).

        What cannot be reached is left at an episode's start: another kind, or none.
        """
        env, engine = self.env, self.env.engine
        seeds = derive_seeds(derive_seeds(self.seed, KINDS.index(kind)), numbers)
        env.repeat(seeds)
        rng = EpisodeRng(derive_seeds(seeds, BANK_MAKING_STREAM))
        joining = numbers % len(self._grasp)
        carried, start = kind in ("grasped", "near_goal"), self._grips(joining)
        natural = self._home.rotation.expand(len(joining), 3, 3)  # (B, 3, 3) of a hand
        if carried:
            natural = self._raised(joining) @ natural
            self._assemble(joining, start, natural, rng)
        hand, found = self._choose(self._hands(kind, joining, rng), start, natural)
        self.task.place_arm(engine, found, hand[1][found])
        engine.forward(torch.arange(env.num_envs, device=env.device))
        if carried:
            self._take_out(kind, hand[0], start.position[:, 0], joining, rng)
        return engine.snapshot(), torch.full_like(numbers, carried, dtype=torch.bool)

    def _part(self, joining: Tensor, which: int) -> tuple[Pose, Tensor]:
        """Return the poses of the plugs (0) or sockets (1), and their places in qpos (B, 7)."""
        columns = self._joint_at[joining, which, :1] + torch.arange(7, device=joining.device)
        pose = self.env.engine.field("qpos").gather(1, columns).double()
        return Pose(pose[:, :3], quat_to_matrix(pose[:, 3:])), columns

    def _grips(self, joining: Tensor) -> Pose:
        """Return the hands (B, K) that may grip the plugs as they are."""
        plug, _ = self._part(joining, 0)
        headings = self._headings[joining]  # (B, K, 3, 3)
        place = plug.position + (plug.rotation @ self._grasp[joining].unsqueeze(-1)).squeeze(-1)
        return Pose(place[:, None].expand(headings.shape[:3]), plug.rotation[:, None] @ headings)

    def _raised(self, joining: Tensor) -> Tensor:
        """Return the shortest turns (B, 3, 3) in the world that bring each plug's axis to its socket's."""
        (plug, _), (socket, _) = self._part(joining, 0), self._part(joining, 1)
        return shortest_turn(plug.rotation[:, :, 2], socket.rotation[:, :, 2])

    def _assemble(self, joining: Tensor, start: Pose, natural: Tensor, rng: EpisodeRng) -> None:
        """Put each plug into its socket, as deep as it can be pulled out from.

        Args:
            start: (B, K) hands that may grip it at the episode's start.
            natural: (B, 3, 3) of the hand that a plug which may stand at any turn is turned towards.
        """
        free_m, _, any_heading = self._heights[joining].unbind(-1)
        socket, _ = self._part(joining, 1)
        _, columns = self._part(joining, 0)
        draw, likeliest = rng.uniform(1)[:, 0].double(), alike(start, self._home.rotation).argmax(-1)
        grip = self._headings[joining, likeliest]
        nearest = nearest_turn(grip @ natural.transpose(1, 2) @ socket.rotation)
        heading = any_heading * (nearest + HEADING_RAD * (2 * draw - 1))
        turn = rotvec_to_matrix(torch.nn.functional.pad(heading[:, None], (2, 0)))
        seat = self._socket_seat[joining] + torch.nn.functional.pad(free_m[:, None], (2, 0))
        plug = socket.moved(seat, turn)
        plug = plug.moved(-self._plug_seat[joining], torch.eye(3, dtype=torch.float64, device=turn.device))
        qpos = self.env.engine.field("qpos")
        pose = torch.cat([plug.position, matrix_to_quat(plug.rotation)], -1)
        qpos.scatter_(1, columns, pose.to(qpos.dtype))

    def _hands(self, kind: str, joining: Tensor, rng: EpisodeRng) -> Pose:
        """Return hand poses (B, K) to choose from, open hands where they shall be placed."""
        if kind == "reaching":
            place = self._on_the_way(self._home.position, self._grips(joining).position[:, 0], rng)
            turn = _random_turn(rng, ASTRAY_TILT_RAD, ASTRAY_SPIN_RAD)
            return Pose(place[:, None], (self._home.rotation @ turn)[:, None])
        grips = self._grips(joining)
        draw = rng.uniform(3).double()
        if kind == "near_object":
            beside = (2 * draw[:, :2] - 1) * draw.new_tensor(BESIDE_M)
            off = torch.cat([beside, -BACK_OFF_M * draw[:, 2:]], -1)
            turn = _random_turn(rng, TILT_RAD, SPIN_RAD)
        else:
            off = (2 * draw - 1) * draw.new_tensor(GRIP_ERROR_M)
            turn = torch.eye(3, dtype=torch.float64, device=joining.device).expand(len(joining), 3, 3)
        return grips.moved(off[:, None].expand(grips.position.shape), turn[:, None])

    def _choose(self, hands: Pose, start: Pose, natural: Tensor) -> tuple[tuple[Pose, Tensor], Tensor]:
        """Return of each world's hands (B, K) the likeliest that the arm reaches, with its joints (B, N).

        The second value holds the numbers of the worlds where there is one.

        Args:
            start: (B, K) the same grips at the episode's start: a part is held as it was picked up.
            natural: (B, 3, 3) of the hand that is likeliest.
        """
        num_worlds, num_choices = hands.position.shape[:2]
        flat = Pose(hands.position.flatten(0, 1), hands.rotation.flatten(0, 1))
        joints, reached = reach(self.task.arm, self.task.home_rad, flat)
        reached = (reached & (flat.rotation[:, 2, 2] <= MOST_UPWARDS)).view(num_worlds, num_choices)
        likely = alike(hands, natural[:, None])
        if num_choices > 1:
            likely = likely + alike(start, self._home.rotation)
        best = likely.masked_fill(~reached, -torch.inf).argmax(-1)
        row = torch.arange(num_worlds, device=best.device) * num_choices + best
        hand = Pose(flat.position[row], flat.rotation[row])
        return (hand, joints[row]), reached.any(-1).nonzero().squeeze(-1)

    def _on_the_way(self, start: Tensor, end: Tensor, rng: EpisodeRng) -> Tensor:
        """Draw places (B, 3) above the lines from `start` to `end` [m]."""
        draw = rng.uniform(4).double()
        low, high = draw.new_tensor(ASTRAY_LOW_M), draw.new_tensor(ASTRAY_HIGH_M)
        return start + draw[:, :1] * (end - start) + low + draw[:, 1:] * (high - low)

    def _take_out(self, kind: str, hand: Pose, start: Tensor, joining: Tensor, rng: EpisodeRng) -> None:
        """Close the hand on the assembled plug, pull it out and bring it to where its kind has it.

        Args:
            start: (B, 3) where the plug is gripped at the episode's start [m].
        """
        free_m, tip_m, _ = self._heights[joining].unbind(-1)
        socket, _ = self._part(joining, 1)
        axis, draw = socket.rotation[:, :, 2], rng.uniform(3).double()
        if kind == "grasped":
            lift_m = tip_m - free_m + 0.03 + 0.03 * draw[:, 0]
            turn = _random_turn(rng, ASTRAY_TILT_RAD, ASTRAY_SPIN_RAD)
            out = Pose(hand.position + lift_m[:, None] * axis, hand.rotation)
            away = Pose(self._on_the_way(start, hand.position, rng), turn @ hand.rotation)
        else:
            least = 0.25 * (tip_m - free_m)
            lift_m = least + draw[:, 0] * (tip_m - free_m + OVER_M - least)
            out = Pose(hand.position + lift_m[:, None] * axis, hand.rotation)
            outside = (lift_m > tip_m - free_m + FREE_ABOVE_MOUTH_M).double()[:, None]
            angle, radius = 2 * math.pi * draw[:, 1], ASIDE_M * draw[:, 2].sqrt()
            aside = torch.stack([torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)], -1)
            turned = matrix_to_rotvec(_random_turn(rng, TILT_RAD, SPIN_RAD)) * outside
            shift = (socket.rotation @ (aside * radius[:, None]).unsqueeze(-1)).squeeze(-1) * outside
            away = Pose(out.position + shift, rotvec_to_matrix(turned) @ hand.rotation)
        self._close(hand, joining)
        self._drive(hand, out, PULL_STEPS)
        self._drive(out, away, AWAY_STEPS)

    def _close(self, hand: Pose, joining: Tensor) -> None:
        """Close the hand on the assembled plug; one that falls before it is held is put back."""
        _, columns = self._part(joining, 0)
        rates = self._joint_at[joining, 0, 1:] + torch.arange(6, device=joining.device)
        qpos, qvel = self.env.engine.field("qpos"), self.env.engine.field("qvel")
        place = qpos.gather(1, columns)
        for _ in range(CLOSE_STEPS):
            self._drive(hand, hand, 1)
            now = qpos.gather(1, columns)
            fell = ((now - place)[:, :3].norm(dim=-1) > MOST_SLIP_M)[:, None]
            qpos.scatter_(1, columns, torch.where(fell, place, now))
            qvel.scatter_(1, rates, qvel.gather(1, rates).masked_fill(fell, 0.0))

    def _drive(self, start: Pose, end: Pose, num_steps: int) -> None:
        """Command the closed hand from one pose to another, one control step after the other."""
        closed = torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device)
        turn = matrix_to_rotvec(end.rotation @ start.rotation.transpose(1, 2))
        for share in ((index + 1) / num_steps for index in range(num_steps)):
            position = start.position + share * (end.position - start.position)
            rotation = rotvec_to_matrix(share * turn) @ start.rotation
            self.env.step(self.settler.action(position, matrix_to_rot6d(rotation), closed))


def reach(arm: SerialArm, home_rad: Tensor, hand: Pose) -> tuple[Tensor, Tensor]:
    """Return joint angles (n, N) that bring the tool to poses (n,), and whether they do (n,) bool."""
    joints = home_rad.expand(len(hand.position), -1)
    for _ in range(IK_ROUNDS):
        joints = solve_differential_ik(arm, joints, hand.position, hand.rotation, max_joint_step_rad=0.3)
    tool, _ = arm.forward(joints)
    off_m = (tool[:, :3, 3] - hand.position).norm(dim=-1)
    off = (tool[:, :3, :3] - hand.rotation).abs().amax((-1, -2))
    return joints, (off_m < IK_ERROR_M) & (off < IK_ERROR)


def alike(hands: Pose, rotation: Tensor) -> Tensor:
    """Return of each hand 1 + 2 cos of how far it is turned from a rotation (..., 3, 3)."""
    return (hands.rotation * rotation).sum((-1, -2))


def _random_turn(rng: EpisodeRng, tilt_rad: float, spin_rad: float) -> Tensor:
    """Draw rotations (B, 3, 3): a spin about z up to `spin_rad`, and a tilt about a level axis."""
    tilt, heading, spin = rng.uniform(3).double().unbind(-1)
    axis = torch.stack([torch.cos(2 * math.pi * heading), torch.sin(2 * math.pi * heading)], -1)
    level = torch.nn.functional.pad(tilt_rad * tilt[:, None] * axis, (0, 1))
    about_z = torch.nn.functional.pad((spin_rad * (2 * spin - 1))[:, None], (2, 0))
    return rotvec_to_matrix(level) @ rotvec_to_matrix(about_z)
