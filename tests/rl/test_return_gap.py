"""The difference of two policies' returns from anybody's episodes, against exact values of a tabular MDP."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robofb.rl.guided import Rows, return_gap
from robofb.rl.guided_critics import Outlook

GAMMA = 0.9
STATES, ACTIONS, STEPS = 5, 2, 6


@dataclass
class Mdp:
    """A random MDP; state 4 ends an episode.

    Attributes:
        chance: (S, A, S).
        reward: (S, A).
    """

    chance: np.ndarray
    reward: np.ndarray

    def values(self, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return V (S,) and Q (S, A) of a policy (S, A) without time limit, by a linear solve."""
        going_on = self.chance.copy()
        going_on[:, :, STATES - 1] = 0.0  # nothing is earned after the end
        step = np.einsum("sa,sat->st", policy, going_on)
        v = np.linalg.solve(np.eye(STATES) - GAMMA * step, (policy * self.reward).sum(1))
        v[STATES - 1] = 0.0
        return v, self.reward + GAMMA * going_on @ v


def random_policy(rng: np.random.Generator) -> np.ndarray:
    policy = rng.random((STATES, ACTIONS))
    return policy / policy.sum(1, keepdims=True)


def rows_of(moves: list[tuple[int, int, int, int, bool]], per_episode: float) -> tuple[Rows, Tensor, Tensor]:
    """Return rows, states and next states of moves (state, action, next state, t, cut)."""
    state, action, after, t, cut = (torch.tensor(column) for column in zip(*moves, strict=True))
    none = torch.zeros(len(moves))
    discount = torch.where(after == STATES - 1, 0.0, GAMMA)
    weight = GAMMA ** t.double()
    return (
        Rows(action, none, discount, weight, cut, none, none, torch.tensor(per_episode, dtype=torch.float64)),
        state,
        after,
    )


def estimate(mdp: Mdp, policies: list[np.ndarray], rows: Rows, state: Tensor, after: Tensor) -> float:
    exact = [mdp.values(policy) for policy in policies]
    v = torch.tensor(np.stack([v for v, _ in exact]))  # (2, S)
    q = torch.tensor(np.stack([q for _, q in exact]))  # (2, S, A)
    nothing = torch.zeros(2, len(state))
    now = Outlook(v[:, state], nothing, nothing, nothing, nothing)
    later = Outlook(v[:, after], nothing, nothing, nothing, nothing)
    return float(return_gap(q[:, state, rows.action], now, later, rows, GAMMA))


def test_the_identity_is_exact_for_a_mixed_replay_of_a_tabular_mdp() -> None:
    """Deterministic moves, all action sequences once, half of them twice: two behaviours together."""
    rng = np.random.default_rng(0)
    follows = rng.integers(0, STATES, (STATES, ACTIONS))
    mdp = Mdp(np.eye(STATES)[follows], rng.normal(size=(STATES, ACTIONS)))
    policies = [random_policy(rng), random_policy(rng)]
    moves: list[tuple[int, int, int, int, bool]] = []
    sequences = list(itertools.product(range(ACTIONS), repeat=STEPS))
    sequences += [sequence for sequence in sequences if sequence[0] == 1]  # a second behaviour begins so
    ended = 0
    for sequence in sequences:
        state = 0
        for t, action in enumerate(sequence):
            after = int(follows[state, action])
            moves.append((state, action, after, t, t == STEPS - 1 and after != STATES - 1))
            state = after
            if state == STATES - 1:
                ended += 1
                break
    assert 0 < ended < len(sequences)  # both kinds of end are there
    rows, states, after_states = rows_of(moves, len(moves) / len(sequences))
    (v, _), (other, _) = (mdp.values(policy) for policy in policies)
    assert abs(estimate(mdp, policies, rows, states, after_states) - (v[0] - other[0])) < 1e-12


def test_the_identity_holds_to_sampling_error_for_sampled_episodes() -> None:
    rng = np.random.default_rng(1)
    chance = rng.random((STATES, ACTIONS, STATES)) ** 3
    mdp = Mdp(chance / chance.sum(-1, keepdims=True), rng.normal(size=(STATES, ACTIONS)))
    policies = [random_policy(rng), random_policy(rng)]
    behaviours = [*policies, random_policy(rng)]
    (v, _), (other, _) = (mdp.values(policy) for policy in policies)

    def batch(seed: int) -> float:
        own, moves, episodes = np.random.default_rng(seed), [], 400
        for episode in range(episodes):
            state = 0
            for t in range(STEPS):
                action = int(own.choice(ACTIONS, p=behaviours[episode % 3][state]))
                after = int(own.choice(STATES, p=mdp.chance[state, action]))
                moves.append((state, action, after, t, t == STEPS - 1 and after != STATES - 1))
                state = after
                if state == STATES - 1:
                    break
        return estimate(mdp, policies, *rows_of(moves, len(moves) / episodes))

    estimates = np.array([batch(seed) for seed in range(20)])
    error = estimates.std(ddof=1) / np.sqrt(len(estimates))
    assert abs(estimates.mean() - (v[0] - other[0])) < 4 * error
    assert error < 0.2 * abs(v[0] - other[0])  # it tells the sign
