"""Time of a PPO update against rsl_rl's PPO, on the same network, rollout, minibatches and epochs.

python benchmarks/ppo_speed.py [--threads 1] [--budget-s 20]

Needs `pip install rsl-rl-lib==5.5.1`. Both start from the same weights and see the same rollout of
64 envs x 80 steps, five minibatches and eight epochs, as the quickstart has it, and ResiP's networks.
The update alone is timed: no rollout, no advantages. Both take turns, so that a busy machine slows both.
`ratio_to_rsl_rl` is rsl_rl's median time over ours. Ours normalises advantages in every minibatch, watches
the KL and checks every step for NaN; rsl_rl's runs with a fixed learning rate and no KL.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from results import save_result
from timing import medians_in_turns

from robofb.policies.residual_networks import ResidualActorCritic
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer

OBS_DIM, ACTION_DIM, HIDDEN = 56, 10, (256, 256)
EPOCHS = 8
CASES = {"laptop": (80, 64, 5), "whole_rollout": (80, 64, 1)}  # steps, envs, minibatches


def make_ours(num_steps: int, num_envs: int, minibatches: int) -> PPO:
    """Build our PPO with a full rollout of random numbers."""
    generator = torch.Generator().manual_seed(0)
    networks = ResidualActorCritic(OBS_DIM, ACTION_DIM, hidden=HIDDEN, learn_std=True, generator=generator)
    buffer = RolloutBuffer(num_steps, num_envs, OBS_DIM, OBS_DIM, ACTION_DIM)
    size = num_steps * num_envs // minibatches
    ppo = PPO(networks, buffer, generator, epochs=EPOCHS, minibatch_size=size, target_kl=1e9)
    fill(ppo)
    return ppo


def fill(ppo: PPO) -> None:
    """Play one rollout of random observations and rewards."""
    draws, buffer = torch.Generator().manual_seed(1), ppo.buffer
    for _ in range(buffer.num_steps):
        obs = torch.randn(buffer.num_envs, OBS_DIM, generator=draws)
        ppo.act(obs, obs)
        reward, done = torch.rand(2, buffer.num_envs, generator=draws)
        ppo.record(reward, done < 0.02, torch.empty(0, dtype=torch.int64), obs[:0])
    ppo.compute_returns(torch.zeros(buffer.num_envs, OBS_DIM))


def make_theirs(ours: PPO, minibatches: int) -> Any:
    """Build rsl_rl's PPO around the same weights and rollout."""
    from rsl_rl import algorithms  # type: ignore[import-not-found]
    from rsl_rl.models import MLPModel  # type: ignore[import-not-found]
    from rsl_rl.storage import RolloutStorage  # type: ignore[import-not-found]
    from tensordict import TensorDict  # type: ignore[import-not-found]

    buffer = ours.buffer
    num_rows = buffer.num_steps * buffer.num_envs
    obs = TensorDict({"state": buffer.actor_obs[0]}, batch_size=[buffer.num_envs])
    groups = {"actor": ["state"], "critic": ["state"]}
    common: dict[str, Any] = {"hidden_dims": list(HIDDEN), "activation": "relu"}
    gaussian = {"class_name": "GaussianDistribution", "init_std": 0.37, "std_type": "log"}
    actor = MLPModel(obs, groups, "actor", ACTION_DIM, distribution_cfg=gaussian, **common)
    critic = MLPModel(obs, groups, "critic", 1, **common)
    copy_linear(ours.actor_critic.actor, actor.mlp)
    copy_linear(ours.actor_critic.critic, critic.mlp)
    storage = RolloutStorage("rl", buffer.num_envs, buffer.num_steps, obs, [ACTION_DIM], "cpu")
    theirs = algorithms.PPO(
        actor,
        critic,
        storage,
        num_learning_epochs=EPOCHS,
        num_mini_batches=minibatches,
        entropy_coef=0.0,
        use_clipped_value_loss=False,
        schedule="fixed",
        learning_rate=5e-4,
    )
    storage.observations["state"].copy_(buffer.actor_obs)
    storage.actions.copy_(buffer.action)
    with torch.no_grad():
        actor(
            TensorDict({"state": buffer.actor_obs.flatten(0, 1)}, batch_size=[num_rows]),
            stochastic_output=True,
        )
    storage.distribution_params = tuple(
        parameter.detach().reshape(buffer.num_steps, buffer.num_envs, -1)
        for parameter in actor.output_distribution_params
    )
    for name, values in (
        ("actions_log_prob", buffer.log_prob),
        ("values", buffer.value),
        ("returns", buffer.returns),
        ("advantages", buffer.advantage),
    ):
        getattr(storage, name).copy_(values[..., None])
    return theirs


def copy_linear(source: torch.nn.Module, target: torch.nn.Module) -> None:
    """Copy the weights of the linear layers, one after the other; a bias that is missing there is zero."""
    linear = torch.nn.Linear
    layers = zip(
        (layer for layer in source.modules() if isinstance(layer, linear)),
        (layer for layer in target.modules() if isinstance(layer, linear)),
        strict=True,
    )
    with torch.no_grad():
        for theirs, ours in layers:
            ours.weight.copy_(theirs.weight)
            ours.bias.zero_() if theirs.bias is None else ours.bias.copy_(theirs.bias)


def repeated(networks: Sequence[Any], update: Callable[[], Any]) -> Callable[[], None]:
    """Return what does the same update again, from the present weights: others would leave the rollout."""
    start = [copy.deepcopy(network.state_dict()) for network in networks]

    def again() -> None:
        for network, weights in zip(networks, start, strict=True):
            network.load_state_dict(weights)
        update()

    return again


def main() -> None:
    """Measure, print one JSON line and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--budget-s", type=float, default=20, help="time for each case")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures = {}
    for name, (num_steps, num_envs, minibatches) in CASES.items():
        ours = make_ours(num_steps, num_envs, minibatches)
        theirs = make_theirs(ours, minibatches)
        check_same_networks(ours, theirs)
        ways = {
            "ours": repeated([ours.actor_critic], ours.update),
            "rsl_rl": repeated([theirs.actor, theirs.critic], theirs.update),
        }
        seconds = medians_in_turns(ways, budget_s=options.budget_s, min_rounds=3)
        figures[name] = {f"{way}_s": seconds[way] for way in ways}
        figures[name]["ratio"] = seconds["rsl_rl"] / seconds["ours"]
    headline = {"ratio_to_rsl_rl": figures["laptop"]["ratio"], "threads": torch.get_num_threads()}
    save_result("ppo_speed", {**headline, "updates": figures})


def check_same_networks(ours: PPO, theirs: Any) -> None:
    """Refuse to time two whose networks do not compute the same."""
    from tensordict import TensorDict

    rows = ours.buffer.decisions()
    obs = TensorDict({"state": rows.critic_obs}, batch_size=[len(rows.value)])
    with torch.no_grad():
        torch.testing.assert_close(theirs.critic(obs)[:, 0], ours.actor_critic.value(rows.critic_obs))
        mean = theirs.actor(obs)
    torch.testing.assert_close(mean, rows.mean, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
