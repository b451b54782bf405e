"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347): act, record, compute_returns, update."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from robofb.optimisation import NonFiniteError, learning_rate_factor
from robofb.ranks import ALONE, Ranks
from robofb.rl.ppo_losses import (
    clipped_surrogate_loss,
    explained_variance,
    gaussian_kl,
    magnitude_penalty,
    normalised,
    value_loss,
)
from robofb.rl.rollout_buffer import Minibatch, RolloutBuffer
from robofb.rl.running_stats import RewardScaler

METRICS = (
    *("policy_loss", "value_loss", "entropy", "kl", "clip_fraction"),
    *("grad_norm_actor", "grad_norm_critic"),
)
"""What each gradient step measures, in this order."""


class Distribution(Protocol):
    """A diagonal Gaussian over actions."""

    @property
    def mean(self) -> Tensor: ...

    @property
    def log_std(self) -> Tensor: ...

    def sample(self, generator: torch.Generator) -> Tensor: ...

    def log_prob(self, value: Tensor) -> Tensor: ...

    def entropy(self) -> Tensor: ...


class ActorCritic(Protocol):
    """Networks that PPO can train: an `actor` and a `critic` module with no shared parameter."""

    @property
    def actor(self) -> nn.Module: ...

    @property
    def critic(self) -> nn.Module: ...

    def distribution(self, obs: Tensor) -> Distribution:
        """Return the distribution of actions for actor inputs (B, F)."""
        ...

    def value(self, critic_obs: Tensor) -> Tensor:
        """Return values (B,) for critic inputs (B, Fc)."""
        ...


class PPO:
    """Improve an actor-critic on rollouts of fixed length.

    Args:
        actor_critic: what is trained; its inputs and actions must be flat.
        buffer: holds one rollout.
        generator: draws exploration noise and the minibatches' order.
        gamma, lam: discount and lambda of the advantage estimate.
        clip: half-width of the probability ratio's interval.
        epochs: largest number of passes over a rollout.
        minibatch_size: samples per step; the whole rollout where None.
        actor_lr, critic_lr: peak learning rates of AdamW (no weight decay).
        lr_warmup_iterations: iterations over which both learning rates rise linearly.
        lr_cosine_iterations: iteration at which both have fallen to `lr_end`; constant where None.
        lr_end: share of the learning rates that is left at the end of the cosine.
        critic_warmup_iterations: first iterations in which only the critic learns.
        target_kl: no further epoch once the mean KL(old || new) over an epoch exceeds this [nats].
        entropy_coef, value_coef: weights of the entropy bonus and of the value loss.
        grad_clip: largest gradient norm of each network.
        l1_coef, l2_coef: weights of the penalty on mean actions.
        scale_rewards: divide rewards by the running standard deviation of the return, clipped at 5.
        regulariser: further loss () of the actor, from its inputs (N, F) and its distribution there.
        ranks: processes that learn together, each from a buffer of its own: their gradients, statistics and
            decisions are those of one process with all their rollouts.
    """

    def __init__(
        self,
        actor_critic: ActorCritic,
        buffer: RolloutBuffer,
        generator: torch.Generator,
        *,
        gamma: float = 0.995,
        lam: float = 0.95,
        clip: float = 0.2,
        epochs: int = 8,
        minibatch_size: int | None = 1024,
        actor_lr: float = 5e-4,
        critic_lr: float = 1e-3,
        lr_warmup_iterations: int = 0,
        lr_cosine_iterations: int | None = None,
        lr_end: float = 0.0,
        critic_warmup_iterations: int = 0,
        target_kl: float = 0.02,
        entropy_coef: float = 0.0,
        value_coef: float = 1.0,
        grad_clip: float = 1.0,
        l1_coef: float = 0.0,
        l2_coef: float = 0.0,
        scale_rewards: bool = False,
        regulariser: Callable[[Tensor, Any], Tensor] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.actor_critic, self.buffer, self.generator = actor_critic, buffer, generator
        self.gamma, self.lam, self.clip = gamma, lam, clip
        self.epochs, self.minibatch_size = epochs, minibatch_size
        self.peak_lrs = (actor_lr, critic_lr)
        self.lr_warmup_iterations, self.lr_cosine_iterations = lr_warmup_iterations, lr_cosine_iterations
        self.lr_end = lr_end
        self.critic_warmup_iterations = critic_warmup_iterations
        self.target_kl, self.grad_clip = target_kl, grad_clip
        self.entropy_coef, self.value_coef = entropy_coef, value_coef
        self.l1_coef, self.l2_coef = l1_coef, l2_coef
        self.regulariser = regulariser
        self.ranks, device = ranks, buffer.reward.device
        scaler = RewardScaler(buffer.num_envs, gamma, device=device, ranks=ranks)
        self.scaler = scaler if scale_rewards else None
        self.iteration = 0
        self._networks = (list(actor_critic.actor.parameters()), list(actor_critic.critic.parameters()))
        groups = [{"params": network} for network in self._networks]
        self.optimizer = torch.optim.AdamW(groups, lr=actor_lr, eps=1e-5, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def act(self, actor_obs: Tensor, critic_obs: Tensor, decides: Tensor | None = None) -> Tensor:
        """Draw actions (B, A) for inputs (B, F) and (B, Fc), and remember how likely they were.

        Args:
            decides: (B,) bool, where the action will be used; everywhere where None.

        Raises:
            NonFiniteError: an action became NaN or infinite.
        """
        distribution = self.actor_critic.distribution(actor_obs)
        action = distribution.sample(self.generator)
        self._require_finite(action, "an action", {"actor_obs": actor_obs, "action": action})
        self.buffer.add_decision(
            actor_obs,
            critic_obs,
            action,
            distribution.mean,
            distribution.log_prob(action),
            self.actor_critic.value(critic_obs),
            decides,
        )
        return action

    @torch.no_grad()
    def record(self, reward: Tensor, done: Tensor, timed_out: Tensor, final_critic_obs: Tensor) -> None:
        """Remember what the last actions led to.

        Args:
            reward: (B,).
            done: (B,) bool, the episode ended for whatever reason.
            timed_out: (n,) int64, envs whose episode ended by the time limit alone.
            final_critic_obs: (n, Fc) the critic's view of their last observations; their value stands for
                the rewards that the time limit cut off.
        """
        if self.scaler is not None:
            reward = self.scaler.scale(reward, done)
        bootstrap = torch.zeros_like(reward)
        if len(timed_out):
            bootstrap[timed_out] = self.actor_critic.value(final_critic_obs)
        self.buffer.add_outcome(reward, done, bootstrap)

    @torch.no_grad()
    def compute_returns(self, last_critic_obs: Tensor) -> None:
        """Estimate advantages of the full rollout, given the critic's view (B, Fc) of what follows it."""
        self.buffer.compute_returns(self.actor_critic.value(last_critic_obs), self.gamma, self.lam)

    def update(self) -> dict[str, float]:
        """Learn from the rollout, forget it, and return metrics averaged over the gradient steps.

        Raises:
            NonFiniteError: a loss, gradient or weight became NaN or infinite.
        """
        old_log_std = self.actor_critic.distribution(self.buffer.actor_obs[0]).log_std.detach().clone()
        factor = learning_rate_factor(
            self.iteration,
            warmup=self.lr_warmup_iterations,
            total=self.lr_cosine_iterations,
            end=self.lr_end,
        )
        for group, peak_lr in zip(self.optimizer.param_groups, self.peak_lrs, strict=True):
            group["lr"] = factor * peak_lr
        history: list[Tensor] = []
        num_epochs = 0
        for _ in range(self.epochs):
            batches = self.buffer.minibatches(self.minibatch_size, self.generator, self.ranks)
            steps = [self._descend(batch, old_log_std) for batch in batches]
            history += steps
            num_epochs += 1
            if float(torch.stack(steps).mean(0)[METRICS.index("kl")]) > self.target_kl:
                break
        self._require_finite(nn.utils.parameters_to_vector(self._networks[0] + self._networks[1]), "a weight")
        metrics = dict(zip(METRICS, torch.stack(history).mean(0).tolist(), strict=True))
        metrics |= self._rollout_metrics() | {"epochs": num_epochs, "lr_actor": factor * self.peak_lrs[0]}
        self.iteration += 1
        self.buffer.clear()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the networks that learning continues from; call between rollouts."""
        return {
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "generator": self.generator.get_state(),
            "iteration": self.iteration,
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.iteration = state["iteration"]
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])

    def _descend(self, batch: Minibatch, old_log_std: Tensor) -> Tensor:
        """Take one gradient step on a minibatch; return its `METRICS`, measured before the step."""
        distribution = self.actor_critic.distribution(batch.actor_obs)
        log_prob = distribution.log_prob(batch.action)
        entropy = distribution.entropy().mean()
        advantage = normalised(batch.advantage, self.ranks, batch.share)
        policy_loss = clipped_surrogate_loss(log_prob, batch.log_prob, advantage, self.clip)
        critic_loss = value_loss(self.actor_critic.value(batch.critic_obs), batch.returns)
        actor_loss = (
            policy_loss
            - self.entropy_coef * entropy
            + magnitude_penalty(distribution.mean, self.l1_coef, self.l2_coef)
        )
        if self.regulariser is not None:
            actor_loss = actor_loss + self.regulariser(batch.actor_obs, distribution)
        loss = batch.share * (actor_loss + self.value_coef * critic_loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            kl = gaussian_kl(batch.mean, old_log_std, distribution.mean, distribution.log_std).mean()
            clipped = ((log_prob - batch.log_prob).exp() - 1).abs() > self.clip
            means = torch.stack([policy_loss, critic_loss, entropy, kl, clipped.float().mean()])
            total, means = loss.detach()[None], batch.share * means.detach()
        gradients = [p.grad for network in self._networks for p in network if p.grad is not None]
        self.ranks.average_([*gradients, total, means])
        norms = torch.stack([nn.utils.clip_grad_norm_(network, self.grad_clip) for network in self._networks])
        self._check_step(total, norms, batch)
        if self.iteration < self.critic_warmup_iterations:
            for parameter in self._networks[0]:
                parameter.grad = None
        self.optimizer.step()
        return torch.cat([means, norms])

    def _check_step(self, loss: Tensor, norms: Tensor, batch: Minibatch) -> None:
        """Raise NonFiniteError unless a step's loss (1,) and its gradients' norms are finite."""
        if not torch.cat([loss, norms]).isfinite().all():
            self._require_finite(loss, "the loss", batch._asdict())
            self._require_finite(norms, "a gradient", batch._asdict())

    def _rollout_metrics(self) -> dict[str, float]:
        """Describe the rollout that was learnt from."""
        rows = self.buffer.decisions()
        std = self.actor_critic.distribution(rows.actor_obs[:1]).log_std.detach().exp()
        explained = explained_variance(rows.value, rows.returns)
        magnitude = rows.mean.abs()
        saturated = (magnitude > 1).float().mean()
        values = torch.stack([magnitude.new_tensor(explained), magnitude.mean(), saturated, std.mean()])
        self.ranks.average_([values])
        names = ("explained_variance", "mean_magnitude", "saturation", "std")
        return dict(zip(names, values.tolist(), strict=True))

    def _require_finite(self, values: Tensor, what: str, inputs: dict[str, Any] | None = None) -> None:
        """Raise NonFiniteError, with all that is needed to study the cause, unless every value is finite."""
        if values.isfinite().all():
            return
        state = {
            "what": what,
            "inputs": inputs or {},
            "actor": self.actor_critic.actor.state_dict(),
            "critic": self.actor_critic.critic.state_dict(),
            "ppo": self.state_dict(),
        }
        raise NonFiniteError(what, state)
