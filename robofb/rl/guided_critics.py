"""Critics of what a student will earn and of what its teacher will say to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robofb.nets.stacked import StackedMlp
from robofb.policies.squashed import SquashedGaussian
from robofb.policies.student import Choices, StudentPolicy


class GuidedCritics(nn.Module):
    """Two critics of each of P policies' reward and, where a teacher is heeded, of its word to the first.

    Q(s, a) is discounted future reward; T(s, a) the discounted log-likelihood of later actions to the
    teacher. Each has weights of its own: a teacher's word adds up to hundreds of nats, and in shared layers
    drowns a reward of 1.

    Args:
        policy: whose inputs and actions they take.
        hidden: sizes of the hidden layers.
        heeds_teacher: whether there is a T.
        generator: draws the initial weights; the global one where None.

    Attributes:
        num_kinds: K, P and one more for T.
    """

    def __init__(
        self,
        policy: StudentPolicy,
        *,
        hidden: Sequence[int],
        heeds_teacher: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_policies, self.num_choices = policy.num_policies, policy.num_choices
        self.num_kinds = policy.num_policies + heeds_teacher
        self.memories = policy.memories.copy_shape(self.num_kinds, generator)
        in_dim = self.memories.out_dim + (0 if self.num_choices else policy.action_dim)
        sizes = [in_dim, *hidden, self.num_choices or 1]
        self.nets = StackedMlp(sizes, 2 * self.num_kinds, generator=generator)

    def forward(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        """Return values (K, 2, M) by both critics; of choices (K, 2, M, n), every choice.

        Args:
            features: of the memories, (K or 1, M, F).
            action: (P or 1, M, A) normalised, where continuous; T takes the first.
        """
        x = features
        if action is not None:
            if len(action) > 1:
                action = torch.cat([action, action[: self.num_kinds - self.num_policies]])
            lead = max(len(features), len(action))
            x = torch.cat([features.expand(lead, -1, -1), action.expand(lead, -1, -1)], -1)
        x = x[0] if len(x) == 1 else x.repeat_interleave(2, 0)
        out = self.nets(x)
        return out.reshape(self.num_kinds, 2, out.shape[1], *([self.num_choices] if self.num_choices else []))


class Outlook(NamedTuple):
    """What each policy may expect of its own action at each state, (P, M) each.

    Attributes:
        reward: the lower critic's discounted reward.
        teacher: log-likelihood of the action to the teacher, and the lower critic's of later ones; 0 for a
            policy without a T.
        entropy: of the action, in nats.
        cross_entropy: minus the log-likelihood of the action to the teacher.
        distance: how far the policy is from the teacher, to be lowered by imitation.
    """

    reward: Tensor
    teacher: Tensor
    entropy: Tensor
    cross_entropy: Tensor
    distance: Tensor


class ActionMath(Protocol):
    """What differs between choices and continuous actions."""

    def taken(self, critics: GuidedCritics, features: Tensor, action: Tensor) -> Tensor:
        """Return values (K, 2, M) of actions that were taken."""
        ...

    def outlook(self, critics: GuidedCritics, features: Tensor, policies: Any, answer: Tensor) -> Outlook:
        """Return what the policies may expect, given the teacher's answers (M, n or A)."""
        ...


class ChoiceMath:
    """Exact expectations over n choices. A teacher's answer is its log-probability of each."""

    def taken(self, critics: GuidedCritics, features: Tensor, action: Tensor) -> Tensor:
        """Return values of choices (M,)."""
        q = critics(features)
        index = action[None, None, :, None].expand(*q.shape[:-1], 1)
        return q.gather(-1, index)[..., 0]

    def outlook(self, critics: GuidedCritics, features: Tensor, policies: Choices, answer: Tensor) -> Outlook:
        """Return exact expectations; `distance` is the cross-entropy of the policy under the teacher."""
        q = critics(features).amin(1)  # (K, M, n)
        cross = -policies.mean_of(answer)
        probs, count = policies.probs, len(policies.probs)
        return Outlook(
            (probs * q[:count]).sum(-1),
            _heeded((probs[: len(q) - count] * q[count:]).sum(-1), cross),
            -policies.mean_of(policies.log_probs),
            cross,
            -(answer.exp() * policies.log_probs).sum(-1),
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

    def taken(self, critics: GuidedCritics, features: Tensor, action: Tensor) -> Tensor:
        """Return values of actions (M, A)."""
        return critics(features, action[None])

    def outlook(
        self, critics: GuidedCritics, features: Tensor, policies: SquashedGaussian, answer: Tensor
    ) -> Outlook:
        """Return expectations of one action of each policy; `distance` is the cross-entropy."""
        shape, device = policies.mean.shape, policies.mean.device
        noise = torch.randn(shape, generator=self.generator, device=device)
        action, log_prob = policies.sample(noise)
        q = critics(features, action).amin(1)  # (K, M)
        cross = self.cross_entropy(action, answer)
        return Outlook(q[: len(cross)], _heeded(q[len(cross) :], cross), -log_prob, cross, cross)

    def cross_entropy(self, action: Tensor, answer: Tensor) -> Tensor:
        """Return |a - m|^2 / (2 sigma^2) of actions (..., A) and the teacher's means."""
        return ((action - answer) ** 2).sum(-1) / (2 * self.teacher_std**2)


def _heeded(later: Tensor, cross: Tensor) -> Tensor:
    """Return the teacher's word (P, M) on this action and, by T (0 or 1, M), on later ones; 0 without T."""
    return torch.cat([later - cross[: len(later)], torch.zeros_like(cross[len(later) :])])
