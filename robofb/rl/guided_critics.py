"""Critics of what a student will earn and of what its teacher will say to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robofb.nets.stacked import StackedMlp
from robofb.policies.squashed import SquashedGaussian
from robofb.policies.student import Choices, StudentPolicy


class Values(NamedTuple):
    """What critics say of actions; of choices, of every choice: (..., n).

    Attributes:
        reward: (P, 2, M) of each policy by both its critics.
        teacher: (W, M) W is 1 where the teacher is foreseen, else 0.
    """

    reward: Tensor
    teacher: Tensor


class GuidedCritics(nn.Module):
    """Two critics of each of P policies' reward; where a teacher is foreseen, one of its word to the first.

    Q(s, a) is discounted future reward; T(s, a) the discounted log-likelihood of later actions to the
    teacher. Each has weights of its own: a teacher's word adds up to hundreds of nats, and in shared layers
    drowns a reward of 1.

    Args:
        policy: whose inputs and actions they take.
        hidden: sizes of the hidden layers.
        foresees_teacher: whether there is a T.
        generator: draws the initial weights; the global one where None.

    Attributes:
        nets_of: number of networks on each memory: 2 for each policy, and 1 for T.
    """

    def __init__(
        self,
        policy: StudentPolicy,
        *,
        hidden: Sequence[int],
        foresees_teacher: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_policies, self.num_choices = policy.num_policies, policy.num_choices
        self.nets_of = [2] * policy.num_policies + [1] * foresees_teacher
        self.memories = policy.memories.copy_shape(len(self.nets_of), generator)
        in_dim = self.memories.out_dim + (0 if self.num_choices else policy.action_dim)
        sizes = [in_dim, *hidden, self.num_choices or 1]
        self.nets = StackedMlp(sizes, sum(self.nets_of), generator=generator)

    def forward(self, features: Tensor, action: Tensor | None = None) -> Values:
        """Return values of actions, or of every choice.

        Args:
            features: of the memories, (P + W or 1, M, F).
            action: (P or 1, M, A) normalised, where continuous; T takes the first.
        """
        kinds = [kind for kind, count in enumerate(self.nets_of) for _ in range(count)]
        x = features if len(features) == 1 else features[kinds]
        if action is not None and len(action) > 1:
            action = action[[kind % self.num_policies for kind in kinds]]
        out = self.nets(x, action)
        out = out if self.num_choices else out[..., 0]
        rewards, words = out.tensor_split([2 * self.num_policies])
        return Values(rewards.unflatten(0, (self.num_policies, 2)), words)


class Outlook(NamedTuple):
    """What each policy may expect of its own action at each state, (P, M) each.

    Attributes:
        reward: the lower critic's discounted reward.
        teacher: log-likelihood of the action to the teacher, and T's of later ones; 0 for a policy without T.
        entropy: of the action, in nats.
        cross_entropy: minus the log-likelihood of the action to the teacher.
        distance: how far the policy is from the teacher, to be lowered by imitation; 0 where they agree.
    """

    reward: Tensor
    teacher: Tensor
    entropy: Tensor
    cross_entropy: Tensor
    distance: Tensor


class ActionMath(Protocol):
    """What differs between choices and continuous actions."""

    def taken(self, critics: GuidedCritics, features: Tensor, action: Tensor) -> Values:
        """Return values of actions that were taken."""
        ...

    def outlook(self, critics: GuidedCritics, features: Tensor, policies: Any, answer: Tensor) -> Outlook:
        """Return what the policies may expect, given the teacher's answers (M, n or A)."""
        ...


class ChoiceMath:
    """Exact expectations over n choices. A teacher's answer is its log-probability of each."""

    def taken(self, critics: GuidedCritics, features: Tensor, action: Tensor) -> Values:
        """Return values of choices (M,)."""
        return Values(*(_pick(values, action) for values in critics(features)))

    def outlook(self, critics: GuidedCritics, features: Tensor, policies: Choices, answer: Tensor) -> Outlook:
        """Return exact expectations; `distance` is KL(teacher || policy)."""
        values = critics(features)
        cross = -policies.mean_of(answer)
        words = (policies.probs[: len(values.teacher)] * values.teacher).sum(-1)
        return Outlook(
            policies.mean_of(values.reward.amin(1)),
            _foreseen(words, cross),
            -policies.mean_of(policies.log_probs),
            cross,
            (answer.exp() * (answer - policies.log_probs)).sum(-1),
        )


class ContinuousMath:
    """Expectations by one sample. A teacher's answer is its mean action, normalised.

    Its density around that is a Gaussian; the constant of the logarithm is left out, so that following the
    teacher exactly costs nothing, however long an episode is.

    Args:
        teacher_std: deviation of the teacher's Gaussian, of normalised actions.
        generator: draws the policies' noise.
    """

    def __init__(self, teacher_std: float, generator: torch.Generator) -> None:
        self.teacher_std, self.generator = teacher_std, generator

    def taken(self, critics: GuidedCritics, features: Tensor, action: Tensor) -> Values:
        """Return values of actions (M, A)."""
        return critics(features, action[None])

    def outlook(
        self, critics: GuidedCritics, features: Tensor, policies: SquashedGaussian, answer: Tensor
    ) -> Outlook:
        """Return expectations of one action of each policy; `distance` is the cross-entropy."""
        shape, device = policies.mean.shape, policies.mean.device
        noise = torch.randn(shape, generator=self.generator, device=device)
        action, log_prob = policies.sample(noise)
        values = critics(features, action)
        cross = self.cross_entropy(action, answer)
        return Outlook(values.reward.amin(1), _foreseen(values.teacher, cross), -log_prob, cross, cross)

    def cross_entropy(self, action: Tensor, answer: Tensor) -> Tensor:
        """Return |a - m|^2 / (2 sigma^2) of actions (..., A) and the teacher's means."""
        return ((action - answer) ** 2).sum(-1) / (2 * self.teacher_std**2)


def _pick(values: Tensor, choice: Tensor) -> Tensor:
    """Return values (..., M) of choices (M,) among those (..., M, n) of all."""
    return values.gather(-1, choice[:, None].expand(*values.shape[:-1], 1))[..., 0]


def _foreseen(later: Tensor, cross: Tensor) -> Tensor:
    """Return the teacher's word (P, M) on this action and, by T (W, M), on later ones; 0 without T."""
    return torch.cat([later - cross[: len(later)], torch.zeros_like(cross[len(later) :])])
