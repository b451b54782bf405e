"""Train a chunk policy on demonstrations by behaviour cloning."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from robofb.augment.image_augment import ImageAugmentTransform
from robofb.augment.state_noise import StateNoiseTransform
from robofb.build import build
from robofb.compiler import check_compiler
from robofb.errors import UserError
from robofb.optimisation import NonFiniteError
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.progress import progress_bar
from robofb.ranks import ALONE, Ranks, join_ranks
from robofb.run import Run
from robofb.store.windows import Windows
from robofb.train.action_error import action_error
from robofb.train.bc_config import FIXED, BcConfig, data_folders, make_image_augment, make_noise
from robofb.train.bc_data import drawn_by_name, make_windows, open_stores
from robofb.train.bc_learner import Augment, BcLearner
from robofb.train.device import choose_device, choose_precision, cpu_threads
from robofb.train.interrupt import InterruptFlag
from robofb.train.nonfinite import save_cause
from robofb.train.open_run import keep_config, open_run, own_state
from robofb.types import EnvSpec

LOG = logging.getLogger(__name__)


def train(cfg: BcConfig) -> Run:
    """Train a policy on the datasets `cfg.data`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: an unusable dataset, device or folder, or a loss that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    with join_ranks() as ranks, cpu_threads(cfg.threads):
        return _train(cfg, ranks)


def _train(cfg: BcConfig, ranks: Ranks) -> Run:
    device = choose_device(cfg.device)
    if cfg.compile:
        check_compiler(device)
    task = None if cfg.task is None else build(cfg.task)
    task_spec = None if task is None else task.spec
    with ExitStack() as stack:
        stores = open_stores(data_folders(cfg.data), task_spec, stack)
        policy = make_policy(cfg.policy, stores[0].spec, cfg.seed)
        if cfg.vision_weights and not continues(cfg):  # later they are in the checkpoint
            policy.image_encoder.load_pretrained(cfg.vision_weights)
        windows, held_out = ranks.lead_first(lambda: make_windows(cfg, stores, policy, device))
    policy.set_stats(windows.stats())
    learner = make_learner(cfg, policy.to(device), windows, make_augment(cfg, policy, task), ranks)
    with open_run(cfg, "bc", windows.spec.task, FIXED, ranks) as run:
        BcTraining(cfg, run, learner, held_out).work()
    return run


def make_policy(node: Any, spec: EnvSpec, seed: int = 0) -> ChunkPolicy:
    """Build a policy from its config node (a partial `_target_`); `seed` gives its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy: ChunkPolicy = build(node, spec)
        return policy


def continues(cfg: BcConfig) -> bool:
    """Return whether the weights come from the checkpoint of a run that is resumed."""
    return Run.open(cfg.resume).has_checkpoint if cfg.resume else False


def make_augment(cfg: BcConfig, policy: ChunkPolicy, task: Any) -> list[Augment]:
    """Return what changes each training batch, one after the other.

    Args:
        task: computes functions of poses anew by its method `complete`; None where it is not known.

    Raises:
        UserError: settings that do not fit the policy.
    """
    augment: list[Augment] = []
    if cfg.state_noise:
        complete = getattr(task, "complete", None)
        augment.append(StateNoiseTransform(policy.spec, make_noise(cfg.state_noise), complete))
    encoder = policy.image_encoder
    if encoder.keys:
        settings = make_image_augment(cfg.image_augment)
        if "crop" in cfg.image_augment and not encoder.crops:
            raise UserError(
                f"image_augment.crop={settings.crop:g}: the policy sees whole images; "
                "say its windows in policy.image_encoder.crop"
            )
        augment.append(ImageAugmentTransform(settings, encoder.keys, encoder.crops))
    return augment


def make_learner(
    cfg: BcConfig,
    policy: ChunkPolicy,
    windows: Windows,
    augment: Sequence[Augment] = (),
    ranks: Ranks = ALONE,
) -> BcLearner:
    """Put the optimiser's side around a policy."""
    learner = BcLearner(
        policy,
        windows,
        batch_size=ranks.share("batch_size", cfg.batch_size),
        lr=cfg.lr,
        weight_decay=cfg.weight_decay,
        warmup_steps=cfg.warmup_steps,
        total_steps=cfg.steps,
        ema_decay=cfg.ema_decay,
        grad_clip=cfg.grad_clip,
        seed=cfg.seed,
        precision=choose_precision(cfg.precision, windows.device),
        augment=augment,
        ranks=ranks,
    )
    if cfg.compile:
        policy.network.compile()
    return learner


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
        self.ranks = learner.ranks
        self.best_error: float | None = None
        self.seconds = 0.0
        self.validation: dict[str, float] = {}
        self._saved_at = -1
        if cfg.resume:
            if run.has_checkpoint:
                self._restore(run.load_checkpoint("latest"))
            if learner.steps < cfg.steps:
                keep_config(run, cfg)
        self._started = time.monotonic() - self.seconds

    def work(self) -> None:
        """Train until the budget of steps is spent."""
        cfg, learner, losses = self.cfg, self.learner, []
        what = "behaviour cloning" if self.ranks.leads else None
        bar = progress_bar(cfg.steps, what, "step", learner.steps)
        with InterruptFlag(patient=self.ranks.size > 1) as interrupt, bar:
            while learner.steps < cfg.steps:
                metrics = self._step()
                losses.append(metrics["loss"])
                bar.update()
                if self._due(cfg.log_every):
                    metrics["loss"] = torch.stack(losses).mean()
                    losses.clear()
                    bar.set_postfix(loss=f"{float(metrics['loss']):.4f}", refresh=False)
                    named = {f"train/{name}": float(value) for name, value in metrics.items()}
                    named["train/lr"] = learner.present_lr
                    self.run.log({**named, **self._drawn()}, learner.steps)
                if self._due(cfg.validate_every):
                    self._validate()
                if self._due(cfg.checkpoint_every):
                    self._save()
                if self.ranks.any(interrupt.raised) and learner.steps < cfg.steps:
                    self._stop()
        self._summarise()
        if self.ranks.any(interrupt.raised):  # in the last step: what would come next must not start
            raise KeyboardInterrupt

    def _drawn(self) -> dict[str, int]:
        """Return the windows drawn so far, by dataset and by source, as metrics."""
        counts = drawn_by_name(self.cfg, self.learner.windows)
        return {f"drawn_{by}/{name}": count for by, part in counts.items() for name, count in part.items()}

    def _due(self, every: int) -> bool:
        return self.learner.steps % every == 0 or self.learner.steps == self.cfg.steps

    def _step(self) -> dict[str, Tensor]:
        """Do one step; save what caused it where a number is no longer finite."""
        try:
            return self.learner.step()
        except NonFiniteError as error:
            raise save_cause(self.run, error, self.learner.steps, "steps", "a lower lr may help") from error

    def _validate(self) -> None:
        """Measure the averaged policy on held-out episodes; keep the best, by the normalised error."""
        if self.held_out is None:
            if self.learner.steps == self.cfg.steps:
                self._save(best=True)
            return
        model, held_out, cfg = self.learner.ema.model, self.held_out, self.cfg
        self.validation = self.ranks.lead(
            lambda: action_error(model, held_out, cfg.validation_windows, cfg.seed)
        )
        self.run.log(
            {f"validation/{name}": value for name, value in self.validation.items()}, self.learner.steps
        )
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
        others = self.ranks.gather(self.learner.own_state())[1:]
        learner = self.learner.state_dict()
        averaged = learner["ema"].pop("model")
        state = {
            "spec": self.learner.policy.spec.to_dict(),
            "policy": averaged,
            "learner": learner,
            "other_learners": others,
            "training_windows": len(self.learner.windows),
            "training_data": self.learner.windows.fingerprint,
            "best_error": self.best_error,
            "seconds": self.seconds,
        }
        self.run.save_checkpoint(state, self.learner.steps, best=best)
        self._saved_at = self.learner.steps

    def _restore(self, checkpoint: Mapping[str, Any]) -> None:
        self._check_same_data(checkpoint)
        own = own_state(checkpoint, self.ranks, f"resume={self.cfg.resume}")
        learner = {**checkpoint["learner"], **own}
        learner["ema"] = {**learner["ema"], "model": checkpoint["policy"]}
        try:
            self.learner.load_state_dict(learner)
        except UserError as error:
            raise UserError(f"resume={self.cfg.resume}: {error}") from None
        self.best_error, self.seconds = checkpoint["best_error"], checkpoint["seconds"]

    def _check_same_data(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse to go on with other steps than the run began with, or the same in another order."""
        windows, data = self.learner.windows, self.cfg.data
        if checkpoint["training_windows"] != len(windows):
            raise UserError(
                f"resume={self.cfg.resume}: the run trains on {checkpoint['training_windows']} windows, "
                f"{data} now gives {len(windows)}; start a new run"
            )
        changed = f"resume={self.cfg.resume}: {data} does not hold the data that the run began with"
        now = self.learner.policy.state_dict()
        for name, kept in checkpoint["policy"].items():
            if name.startswith("normalizer.") and not torch.equal(kept, now[name].cpu()):
                raise UserError(f"{changed} ({name} differs); start a new run")
        fingerprint = windows.fingerprint
        if checkpoint.get("training_data", fingerprint) != fingerprint:
            raise UserError(f"{changed} (actions, sources or their order differ); start a new run")

    def _summarise(self) -> None:
        """Write the training's cost and its last validation to the summary."""
        self.run.write_summary(
            {
                "bc_training": {
                    "steps": self.learner.steps,
                    "training_windows": len(self.learner.windows),
                    "drawn": drawn_by_name(self.cfg, self.learner.windows),
                    "seconds": time.monotonic() - self._started,
                    "best_action_error_normalised": self.best_error,
                    **self.validation,
                }
            }
        )
