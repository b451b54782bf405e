"""Compare the policies that behaviour cloning can train, small ones, on one_leg_insert.

python benchmarks/policies.py [--steps 1000] [--batch-size 128] [--demos 80] [--episodes 256] [--seed 0]
    [--work runs/policies-benchmark]

Every policy trains for the same number of steps on the same demonstrations, with networks that one core can
train in a minute; then it plays the same start states, which nothing else uses. Beside it stand itself before
training, and the mean action. A finished part is kept in the work folder and never done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from cells import call
from omegaconf import DictConfig
from results import save_result
from timing import medians_in_turns
from torch import Tensor, nn

from robofb import config
from robofb.evaluate import evaluate
from robofb.files import write_atomically
from robofb.loading import load_policy, make_env
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.policies.executor import ChunkExecutor
from robofb.policies.mlp_chunk import MlpChunkPolicy
from robofb.rng import EpisodeRng, derive_seeds
from robofb.run import Run, is_run
from robofb.stats import SuccessRate
from robofb.store.windows import Windows
from robofb.train.action_error import action_error
from robofb.train.bc import make_policy
from robofb.train.bc_data import make_windows, open_stores

EVALUATION_SEED = 60_000_000
NUM_ENVS, ERROR_WINDOWS, BATCH_SIZES = 64, 256, (1, 64)
OF_CHUNKS = ["policy.horizon=16", "policy.execute=8"]
SMALL_DIFFUSION = [*OF_CHUNKS, "policy.prediction=sample", "policy.num_inference_steps=4"]
SMALL_UNET = ["policy.denoiser.channels=[32,64]", "policy.denoiser.step_dim=64"]
SMALL_TRANSFORMER = ["policy.denoiser.width=64", "policy.denoiser.num_layers=3", "weight_decay=1e-3"]
POLICIES = {  # name: words of its training, the config first
    "mlp_diffusion": ["policy=mlp_diffusion"],
    "unet_diffusion": ["policy=unet_diffusion", *SMALL_DIFFUSION, *SMALL_UNET],
    "transformer_diffusion": ["policy=transformer_diffusion", *SMALL_DIFFUSION, *SMALL_TRANSFORMER],
    "flow_matching": ["policy=flow_matching"],
    "flow_matching_of_samples": ["policy=flow_matching", "policy.schedule.prediction=sample"],
    "mlp_chunk": ["policy=mlp_chunk"],
}


class Nothing(nn.Module):
    """Predict zero, the middle, until it is told the mean."""

    def __init__(self, action_dim: int, horizon: int, cond_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(horizon, action_dim))

    def forward(self, cond: Tensor) -> Tensor:
        """Return the same chunk (B, H, A) for every condition (B, C)."""
        return self.mean.expand(len(cond), -1, -1)


class Bench:
    """One set of demonstrations, of which all policies learn, and one set of start states.

    Args:
        args: of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.data = args.work / f"demonstrations-{args.demos}-s{args.seed}"

    def compose(self, name: str) -> DictConfig:
        """Return the training's config of a policy."""
        return config.compose("train_bc", [*self._words(name), f"out={self.run_folder(name)}"])

    def run_folder(self, name: str) -> Path:
        """Return where a policy is trained."""
        return self.folder / name

    @property
    def folder(self) -> Path:
        """Where everything of this budget is kept."""
        args = self.args
        return args.work / f"b{args.batch_size}-n{args.steps}-d{args.demos}-s{args.seed}"

    @cached_property
    def windows(self) -> tuple[Windows, Windows]:
        """Windows of the training episodes, and of the held-out ones."""
        cfg = self.compose("mlp_chunk")
        with ExitStack() as stack:
            stores = open_stores([str(self.data)], None, stack)
            policy = make_policy(cfg.policy, stores[0].spec)
            windows, held_out = make_windows(cfg, stores, policy, torch.device("cpu"))
        assert held_out is not None
        return windows, held_out

    def demonstrate(self) -> None:
        """Record the demonstrations, unless they are there."""
        if not self.data.is_dir():
            words = (f"out={self.data}", f"episodes={self.args.demos}", f"seed={self.args.seed}")
            call("collect", "task=one_leg_insert", *words)

    def untrained(self, name: str) -> ChunkPolicy:
        """Return a policy with its first weights and the data's statistics."""
        cfg = self.compose(name)
        policy = make_policy(cfg.policy, self.windows[0].spec, self.args.seed)
        policy.set_stats(self.windows[0].stats())
        return policy.eval().requires_grad_(False)

    def mean_action(self) -> ChunkPolicy:
        """Return a policy that always does what the demonstrations do on average."""
        stats = self.windows[0].stats()
        policy = MlpChunkPolicy(self.windows[0].spec, Nothing)
        policy.set_stats(stats)
        mean = policy.normalizer(torch.as_tensor(stats["action"]["mean"]), "action")
        policy.regressor.mean.data.copy_(mean.expand_as(policy.regressor.mean))  # type: ignore
        return policy.eval().requires_grad_(False)

    def trained(self, name: str) -> ChunkPolicy:
        """Return a policy after training, which is done here or found done."""
        folder = self.run_folder(name)
        if is_run(folder) and "cpu_seconds" in Run.open(folder).summary():
            return load_policy(Run.open(folder))  # type: ignore[return-value]
        shutil.rmtree(folder, ignore_errors=True)  # interrupted: its seconds are not known
        started = time.process_time()
        call("train", "bc", *self._words(name), f"out={folder}")
        run = Run.open(folder)
        run.write_summary({"cpu_seconds": time.process_time() - started})
        return load_policy(run)  # type: ignore[return-value]

    def judge(self, policy: ChunkPolicy) -> dict[str, Any]:
        """Return success, action error on held-out demonstrations, and parameters of a policy."""
        started = time.process_time()
        task = self.compose("mlp_chunk").task
        engine = config.compose("collect", ["task=one_leg_insert"]).engine
        with closing(make_env(task, engine, NUM_ENVS)) as env:
            agent = ChunkExecutor(policy, NUM_ENVS)
            outcome = evaluate(agent, env, self.args.episodes, EVALUATION_SEED + self.args.seed)
        errors = action_error(policy, self.windows[1], ERROR_WINDOWS, self.args.seed)
        return {
            **outcome.rate.to_dict(),
            **errors,
            "parameters": sum(parameter.numel() for parameter in policy.parameters()),
            "cpu_seconds_of_judging": time.process_time() - started,
        }

    def part(self, name: str) -> dict[str, Any]:
        """Return the figures of a policy, its first weights, or "mean_action"; made now or before."""
        path = self.folder / f"{name}-{self.args.episodes}.json"
        if not path.is_file():
            stage, _, policy_name = name.rpartition(" ")
            if name == "mean_action":
                figures = self.judge(self.mean_action())
            elif stage:
                figures = self.judge(self.untrained(policy_name))
            else:
                policy = self.trained(name)
                training = Run.open(self.run_folder(name)).summary()
                figures = {**self.judge(policy), "cpu_seconds_of_training": training["cpu_seconds"]}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(figures))
        return dict(json.loads(path.read_text()))

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """Return each policy's median CPU time of `act` [ms] at batch 1 and 64, in turns, on one thread."""
        policies = {name: load_policy(Run.open(self.run_folder(name))) for name in POLICIES}
        held_out = self.windows[1]
        found: dict[str, dict[str, float]] = {name: {} for name in POLICIES}
        for size in BATCH_SIZES:
            obs = held_out.batch(torch.arange(size)).obs
            rng = EpisodeRng(derive_seeds(0, torch.arange(size)))
            ways = {name: partial(policy.act, obs, rng) for name, policy in policies.items()}
            budget_s, clock = self.args.timing_s, time.process_time
            for name, seconds in medians_in_turns(
                ways, budget_s=budget_s, min_rounds=20, clock=clock
            ).items():
                found[name][f"ms_batch{size}"] = 1e3 * seconds
        return found

    def _words(self, name: str) -> list[str]:
        args = self.args
        words = [f"data={self.data}", "task=one_leg_insert", f"seed={args.seed}"]
        words += [f"steps={args.steps}", f"batch_size={args.batch_size}", f"lr={args.lr}"]
        return [*words, "precision=float32", "threads=1", *POLICIES[name]]


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table with a line for each policy, and one for the mean action."""
    lines = [
        "| policy | success, % [95 %] | action error | untrained: success, error | M parameters "
        "| training, CPU s | a chunk at batch 1, 64, CPU ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in POLICIES:
        own, before = figures[name], figures[f"untrained {name}"]
        untrained = f"{100 * before['successes'] / before['episodes']:.1f}"
        lines.append(
            f"| `{name}` | {_percent(own)} | {own['action_error_normalised']:.3f} "
            f"| {untrained}, {before['action_error_normalised']:.3f} "
            f"| {own['parameters'] / 1e6:.2f} | {own['cpu_seconds_of_training']:.0f} "
            f"| {own['ms_batch1']:.2f}, {own['ms_batch64']:.1f} |"
        )
    mean = figures["mean_action"]
    lines.append(f"| mean action | {_percent(mean)} | {mean['action_error_normalised']:.3f} | | | | |")
    return "\n".join(lines)


def _percent(figures: Mapping[str, Any]) -> str:
    rate = SuccessRate(figures["successes"], figures["episodes"])
    return f"{100 * rate.rate:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def main() -> None:
    """Do what is missing, print the table, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--demos", type=int, default=80)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timing-s", type=float, default=5, help="for each batch size")
    parser.add_argument("--work", type=Path, default=Path("runs/policies-benchmark"))
    parser.add_argument("--no-save", action="store_true", help="leave benchmarks/results as it is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(args)
    bench.demonstrate()
    figures = {name: bench.part(name) for name in POLICIES}
    others = ["mean_action", *(f"untrained {name}" for name in POLICIES)]
    figures |= {name: bench.part(name) for name in others}
    for name, milliseconds in bench.milliseconds().items():
        figures[name] |= milliseconds
    print(table(figures))
    budget = {key: getattr(args, key) for key in ("steps", "batch_size", "lr", "demos", "seed")}
    result = {**budget, "evaluation_seed": EVALUATION_SEED + args.seed, "policies": figures}
    if args.no_save:
        print(json.dumps(result))
    else:
        save_result("policies", result)


if __name__ == "__main__":
    main()
