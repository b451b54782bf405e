"""Learn from a teacher and from reward at once (TGRL; Shenfeld et al., ICML 2023, arXiv 2307.03186)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robofb.nets.stacked import StackedMlp
from robofb.optimisation import restore_optimizers
from robofb.policies.student import Memories, StudentPolicy
from robofb.rl.balance import Balance
from robofb.rl.guided_critics import ActionMath, GuidedCritics, Outlook, Values

Parts = tuple[Memories, StackedMlp, list[int]]
"""Memories, the networks on them, and how many networks each memory has."""


class Rows(NamedTuple):
    """Moves of a batch, one after the other, M of them.

    Attributes:
        action: (M,) choices or (M, A) normalised.
        reward: (M,).
        discount: (M,) gamma, 0 after a termination.
        weight: (M,) gamma^t of the move's step t in its episode.
        cut: (M,) bool, the time limit ended the episode with this move.
        answer, next_answer: (M, n or A) the teacher's before and after.
        per_episode: moves of a mean episode, by which means over moves become sums over an episode.
    """

    action: Tensor
    reward: Tensor
    discount: Tensor
    weight: Tensor
    cut: Tensor
    answer: Tensor
    next_answer: Tensor
    per_episode: Tensor


class GuidedLearner:
    """Train all policies of a balance and their critics on batches of replayed moves.

    Each policy pi has critics of its reward, Q(s, a); the first, where the balance foresees its teacher, also
    of that one's word, T(s, a) = E[sum over later steps of gamma^k (log teacher(a_k | s_k) + b)]. With
    weights from the balance it minimises E[alpha log pi - w_r Q - w_t (T + log teacher) + w_i distance].
    Q is of reward alone, so that values of two policies compare; in a balance of `soft_values` later entropy
    counts as well.

    Args:
        policy: acts; P policies.
        critics: of the same P.
        balance: names the policies and weighs.
        actions: the arithmetic of choices or of continuous actions.
        gamma: discount per step.
        reward_scale: factor on rewards: critics learn values of about 1 soonest.
        word_bonus: b, 0 in the paper.
        actor_lr, critic_lr: of Adam.
        temperature: alpha, at first.
        target_entropy: that alpha is adjusted to, in nats; alpha is constant where None.
        temperature_lr: of its logarithm.
        tau: share of the critics that the slow copies, which give the targets, take over per step.
        grad_clip: largest gradient norm of each policy, and of the critics on each memory together.
    """

    def __init__(
        self,
        policy: StudentPolicy,
        critics: GuidedCritics,
        balance: Balance,
        actions: ActionMath,
        *,
        gamma: float,
        reward_scale: float = 1.0,
        word_bonus: float = 0.0,
        actor_lr: float = 3e-4,
        critic_lr: float = 3e-4,
        temperature: float = 0.1,
        target_entropy: float | None = None,
        temperature_lr: float = 3e-4,
        tau: float = 0.005,
        grad_clip: float = 10.0,
    ) -> None:
        self.policy, self.critics, self.balance, self.actions = policy, critics, balance, actions
        self.targets = copy.deepcopy(critics).requires_grad_(False)
        self.gamma, self.tau, self.grad_clip = gamma, tau, grad_clip
        self.reward_scale, self.word_bonus = reward_scale, word_bonus
        self.target_entropy = target_entropy
        device = next(critics.parameters()).device
        self.log_temperature = torch.full((policy.num_policies, 1), math.log(temperature), device=device)
        self.log_temperature.requires_grad_()
        self._actor_parts: Parts = (policy.memories, policy.heads, [1] * policy.num_policies)
        self._critic_parts: Parts = (critics.memories, critics.nets, critics.nets_of)
        self._optimizers = {
            "actor": torch.optim.Adam(_parameters(self._actor_parts), lr=actor_lr, fused=True),
            "critic": torch.optim.Adam(critics.parameters(), lr=critic_lr, fused=True),
            "temperature": torch.optim.Adam([self.log_temperature], lr=temperature_lr),
        }

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of critics, policies and temperatures; return metrics, on the device.

        Args:
            batch: of `EpisodeReplay.sample_moves`, or with a memory of `sample_episodes`: the student's
                observations, "answer", "action", "reward", and "per_episode" ().
        """
        rows, mine, theirs = self._rows(batch), *self._inputs(batch)
        now, after = self._features(self.policy.memories, mine, theirs, batch)
        policies = self.policy.distribution(now)
        with torch.no_grad():
            near, distant = self._features(self.targets.memories, mine, theirs, batch)
            later = self.actions.outlook(
                self.targets, distant, self.policy.distribution(after), rows.next_answer
            )
            here = later
            if self.balance.shapes:
                here = self.actions.outlook(self.targets, near, policies, rows.answer)
        seen = self._features(self.critics.memories, mine, theirs, batch)[0]
        values = self.actions.taken(self.critics, seen, rows.action)
        self.critics.requires_grad_(False)
        outlook = self.actions.outlook(self.critics, seen.detach(), policies, rows.answer)
        self.critics.requires_grad_(True)
        wanted = self._wanted(rows, here, later)
        losses = [half_squares(value, goal) for value, goal in zip(values, wanted, strict=True)]
        metrics = {"critic_loss": losses[0].detach(), "teacher_critic_loss": losses[1].detach()}
        metrics |= self._learn_actions(outlook)
        metrics["grad_norm_critic"] = self._descend("critic", losses[0] + losses[1], self._critic_parts)
        self._follow()
        if self.balance.uses_gap:
            taken = values.reward.detach().amin(1)
            metrics["gap"] = return_gap(taken, outlook, later, rows, self.gamma)
        return metrics

    def _wanted(self, rows: Rows, here: Outlook, later: Outlook) -> Values:
        """Return the critics' targets: (P, 1, M) and (W, M)."""
        reward = rows.reward.expand(self.policy.num_policies, -1)
        if self.balance.shapes:  # by the imitator's value, the slow copies' before and after alike
            change = rows.discount * later.reward[1] - here.reward[1]
            reward = torch.stack([rows.reward + change, rows.reward])
        earned = later.reward
        if self.balance.soft_values:
            earned = earned + self.log_temperature.detach().exp() * later.entropy
        words = later.teacher[: int(self.balance.foresees_teacher)]
        words = words + self.word_bonus
        return Values((reward + rows.discount * earned)[:, None], rows.discount * words)

    def _learn_actions(self, outlook: Outlook) -> dict[str, Tensor]:
        weights = self.balance.weights(outlook.distance.detach())
        temperature = self.log_temperature.detach().exp()
        gain = weights.reward * outlook.reward + weights.teacher * outlook.teacher
        loss = (weights.imitation * outlook.distance - temperature * outlook.entropy - gain).mean(1).sum()
        metrics = {
            "actor_loss": loss.detach(),
            "grad_norm_actor": self._descend("actor", loss, self._actor_parts),
        }
        if self.target_entropy is not None:
            surplus = outlook.entropy.detach().mean(1, keepdim=True) - self.target_entropy
            self._optimizers["temperature"].zero_grad(set_to_none=True)
            (self.log_temperature.exp() * surplus).sum().backward()
            self._optimizers["temperature"].step()
        for index, name in enumerate(self.balance.policies):
            metrics[f"{name}_entropy"] = outlook.entropy[index].detach().mean()
            metrics[f"{name}_value"] = outlook.reward[index].detach().mean()
            metrics[f"{name}_temperature"] = temperature[index, 0]
        if self.balance.needs_teacher:
            metrics["cross_entropy"] = outlook.cross_entropy[0].detach().mean()
        return metrics

    def _descend(self, name: str, loss: Tensor, parts: Parts) -> Tensor:
        """Take one gradient step, each policy's gradient clipped by itself; return the largest norm."""
        self._optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_by_member(*parts, self.grad_clip)
        self._optimizers[name].step()
        return norm

    @torch.no_grad()
    def _follow(self) -> None:
        slow: list[Tensor] = list(self.targets.parameters())
        fast: list[Tensor] = list(self.critics.parameters())
        torch._foreach_lerp_(slow, fast, self.tau)

    def _inputs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return what memories take: sequences (N, T + 1, F), or rows (M, F) before and after the moves."""
        policy = self.policy
        if not policy.memories.size:
            after = {key: batch[f"next_{key}"] for key in policy.spec.obs}
            return policy.inputs({key: batch[key] for key in policy.spec.obs}), policy.inputs(after)
        done = policy.one_hot(batch["action"])
        previous = torch.cat([torch.zeros_like(done[:, :1]), done], 1)
        return policy.inputs({key: batch[key] for key in policy.spec.obs}, previous), None

    def _features(
        self, memories: Any, mine: Tensor, theirs: Tensor | None, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return features (P or 1, M, F) before and after each move."""
        if theirs is not None:
            return mine[None], theirs[None]
        hidden, _ = memories(mine)  # (P, N, T + 1, F)
        valid = batch["valid"]
        return hidden[:, :, :-1][:, valid], hidden[:, :, 1:][:, valid]

    def _rows(self, batch: Mapping[str, Tensor]) -> Rows:
        if "valid" in batch:
            valid, answers = batch["valid"], batch["answer"]
            columns = {k: batch[k][valid] for k in ("action", "reward", "terminated", "cut", "t")}
            answer, after = answers[:, :-1][valid], answers[:, 1:][valid]
        else:
            columns = dict(batch)
            answer, after = batch["answer"], batch["next_answer"]
        discount = self.gamma * (~columns["terminated"]).float()
        weight = self.gamma ** columns["t"].float()
        action, reward, cut = columns["action"], self.reward_scale * columns["reward"], columns["cut"]
        return Rows(action, reward, discount, weight, cut, answer, after, batch["per_episode"])

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the policies' weights that learning continues from."""
        return {
            "critics": self.critics.state_dict(),
            "targets": self.targets.state_dict(),
            "log_temperature": self.log_temperature.detach().clone(),
            "optimizers": {name: copy.deepcopy(one.state_dict()) for name, one in self._optimizers.items()},
            "balance": self.balance.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.critics.load_state_dict(state["critics"])
        self.targets.load_state_dict(state["targets"])
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
        restore_optimizers(self._optimizers, state["optimizers"])
        self.balance.load_state_dict(state["balance"])


def half_squares(values: Tensor, wanted: Tensor) -> Tensor:
    """Return half the mean squared error over moves, the last axis, summed over the critics, ()."""
    return 0.5 * ((values - wanted) ** 2).mean(-1).sum()


def return_gap(taken: Tensor, now: Outlook, later: Outlook, rows: Rows, gamma: float) -> Tensor:
    """Estimate J(first policy) - J(second policy) from replayed moves of anybody, ().

    By the performance-difference identity, for whole episodes of any behaviour,
    J(pi) - J(pi') = E[sum_t gamma^t (A_pi'(s_t, a_t) - A_pi(s_t, a_t))] + E[gamma^T (V_pi - V_pi')(s_T)],
    where the last term stands for episodes that the time limit cut off at T (2307.03186, sec. 4, which has
    episodes without end). Values are of reward alone.

    Args:
        taken: (P, M) values of the moves.
        now, later: outlooks (P, M) before and after them.
        rows: the moves.
        gamma: discount per step.
    """
    advantage = taken - now.reward.detach()
    left = (later.reward[0] - later.reward[1]) * rows.cut
    each = rows.weight * (advantage[1] - advantage[0] + gamma * left)
    return each.mean() * rows.per_episode


def clip_by_member(memories: Memories, stacked: StackedMlp, nets_of: list[int], largest: float) -> Tensor:
    """Scale down each member's gradient to a norm of at most `largest`; return the largest before, ().

    Args:
        memories: of so many members.
        stacked: their networks, one member's after another's.
        nets_of: number of each member's networks.
        largest: norm that is let pass.
    """
    grads: list[list[Tensor]] = [[] for _ in nets_of]
    for parameter in stacked.parameters():
        if parameter.grad is not None:
            for index, part in enumerate(parameter.grad.split(nets_of)):
                grads[index].append(part)
    for index, cell in enumerate(memories.cells):
        grads[index] += [p.grad for p in cell.parameters() if p.grad is not None]
    norms = torch.stack([torch.stack(torch._foreach_norm(own)).norm() for own in grads])
    for own, norm in zip(grads, norms, strict=True):
        torch._foreach_mul_(own, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norms.max()


def _parameters(parts: Parts) -> list[nn.Parameter]:
    return [parameter for part in parts[:2] for parameter in part.parameters()]
