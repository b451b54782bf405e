"""States made backwards from the assembled pose, and those taken from demonstrations."""

import math
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from bank_example import small_bank
from scripted_dataset import played, write_dataset

from robofb.augment.demonstration_states import DemonstrationStates
from robofb.augment.disassembly import Disassembler, Pose, reach
from robofb.augment.make_bank import make_bank, quotas
from robofb.augment.settle import Settler
from robofb.envs import scripted_task_names
from robofb.errors import UserError
from robofb.geometry import matrix_to_rot6d, matrix_to_rotvec, rot6d_to_matrix, rotvec_to_matrix
from robofb.sim.bank_kinds import KINDS
from robofb.sim.reset_bank import EQUAL_SHARES
from robofb.store.episodes import EpisodeStore
from robofb.worlds import env_of_task

STILL_STEPS, MOST_DRIFT_M = 10, 0.001


@pytest.fixture(scope="module")
def env():
    with_states = env_of_task("one_leg_insert", 8)
    yield with_states
    with_states.close()


def drift_m(bank, env) -> np.ndarray:
    """Return how far leg and top move [m] (N, 2) while the hand is commanded to stay, for each state."""
    names = env.spec.obs["state"].names
    places = [
        slice(names.index(f"{body}_pos_base_x"), names.index(f"{body}_pos_base_x") + 3)
        for body in ("leg", "top")
    ]
    found = []
    for rows in np.array_split(bank.states, len(bank.states) // env.num_envs):
        first = env.restore(torch.from_numpy(rows))["state"]
        tool, _ = env.task.arm.forward(env.engine.field("act")[:, :7].double())  # where it is commanded to be
        hand = torch.cat([tool[:, :3, 3], matrix_to_rot6d(tool[:, :3, :3])], -1)
        closed = torch.where(env.task.gripper_closes(env.engine), 1.0, -1.0)
        action = torch.cat([hand.float(), closed[:, None]], -1)
        worst = torch.zeros(len(rows), 2)
        for _ in range(STILL_STEPS):
            step = env.step(action)
            assert not step.terminated.any()
            now = torch.stack([(step.obs["state"] - first)[:, place].norm(dim=-1) for place in places], -1)
            worst = torch.maximum(worst, now)
        found.append(worst.numpy())
    return np.concatenate(found)


def test_made_states_stay_where_they_are(env):
    assert (drift_m(small_bank(), env) <= MOST_DRIFT_M).all()


def test_made_states_are_of_their_kinds(env):
    """Judged from the observation: where leg and hand are, and how wide the gripper is."""
    bank = small_bank()
    names = env.spec.obs["state"].names
    at = {body: names.index(f"{body}_pos_base_x") for body in ("ee", "leg", "top")}
    for rows, kind in zip(np.array_split(bank.states, 3), np.array_split(bank.kind, 3), strict=True):
        state = env.restore(torch.from_numpy(rows))["state"].numpy()
        to_leg_m = np.linalg.norm(state[:, at["ee"] :][:, :3] - state[:, at["leg"] :][:, :3], axis=-1)
        width_m, height_m = state[:, names.index("gripper_width")], state[:, at["leg"] + 2]
        level_m = np.linalg.norm(state[:, at["leg"] :][:, :2] - state[:, at["top"] :][:, :2], axis=-1)
        holds = np.isin(kind, [KINDS.index("grasped"), KINDS.index("near_goal")])
        assert (np.abs(width_m[holds] - 0.030) < 0.003).all()  # the leg is 30 mm wide, the pads soft
        assert (width_m[~holds] > 0.078).all() and (np.abs(height_m[~holds] - 0.016) < 0.001).all()
        assert (to_leg_m[holds] < 0.055).all()  # gripped 45 mm above its shoulder
        assert (to_leg_m[kind == KINDS.index("near_object")] < 0.13).all()
        goal = kind == KINDS.index("near_goal")
        assert (np.abs(level_m[goal] - 0.060 * math.sqrt(2)) < 0.016).all()  # where the hole is
        assert (height_m[kind == KINDS.index("grasped")] > 0.036).all()
    assert len(np.unique(bank.states, axis=0)) == len(bank.states)


def test_made_hands_are_turned_as_an_episode_turns_them(env):
    """The leg may stand in its hole at any turn; the hand that holds it is still not far from its start."""
    bank, at = small_bank(), env.spec.obs["state"].names.index("ee_rot6d_base_0")
    home, _ = env.task.arm.forward(env.task.home_rad[None])
    for rows, kind in zip(np.array_split(bank.states, 3), np.array_split(bank.kind, 3), strict=True):
        hand = env.restore(torch.from_numpy(rows))["state"][:, at : at + 6].double()
        turn = matrix_to_rotvec(rot6d_to_matrix(hand) @ home[0, :3, :3].T).norm(dim=-1).rad2deg().numpy()
        assert (turn[kind == KINDS.index("reaching")] < 25).all()
        assert (turn[kind == KINDS.index("near_goal")] < 35).all()
        assert (turn < 50).all()


def hands_of(env, obs) -> torch.Tensor:
    at = env.spec.obs["state"].names.index("ee_rot6d_base_0")
    return rot6d_to_matrix(obs["state"][:, at : at + 6].double())


def test_a_lying_leg_is_held_as_the_expert_brings_it():
    """Upright over the hole: the hand is level and comes from the side that the expert takes."""
    with closing(env_of_task("one_leg", 8)) as env:
        disassembler = Disassembler(env, 0)
        made = {kind: disassembler.fill(kind, 8, lambda count: None) for kind in ("grasped", "near_goal")}
        hands = {kind: hands_of(env, env.restore(states)) for kind, states in made.items()}
        expert, obs = env.task.expert(8, 0.0), env.reset(3)
        expert.reset(torch.ones(8, dtype=torch.bool), env.episode_seed)
        brought = torch.zeros(8, 3, 3).double()
        for _ in range(120):
            obs = env.step(expert.next(obs)).obs
            new = (env.task.bank_kinds(env.engine) == KINDS.index("near_goal")) & (brought == 0).all((1, 2))
            brought[new] = hands_of(env, obs)[new]
    assert (brought != 0).any((1, 2)).all()
    natural = brought.mean(0)
    for turned in hands.values():
        cosines = (turned * natural).sum(-2)  # of each axis of the hand, with the expert's
        assert (cosines > math.cos(math.radians(45))).all()


def test_a_hand_on_its_way_is_near_the_line(env):
    """Between where an episode starts and the grasp, or between grasp and goal; never below."""
    bank, names = small_bank(), env.spec.obs["state"].names
    at = {body: names.index(f"{body}_pos_base_x") for body in ("ee", "leg", "top")}
    for rows, kind in zip(np.array_split(bank.states, 3), np.array_split(bank.kind, 3), strict=True):
        carried = kind == KINDS.index("grasped")
        hand = env.restore(torch.from_numpy(rows))["state"].numpy()[carried, at["ee"] :][:, :3]
        start, goal = np.array([0.46, -0.13]), np.array([0.53, 0.19])  # of the leg, about; low randomness
        along = np.clip((hand[:, :2] - start) @ (goal - start) / ((goal - start) ** 2).sum(), 0, 1)
        off_m = np.linalg.norm(hand[:, :2] - start - along[:, None] * (goal - start), axis=-1)
        assert (off_m < 0.11).all() and (hand[:, 2] > 0.07).all()


def test_the_batch_changes_nothing():
    found = []
    for num_envs in (5, 8):
        env = env_of_task("one_leg_insert", num_envs)
        found.append(Disassembler(env, 4).fill("near_goal", 7, lambda count: None))
        env.close()
    assert found[0].shape[0] == 7 and torch.equal(*found)


@pytest.mark.parametrize("name", scripted_task_names())
def test_every_assembly_can_be_taken_apart(name):
    with closing(env_of_task(name, 32)) as env:
        made = make_bank(Disassembler(env, 1), 2, {"grasped": 1, "near_goal": 1}, {})
    assert made.counts == {"reaching": 0, "near_object": 0, "grasped": 1, "near_goal": 1}


def test_reach_finds_joints_and_says_where_there_are_none(env):
    """Poses of known joint angles are found again; one 2 m away is not."""
    task = env.task
    spread = 0.3 * torch.rand(6, 7, generator=torch.Generator().manual_seed(0)).double() - 0.15
    tool, _ = task.arm.forward(task.home_rad + spread)
    tool[5, 0, 3] = 2.0
    joints, reached = reach(task.arm, task.home_rad, Pose(tool[:, :3, 3], tool[:, :3, :3]))
    assert reached.tolist() == [True] * 5 + [False]
    again, _ = task.arm.forward(joints)
    assert (again[:5] - tool[:5]).abs().max() < 0.01


def test_a_pose_is_moved_in_its_own_frame():
    """A quarter turn about z: 1 along its x is 1 along the world's y."""
    turn = rotvec_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    moved = Pose(torch.zeros(3).double(), turn).moved(torch.tensor([1.0, 0, 0]).double(), turn)
    assert torch.allclose(moved.position, torch.tensor([0.0, 1, 0]).double())
    assert torch.allclose(moved.rotation, torch.diag(torch.tensor([-1.0, -1, 1])).double(), atol=1e-12)


def test_a_state_in_which_the_leg_falls_is_not_sound(env):
    """A leg held in the air, and the hand told to open."""
    grasped = torch.from_numpy(small_bank().states[small_bank().kind == 2][:1]).expand(8, -1)
    settler = Settler(env)
    kept = settler.settle(grasped, torch.ones(8).bool())
    dropped = settler.settle(grasped, torch.zeros(8).bool())
    assert (kept.kind == 2).all() and (dropped.kind != 2).all()


def test_quotas_add_up():
    assert quotas(10, EQUAL_SHARES) == {"reaching": 3, "near_object": 3, "grasped": 2, "near_goal": 2}
    assert quotas(8, {"grasped": 1, "near_goal": 3, "reaching": 0}) == {"grasped": 2, "near_goal": 6}


def test_states_of_demonstrations_are_at_rest(tmp_path, env):
    path = write_dataset(tmp_path / "demos")
    with EpisodeStore.open(path) as store:
        made = make_bank(DemonstrationStates(store, env, 0), 32, EQUAL_SHARES, {})
    assert min(made.counts.values()) >= 2 and len(made.states) >= 16
    usable = replace(made, states=made.states[:16].copy(), kind=made.kind[:16].copy())
    assert (drift_m(usable, env) <= 0.004).all()


def test_demonstrations_that_cannot_serve_are_refused(tmp_path, env):
    blind = write_dataset(tmp_path / "blind", keys=("state",))
    with EpisodeStore.open(blind) as store, pytest.raises(UserError, match="holds no 'sim_state'"):
        DemonstrationStates(store, env, 0)
    spec, episodes = played()
    episode = episodes[0][0]
    wrong = {**episode.obs, "state": episode.obs["state"] + np.float32(0.01)}
    for name, changed, message in (
        ("failed", replace(episode, success=False), "no successful episode"),
        ("moved", replace(episode, obs=wrong), "away from what was recorded"),
    ):
        with EpisodeStore.create(tmp_path / name, spec) as store:
            store.append(changed)
        with EpisodeStore.open(tmp_path / name) as store, pytest.raises(UserError, match=message):
            DemonstrationStates(store, env, 0)
