"""What tests run on several processes: torchrun -m rank_jobs JOB FOLDER; ranks save what they came to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from fakes import ResumablePointEnv
from omegaconf import OmegaConf
from torch import nn

from robofb import build, loading
from robofb.policies.residual_networks import ResidualActorCritic
from robofb.ranks import Ranks, join_ranks
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer
from robofb.train import bc, residual
from robofb.train.bc_config import BcConfig
from robofb.train.bc_learner import BcLearner
from robofb.train.residual_config import ResidualConfig
from robofb.types import Batch

NUM_STEPS, NUM_ENVS = 6, 8


def ppo_update(ranks: Ranks, every_step: bool = True, **settings: Any) -> dict[str, Any]:
    """Learn from this rank's envs of one fixed rollout; return gradients, weights and metrics."""
    fixed = torch.Generator().manual_seed(5)
    networks = ResidualActorCritic(3, 2, hidden=(16,), learn_std=True, generator=fixed)
    obs = torch.randn(NUM_STEPS, NUM_ENVS, 3, generator=fixed)
    noise = torch.randn(NUM_STEPS, NUM_ENVS, 2, generator=fixed)
    reward = torch.randn(NUM_STEPS, NUM_ENVS, generator=fixed)
    done = torch.rand(NUM_STEPS, NUM_ENVS, generator=fixed) < 0.2
    decides = torch.rand(NUM_STEPS, NUM_ENVS, generator=fixed) < torch.linspace(0.2, 0.9, NUM_ENVS)
    num_envs = NUM_ENVS // ranks.size
    mine = slice(ranks.rank * num_envs, (ranks.rank + 1) * num_envs)
    buffer = RolloutBuffer(NUM_STEPS, num_envs, 3, 3, 2)
    values = {"minibatch_size": None, "scale_rewards": True, "actor_lr": 1e-2, **settings}
    ppo = PPO(networks, buffer, torch.Generator(), ranks=ranks, **values)
    for t in range(NUM_STEPS):
        seen = obs[t, mine]
        with torch.no_grad():
            drawn = networks.distribution(seen)
            action = drawn.mean + drawn.log_std.exp() * noise[t, mine]
            which = None if every_step else decides[t, mine]
            likely, value = drawn.log_prob(action), networks.value(seen)
            buffer.add_decision(seen, seen, action, drawn.mean, likely, value, which)
        ppo.record(reward[t, mine], done[t, mine], torch.empty(0, dtype=torch.int64), seen[:0])
    ppo.compute_returns(obs[0, mine])
    metrics = ppo.update()
    parameters = [p for p in networks.parameters() if p.requires_grad]
    gradient = nn.utils.parameters_to_vector([p.grad for p in parameters])  # type: ignore[misc]
    return {"gradient": gradient, "weights": nn.utils.parameters_to_vector(parameters), "metrics": metrics}


PPO_CASES: dict[str, dict[str, Any]] = {
    "one_step": {"epochs": 1, "grad_clip": 1e9},
    "chunked": {"epochs": 1, "grad_clip": 1e9, "every_step": False},
    "stopped": {"epochs": 30, "target_kl": 0.05},
}


class LinearPolicy(nn.Module):
    """Regress an action on a state; its loss weighs the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(3, 2)
        nn.init.constant_(self.network.weight, 0.1)
        nn.init.zeros_(self.network.bias)

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[torch.Tensor, dict]:
        error = ((self.network(batch.obs["state"]) - batch.action) ** 2).mean(1)
        return (error * batch.weight).sum() / batch.weight.sum(), {}


class FixedWindows:
    """Give each rank its part of the same sixteen samples."""

    device = torch.device("cpu")

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        fixed = torch.Generator().manual_seed(3)
        state, action = torch.randn(16, 3, generator=fixed), torch.randn(16, 2, generator=fixed)
        weight = torch.rand(16, generator=fixed)
        rows = slice(self.ranks.rank * size, (self.ranks.rank + 1) * size)
        mask = torch.ones(size, dtype=torch.bool)
        return Batch({"state": state[rows]}, action[rows], mask, weight[rows])

    def state_dict(self) -> dict[str, Any]:
        return {}


def bc_step(ranks: Ranks) -> dict[str, Any]:
    """Do one step of behaviour cloning; return the loss and the mean gradient that Adam remembers."""
    policy: Any = LinearPolicy()
    windows: Any = FixedWindows(ranks)
    settings = {"lr": 1e-3, "weight_decay": 0.0, "warmup_steps": 0, "total_steps": 10, "ema_decay": 0.9}
    size = 16 // ranks.size
    learner = BcLearner(policy, windows, batch_size=size, grad_clip=1e9, seed=0, ranks=ranks, **settings)
    loss = learner.step()["loss"]
    moments = [learner.optimizer.state[p]["exp_avg"].reshape(-1) for p in policy.parameters()]
    return {"loss": float(loss), "gradient": torch.cat(moments)}


def updates(folder: Path) -> None:
    """Save what PPO and behaviour cloning come to on this rank."""
    with join_ranks() as ranks:
        found: dict[str, Any] = {name: ppo_update(ranks, **case) for name, case in PPO_CASES.items()}
        found["bc"] = bc_step(ranks)
        torch.save(found, folder / f"updates_{ranks.rank}.pt")


def trainings(folder: Path) -> None:
    """Train in one go, and in two: each run's config lies in its folder's YAML."""
    build.TRUSTED_PREFIXES += ("fakes.",)
    loading.make_env = lambda task, engine, num_envs: ResumablePointEnv(num_envs)  # type: ignore
    for name in ("residual", "bc"):
        for file in sorted(folder.glob(f"{name}_*.yaml")):
            given = OmegaConf.to_container(OmegaConf.load(file))
            assert isinstance(given, dict)
            if name == "residual":
                residual.train(ResidualConfig(**given))
            else:
                cfg: Any = OmegaConf.merge(OmegaConf.structured(BcConfig), given)
                bc.train(cfg)


def threads() -> list[str]:
    """Return the names of this process's threads, also those that Python did not start."""
    return [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_ranks():
        {"updates": updates, "trainings": trainings}[sys.argv[1]](Path(sys.argv[2]))
    left = [name for name in threads() if "gloo" in name]
    assert not left, f"threads of the group outlive it: {left}"
