"""Belief updates per CPU second against a loop that decodes one trajectory after the other, in one run.

python benchmarks/borel_speed.py [--trajectories 64] [--budget-s 60]

Both compute the same loss, which is checked first. The loop puts every latent beside every step of its
trajectory and decodes the pairs; ours decodes a latent once, or never puts the pairs together.
`grid_navi` has a head for each cell, trials of 60 steps: `ratio_to_loop`. `point_robot_sparse` has a mean,
120 steps; it is learnt from 16 latents of each trial as well, an estimate of the same loss without bias.
Last line: one JSON line.
"""

from __future__ import annotations

import argparse
import copy
import time
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from results import save_result
from timing import medians_in_turns
from torch import Tensor, nn

from robofb.build import build
from robofb.loading import task_node
from robofb.rl.borel.belief import BeliefEncoder
from robofb.rl.borel.belief_learner import BeliefLearner
from robofb.rl.borel.decoders import OutcomeDecoder, RewardDecoder, Said, make_decoders
from robofb.rl.histories import Trials
from robofb.rng import EpisodeRng
from robofb.types import num_choices

EPISODES = {"grid_navi": 4, "point_robot_sparse": 2}


class LoopedOutcomes(nn.Module):
    """Decode heads for every pair of latent and step of one trajectory after the other."""

    def __init__(self, fast: OutcomeDecoder) -> None:
        super().__init__()
        self.fast = fast

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        rows = []
        for m in range(len(z)):
            steps, latents = trials.obs.shape[1], z.shape[1]
            logits = self.fast.logits(z[m][:, None].expand(-1, steps, -1))  # (L, T, C)
            outcome = self.fast.outcome(trials.next_obs[m]).expand(latents, -1)
            taken = logits.gather(-1, outcome[..., None])[..., 0]
            paid = (trials.reward[m] > self.fast.threshold).float().expand(latents, -1)
            each = F.binary_cross_entropy_with_logits(taken, paid, reduction="none")
            rows.append((each * trials.valid[m]).sum(-1))
        return torch.stack(rows)


class LoopedMeans(nn.Module):
    """Put every latent beside every step of one trajectory after the other, and decode the pairs."""

    def __init__(self, fast: RewardDecoder) -> None:
        super().__init__()
        self.fast = fast

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        net, rows = self.fast.net, []
        inputs = self.fast.inputs(trials, encoder)
        for m in range(len(z)):
            shape = (z.shape[1], inputs.shape[1], -1)
            latents, steps = z[m][:, None].expand(shape), inputs[m][None].expand(shape)
            weights = (net.of_z(latents) + net.straight(latents)) / net.features**0.5
            features, alone = net.of_x(steps).split([net.features, 1], -1)
            error = (weights * features).sum(-1) + alone[..., 0] - self.fast.scale * trials.reward[m]
            rows.append(0.5 * (error**2 * trials.valid[m]).sum(-1))
        return torch.stack(rows)


def make_trials(family: Any, episodes: int, count: int) -> Trials:
    """Return trials of drawn actions in tasks of a family, one each."""
    rng = EpisodeRng(torch.arange(count))
    params = family.draw_params(rng)
    env = family.fixed(params).make_env(count)
    obs, columns = env.reset(0)["state"], []
    choices = num_choices(family.spec.action)
    steps = episodes * family.spec.max_steps
    for _ in range(steps):
        drawn = rng.uniform(*family.spec.action.shape)
        action = (drawn * choices).long() if choices else 2 * drawn - 1
        step = env.step(action)
        columns.append((obs, action, step.reward, step.final_obs["state"], step.done))
        obs = step.obs["state"]
    states, actions, rewards, after, ends = (torch.stack(part, 1) for part in zip(*columns, strict=True))
    number = torch.arange(steps) // family.spec.max_steps
    first = torch.arange(episodes) * family.spec.max_steps
    return Trials(
        obs=states,
        action=actions,
        reward=rewards,
        next_obs=after,
        valid=torch.ones(count, steps, dtype=torch.bool),
        episode=number.expand(count, -1),
        ends=ends,
        starts=states[:, first],
        task=torch.arange(count),
    )


def make_learners(family: Any) -> dict[str, BeliefLearner]:
    """Return ours and the loop's, with the same weights."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    encoder = BeliefEncoder(family.spec, generator=generator)
    said = make_decoders(family, encoder, hidden=[64, 64], sees_move=False, state_weight=0.0)
    looped_encoder, looped = copy.deepcopy((encoder, said[0].decoder))
    slow = LoopedOutcomes(looped) if isinstance(looped, OutcomeDecoder) else LoopedMeans(looped)
    draws = [torch.Generator().manual_seed(1) for _ in range(3)]
    learners = {
        "ours": BeliefLearner(encoder, said, draws[0]),
        "loop": BeliefLearner(looped_encoder, [Said("reward", slow)], draws[1]),
    }
    if isinstance(slow, LoopedMeans):
        few, decoder = copy.deepcopy((encoder, said[0].decoder))
        learners["ours, 16 latents"] = BeliefLearner(
            few, [Said("reward", decoder)], draws[2], latents_per_trial=16
        )
    return learners


def main() -> None:
    """Check that the losses agree, time both in turns, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trajectories", type=int, default=64)
    parser.add_argument("--budget-s", type=float, default=60.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"trajectories": args.trajectories}
    for task, episodes in EPISODES.items():
        family = build(task_node(task))
        trials = make_trials(family, episodes, args.trajectories)
        learners = make_learners(family)
        for _ in range(2):
            losses = [float(learners[name].update(trials)["loss"]) for name in ("ours", "loop")]
            if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[1]):
                raise SystemExit(f"{task}: the losses are {losses}, not the same")
        ways = {name: partial(learner.update, trials) for name, learner in learners.items()}
        seconds = medians_in_turns(
            ways, budget_s=args.budget_s / len(EPISODES), min_rounds=3, clock=time.process_time
        )
        figures[task] = {
            "updates_per_cpu_s": {name: 1 / median for name, median in seconds.items()},
            "ratios_to_loop": {name: seconds["loop"] / seconds[name] for name in ways if name != "loop"},
            "loss": losses[0],
        }
        for name, median in seconds.items():
            print(f"{task} {name}: {1 / median:.2f} updates/CPU s")
    figures["ratio_to_loop"] = figures["grid_navi"]["ratios_to_loop"]["ours"]
    print(f"ratio to loop: {figures['ratio_to_loop']:.1f}")
    save_result("borel_speed", figures)


if __name__ == "__main__":
    main()
