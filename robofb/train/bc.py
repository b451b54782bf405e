"""Train a diffusion policy on demonstrations by behaviour cloning."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import MISSING, OmegaConf
from torch import Tensor
from tqdm import tqdm

from robofb.errors import UserError
from robofb.files import write_atomically
from robofb.policies.diffusion import DiffusionPolicy
from robofb.rl.ppo import NonFiniteError
from robofb.rng import EpisodeRng, derive_seeds
from robofb.run import Run, new_run_path
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows, split_episodes
from robofb.train.bc_learner import BcLearner
from robofb.train.interrupt import InterruptFlag
from robofb.types import EnvSpec

LOG = logging.getLogger(__name__)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class BcConfig:
    """What `robofb train bc` reads. The defaults suit two CPU cores.

    Attributes:
        task: what the demonstrations show; null takes the dataset's word for it.
        data: folder of the dataset.
        policy: what is trained.
        steps: optimiser steps.
        batch_size: windows per step.
        lr: peak learning rate of AdamW; it falls to 0 along a cosine.
        weight_decay: of AdamW.
        warmup_steps: steps over which the learning rate rises.
        ema_decay: of the average of the weights, which is what acts.
        grad_clip: largest gradient norm.
        validation_fraction: share of the episodes held out.
        validation_windows: most held-out steps at which chunks are compared.
        validate_every: steps between validations, which choose `best`.
        checkpoint_every: steps between checkpoints.
        log_every: steps between lines in metrics.jsonl.
        seed: of weights, split, batches and noise.
        precision: float32, bfloat16 (autocast), or auto (bfloat16 on a GPU, else float32).
        compile: run the network through torch.compile.
        device: cpu, cuda, or auto (a GPU where there is one).
        threads: torch's threads on the CPU; 0 leaves the choice to torch.
        out: run folder; a new one below runs/ where null.
        resume: run folder to continue from its latest checkpoint.
        wandb: mirror the metrics to Weights & Biases (off, offline or online).
    """

    task: Any = None
    data: str = MISSING
    policy: Any = MISSING
    steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-6
    warmup_steps: int = 100
    ema_decay: float = 0.995
    grad_clip: float = 1.0
    validation_fraction: float = 0.1
    validation_windows: int = 256
    validate_every: int = 250
    checkpoint_every: int = 1000
    log_every: int = 50
    seed: int = 0
    precision: str = "auto"
    compile: bool = False
    device: str = "auto"
    threads: int = 0
    out: str | None = None
    resume: str | None = None
    wandb: str = "off"

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 1, "warmup_steps": 0, "validation_windows": 1, "threads": 0}
        least |= {"validate_every": 1, "checkpoint_every": 1, "log_every": 1}
        for key, low in least.items():
            if getattr(self, key) < low:
                raise UserError(f"{key}={getattr(self, key)}: must be at least {low}")
        for key in ("lr", "grad_clip"):
            if not getattr(self, key) > 0:
                raise UserError(f"{key}={getattr(self, key)}: must be positive")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay={self.ema_decay}: must be at least 0 and below 1")
        if self.precision not in ("auto", *PRECISIONS):
            raise UserError(f"precision={self.precision}: choose one of auto, {', '.join(PRECISIONS)}")


def train(cfg: BcConfig) -> Run:
    """Train a policy on the dataset `cfg.data`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: an unusable dataset, device or folder, or a loss that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    device = choose_device(cfg.device)
    task_spec = None if cfg.task is None else instantiate(cfg.task).spec
    with _threads(cfg.threads):
        with EpisodeStore.open(cfg.data, spec=task_spec) as store:
            training_ids, validation_ids = split_episodes(len(store), cfg.validation_fraction, cfg.seed)
            policy = make_policy(cfg.policy, store.spec, cfg.seed)
            policy.set_stats(store.stats(training_ids))
            sizes = {"obs_history": policy.obs_history, "horizon": policy.horizon, "device": device}
            windows = Windows(store, episodes=training_ids, **sizes)
            held_out = Windows(store, episodes=validation_ids, **sizes) if validation_ids else None
        learner = make_learner(cfg, policy.to(device), windows)
        with open_run(cfg, store.spec.task) as run:
            BcTraining(cfg, run, learner, held_out).work()
    return run


def make_policy(node: Any, spec: EnvSpec, seed: int = 0) -> DiffusionPolicy:
    """Build a policy from its config node (a partial `_target_`); `seed` gives its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return instantiate(node)(spec)


def make_learner(cfg: BcConfig, policy: DiffusionPolicy, windows: Windows) -> BcLearner:
    """Put the optimiser's side around a policy."""
    precision = cfg.precision
    if precision == "auto":
        precision = "bfloat16" if windows.device.type == "cuda" else "float32"
    learner = BcLearner(
        policy,
        windows,
        batch_size=cfg.batch_size,
        lr=cfg.lr,
        weight_decay=cfg.weight_decay,
        warmup_steps=cfg.warmup_steps,
        total_steps=cfg.steps,
        ema_decay=cfg.ema_decay,
        grad_clip=cfg.grad_clip,
        seed=cfg.seed,
        precision=PRECISIONS[precision],
    )
    if cfg.compile:
        policy.denoiser.compile()
    return learner


def choose_device(name: str) -> torch.device:
    """Return the device called `name`, or the best one there is for "auto"."""
    have = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device("cuda" if len(have) > 1 else "cpu")
    if name not in have and not (name == "cuda" and len(have) > 1):
        raise UserError(f"device={name}: this machine has {', '.join(have)}")
    return torch.device(name)


def open_run(cfg: BcConfig, task: str) -> Run:
    """Start the run folder, or open the one to resume."""
    if cfg.resume:
        run = Run.open(cfg.resume)
        if run.kind != "bc":
            raise UserError(f"resume={cfg.resume}: a {run.kind} run; train bc continues bc runs")
        return run.resume()
    path = Path(cfg.out) if cfg.out else new_run_path(task, "bc", cfg.seed)
    config: Any = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)  # type: ignore[call-overload]
    return Run.create(path, config, "bc")


class BcTraining:
    """The loop around `BcLearner.step`: validation, log, checkpoints, Ctrl-C.

    Args:
        cfg: budget and intervals.
        run: where to log and save; continued from its latest checkpoint where `cfg.resume` is set.
        learner: what learns.
        held_out: windows of the validation episodes; without any, the last weights are the best.
    """

    def __init__(self, cfg: BcConfig, run: Run, learner: BcLearner, held_out: Windows | None) -> None:
        self.cfg, self.run, self.learner, self.held_out = cfg, run, learner, held_out
        self.best_error: float | None = None
        self.seconds = 0.0
        self.validation: dict[str, float] = {}
        self._saved_at = -1
        if cfg.resume:
            self._restore(run.load_checkpoint("latest"))
        self._started = time.monotonic() - self.seconds

    def work(self) -> None:
        """Train until the budget of steps is spent."""
        cfg, learner, losses = self.cfg, self.learner, []
        bar = tqdm(
            total=cfg.steps,
            initial=learner.steps,
            desc="behaviour cloning",
            unit="step",
            mininterval=0.5,
            disable=None,
        )
        with InterruptFlag() as interrupt, bar:
            while learner.steps < cfg.steps:
                metrics = self._step()
                losses.append(metrics["loss"])
                bar.update()
                if self._due(cfg.log_every):
                    metrics["loss"] = torch.stack(losses).mean()
                    losses.clear()
                    bar.set_postfix(loss=f"{float(metrics['loss']):.4f}", refresh=False)
                    named = {f"train/{name}": float(value) for name, value in metrics.items()}
                    self.run.log({**named, "train/lr": learner.present_lr}, learner.steps)
                if self._due(cfg.validate_every):
                    self._validate()
                if self._due(cfg.checkpoint_every):
                    self._save()
                if interrupt.raised and learner.steps < cfg.steps:
                    self._stop()
        self._summarise()

    def _due(self, every: int) -> bool:
        return self.learner.steps % every == 0 or self.learner.steps == self.cfg.steps

    def _step(self) -> dict[str, Tensor]:
        """Do one step; save what caused it where a number is no longer finite."""
        try:
            return self.learner.step()
        except NonFiniteError as error:
            path = self.run.path / f"nonfinite_{self.learner.steps:09d}.pt"
            content = io.BytesIO()
            torch.save(error.state, content)
            write_atomically(path, content.getvalue())
            raise UserError(
                f"training stopped after {self.learner.steps} steps: {error}; "
                f"what caused it is in {path}; a lower lr may help"
            ) from error

    def _validate(self) -> None:
        """Measure the averaged policy on held-out episodes; keep the best, by the normalised error."""
        if self.held_out is None:
            if self.learner.steps == self.cfg.steps:
                self._save(best=True)
            return
        self.validation = action_error(
            self.learner.ema.model, self.held_out, self.cfg.validation_windows, self.cfg.seed
        )
        self.run.log({f"validation/{name}": value for name, value in self.validation.items()}, self.learner.steps)
        error = self.validation["action_error_normalised"]
        if self.best_error is None or error <= self.best_error:
            self.best_error = error
            self._save(best=True)

    def _stop(self) -> None:
        """Save after Ctrl-C, say how to go on, and leave."""
        self._save()
        LOG.info("saved; continue with: robofb train bc resume=%s", self.run.path)
        raise KeyboardInterrupt

    def _save(self, best: bool = False) -> None:
        """Save unless this step is saved; "policy" holds the averaged weights, which act."""
        if self._saved_at == self.learner.steps and not best:
            return
        self.seconds = time.monotonic() - self._started
        learner = self.learner.state_dict()
        averaged = learner["ema"].pop("model")
        state = {
            "spec": self.learner.policy.spec.to_dict(),
            "policy": averaged,
            "learner": learner,
            "training_windows": len(self.learner.windows),
            "best_error": self.best_error,
            "seconds": self.seconds,
        }
        self.run.save_checkpoint(state, self.learner.steps, best=best)
        self._saved_at = self.learner.steps

    def _restore(self, checkpoint: Mapping[str, Any]) -> None:
        if checkpoint["training_windows"] != len(self.learner.windows):
            raise UserError(
                f"resume={self.cfg.resume}: the run trains on {checkpoint['training_windows']} windows, "
                f"{self.cfg.data} now gives {len(self.learner.windows)}; start a new run"
            )
        learner = dict(checkpoint["learner"])
        learner["ema"] = {**learner["ema"], "model": checkpoint["policy"]}
        self.learner.load_state_dict(learner)
        self.best_error, self.seconds = checkpoint["best_error"], checkpoint["seconds"]

    def _summarise(self) -> None:
        """Write the training's cost and its last validation to the summary."""
        self.run.write_summary(
            {
                "bc_training": {
                    "steps": self.learner.steps,
                    "training_windows": len(self.learner.windows),
                    "seconds": time.monotonic() - self._started,
                    "best_action_error_normalised": self.best_error,
                    **self.validation,
                }
            }
        )


@torch.no_grad()
def action_error(policy: DiffusionPolicy, windows: Windows, num_windows: int, seed: int) -> dict[str, float]:
    """Return the mean absolute error of the actions that would be executed, at fixed steps and noise.

    Compares the first Ta rows of sampled chunks with the demonstration; rows past its end do not count.

    Args:
        policy: whose chunks are judged.
        windows: of held-out episodes.
        num_windows: most windows to use, evenly spread.
        seed: of the sampler's noise.

    Returns:
        "action_error_normalised" over all elements, and "action_error/<quantity>" in the quantity's
        unit for the elements whose names differ in their last word only (ee_pos_x, ee_pos_y, ...).
    """
    count = min(num_windows, len(windows))
    index = torch.linspace(0, len(windows) - 1, count, dtype=torch.float64).round().long()
    seeds = derive_seeds(seed, torch.arange(count)).to(windows.device)
    total = torch.zeros(2, policy.action_dim, device=windows.device)
    rows = torch.zeros((), device=windows.device)
    for part in torch.arange(count).split(256):
        batch = windows.batch(index[part])
        chunk = policy.act(batch.obs, EpisodeRng(seeds[part]))
        mask = batch.mask[:, : policy.execute, None]
        pair = (chunk[:, : policy.execute], batch.action[:, : policy.execute])
        normalised = [policy.normalizer(actions, "action") for actions in pair]
        for slot, (found, expected) in enumerate((pair, normalised)):
            total[slot] += ((found - expected).abs() * mask).sum(dim=(0, 1))
        rows += mask.sum()
    mean, mean_normalised = (total / rows).cpu()
    errors = {"action_error_normalised": float(mean_normalised.mean())}
    for quantity, elements in _quantities(policy.spec).items():
        errors[f"action_error/{quantity}"] = float(mean[elements].mean())
    return errors


def _quantities(spec: EnvSpec) -> dict[str, list[int]]:
    """Group the action's elements by their names without the last word: {"ee_pos": [0, 1, 2], ...}."""
    groups: dict[str, list[int]] = {}
    for element, name in enumerate(spec.action.names):
        groups.setdefault(name.rpartition("_")[0] or name, []).append(element)
    return groups


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads within the block; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
