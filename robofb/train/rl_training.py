"""The loop that all trainers by rollouts share: budget, selection, log, checkpoints, Ctrl-C."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from robofb import loading
from robofb.evaluate import evaluate
from robofb.interfaces import Agent, VecEnv
from robofb.optimisation import NonFiniteError
from robofb.progress import progress_bar
from robofb.ranks import ALONE, Ranks
from robofb.rng import EXPLORATION_STREAM, derive_seeds
from robofb.run import Run
from robofb.stats import SuccessRate
from robofb.store.checks import check_same_spec
from robofb.train.bank_env import bank_of
from robofb.train.interrupt import InterruptFlag
from robofb.train.nonfinite import save_cause
from robofb.train.open_run import keep_config, own_state
from robofb.train.rl_config import OnBaseConfig, RlConfig
from robofb.train.stopwatch import Stopwatch
from robofb.types import EnvSpec

LOG = logging.getLogger(__name__)


class RlLearner(Protocol):
    """What the loop trains, one iteration after the other."""

    policy: Any  # an nn.Module with a `spec`: the weights of a checkpoint
    clock: Stopwatch
    env_steps: int

    @property
    def iteration(self) -> int:
        """Iterations done."""
        ...

    def step(self) -> dict[str, float]:
        """Do one iteration and return its metrics; raises NonFiniteError."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policy's weights that the next iteration depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


def load_base(cfg: OnBaseConfig, kind: str, prefix: str = "base.") -> tuple[Any, dict[str, Any]]:
    """Return the base policy and its config node; of a run that is continued, from its own checkpoint.

    Args:
        kind: of the run that is trained.
        prefix: of the base's weights among those of its policy.
    """
    if cfg.resume and (run := Run.open(cfg.resume)).kind == kind and run.has_checkpoint:
        checkpoint = run.load_checkpoint("latest")
        base = loading.build_policy(checkpoint["base_policy"], checkpoint["spec"])
        inner = {name: value for name, value in checkpoint["policy"].items() if name.startswith(prefix)}
        base.load_state_dict({name.removeprefix(prefix): value for name, value in inner.items()})
        return base.eval().requires_grad_(False), checkpoint["base_policy"]
    checkpoint = loading.load_bc_checkpoint(Run.open(cfg.base), cfg.base_checkpoint)
    return loading.policy_of(checkpoint), checkpoint["config"]["policy"]


@contextmanager
def training_envs(
    cfg: RlConfig,
    spec: EnvSpec | None,
    policy: str = "",
    ranks: Ranks = ALONE,
    cameras: Mapping[str, tuple[int, int]] | None = None,
    visuals: Any = None,
) -> Iterator[tuple[VecEnv, VecEnv]]:
    """Open one env to train in, with this rank's share of the copies, and one to select in.

    Only the first rank selects; on the others the second is the first again, and nobody uses it.

    Args:
        spec: what the policy that training starts from sees and does; None where it starts from none.
        policy: names it in errors; the run `cfg.base` where empty.
        cameras: height and width [px] of the images that both observe, by the camera's name.
        visuals: config node of a `VisualRandomization` for the one to train in, or nothing.

    Raises:
        UserError: the task is not the policy's, or the reset bank is of another.
    """
    num_envs = ranks.share("num_envs", cfg.num_envs)
    seen: dict[str, Any] = {"cameras": cameras} if cameras else {}
    further = {**seen, **bank_of(cfg), **({"visuals": visuals} if visuals else {})}
    with closing(loading.make_env(cfg.task, cfg.engine, num_envs, **further)) as env:
        if spec is not None:
            check_same_spec(spec, env.spec.only(spec.obs), policy or f"base={getattr(cfg, 'base', None)}")
        if not ranks.leads:
            yield env, env
            return
        with closing(loading.make_env(cfg.task, cfg.engine, num_envs, **seen)) as select_env:
            yield env, select_env


def selection(cfg: RlConfig, agent: Agent, env: VecEnv) -> Callable[[], SuccessRate]:
    """Return what evaluates an agent on the episodes that choose `best`."""
    return lambda: evaluate(agent, env, cfg.select_episodes, cfg.select_seed, progress="select").rate


def learning_generators(seed: int, *devices: torch.device | str) -> list[torch.Generator]:
    """Return a generator for each device, with a stream of its own: for what learning draws."""
    stream = derive_seeds(seed, EXPLORATION_STREAM)
    return [
        torch.Generator(device).manual_seed(int(derive_seeds(stream, index)))
        for index, device in enumerate(devices)
    ]


@dataclass
class Progress:
    """What a training has come to beside its weights.

    Attributes:
        seconds: wall time worked, resumed stretches together.
        best: success at the best selection so far, None before the first.
        hits: selections in a row that reached the target.
        warned: the warning about saturation was given.
    """

    seconds: float = 0.0
    best: float | None = None
    hits: int = 0
    warned: bool = False


class RlTraining:
    """The loop around `RlLearner.step`: budget, selection, log, checkpoints, Ctrl-C.

    Args:
        cfg: budgets and intervals.
        run: where to log and save; continued from its latest checkpoint where `cfg.resume` is set.
        learner: what learns.
        select: evaluates the deterministic policy on the selection's episodes.
        rebuilding: kept in every checkpoint, to rebuild the policy from before its weights are loaded.
        ranks: who train together; the first of them selects, logs and saves.
    """

    advice = ""  # against weights that became NaN
    selects_first = True  # evaluates before the first iteration

    def __init__(
        self,
        cfg: RlConfig,
        run: Run,
        learner: RlLearner,
        select: Callable[[], SuccessRate],
        rebuilding: Mapping[str, Any],
        ranks: Ranks = ALONE,
    ) -> None:
        self.cfg, self.run, self.learner, self.select = cfg, run, learner, select
        self.rebuilding, self.ranks = dict(rebuilding), ranks
        self.progress = Progress()
        self._saved_at = -1
        if cfg.resume and run.has_checkpoint:
            self._restore(run.load_checkpoint("latest"))
        self._started = time.monotonic() - self.progress.seconds
        if cfg.resume and not self._why_finished():
            keep_config(run, cfg)

    def work(self) -> None:
        """Train until a budget is spent or the target is reached twice in a row."""
        cfg, learner = self.cfg, self.learner
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        what = f"train {self.run.kind}" if self.ranks.leads else None
        bar = progress_bar(cfg.env_steps, what, "step", learner.env_steps)
        try:
            with InterruptFlag(patient=self.ranks.size > 1) as interrupt, bar:
                if self.progress.best is None and self.selects_first:
                    self._keep(*self._choose())
                finished = self._why_finished()
                while not finished:
                    if self.ranks.any(interrupt.raised):
                        self._stop()
                    metrics = self._step()
                    finished = self._why_finished()
                    self._show(bar, metrics)
                    if learner.iteration % cfg.select_every == 0 or finished:
                        chosen, best = self._choose()
                        finished = finished or self._why_finished()
                        self._keep(metrics | chosen, best)
                    elif learner.iteration % cfg.save_every == 0:
                        self._keep(metrics)
                    else:
                        self.run.log(metrics, learner.env_steps)
        finally:
            torch.set_num_threads(num_threads)
        LOG.info("training ends: %s", finished)
        self._summarise(finished)
        if self.ranks.any(interrupt.raised):  # in the last iteration: what would come next must not start
            raise KeyboardInterrupt

    def _show(self, bar: Any, metrics: Mapping[str, float]) -> None:
        """Move the bar on; the episodes that ended in this iteration explore, and may be few."""
        bar.update(self.learner.env_steps - bar.n)
        if "train/success" in metrics:
            bar.set_postfix({"success while exploring": f"{metrics['train/success']:.2f}"}, refresh=False)

    def _step(self) -> dict[str, float]:
        """Do one iteration; save what caused it where a number is no longer finite."""
        try:
            return self.learner.step()
        except NonFiniteError as error:
            raise save_cause(self.run, error, self.learner.env_steps, "env steps", self.advice) from error

    def _keep(self, metrics: Mapping[str, float], best: bool = False) -> None:
        """Log, then save: killed between the two, a run does and logs again what it has not saved."""
        self.run.log(metrics, self.learner.env_steps)
        self._save(best)

    def _choose(self) -> tuple[dict[str, float], bool]:
        """Evaluate on the selection's episodes; return what came out, and whether none was better before."""
        start = time.monotonic()
        success = self.ranks.lead(self.select)
        progress, target = self.progress, self.cfg.target_success
        best = progress.best is None or success.rate >= progress.best
        progress.best = success.rate if best else progress.best
        progress.hits = progress.hits + 1 if target is not None and success.rate >= target else 0
        LOG.info(
            "%d env steps: %d of %d selection episodes succeed (%.1f %%)",
            self.learner.env_steps,
            success.successes,
            success.episodes,
            100 * success.rate,
        )
        metrics = {
            "select/success": success.rate,
            "select/low": success.low,
            "select/high": success.high,
            "seconds/selection": time.monotonic() - start,
        }
        return metrics, best

    def _why_finished(self) -> str:
        """Return why training ends here, nothing while it goes on."""
        cfg = self.cfg
        if self.learner.env_steps >= cfg.env_steps:
            return f"the budget env_steps={cfg.env_steps} is spent"
        if cfg.time_limit_s is not None and self.ranks.lead(self._seconds) >= cfg.time_limit_s:
            return f"the time limit time_limit_s={cfg.time_limit_s:g} is over"
        if self.progress.hits >= 2:
            return f"two selections in a row reached target_success={cfg.target_success}"
        return ""

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _stop(self) -> None:
        """Save after Ctrl-C, say how to go on, and leave."""
        if self._saved_at != self.learner.env_steps:
            self._save()
        LOG.info("saved; continue with: robofb train %s resume=%s", self.run.kind, self.run.path)
        raise KeyboardInterrupt

    def _save(self, best: bool = False) -> None:
        self.progress.seconds = self._seconds()
        policy = self.learner.policy
        learners = self.ranks.gather(self.learner.state_dict())
        state = {
            "spec": policy.spec.to_dict(),
            "policy": policy.state_dict(),
            **self.rebuilding,
            "learner": learners[0],
            "other_learners": learners[1:],
            "progress": vars(self.progress).copy(),
        }
        self.run.save_checkpoint(state, self.learner.env_steps, best=best)
        self._saved_at = self.learner.env_steps

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.learner.policy.load_state_dict(checkpoint["policy"])
        self.learner.load_state_dict(own_state(checkpoint, self.ranks, f"resume={self.cfg.resume}"))
        self.progress = Progress(**checkpoint["progress"])
        if checkpoint["config"]["target_success"] != self.cfg.target_success:
            self.progress.hits = 0

    def _summarise(self, ended: str) -> None:
        """Write why training ended and its cost; "other" is what is neither of the named parts."""
        parts = self.learner.clock.seconds
        total = sum(parts.values())
        self.run.write_summary(
            {
                f"{self.run.kind}_training": {
                    "ended": ended,
                    "env_steps": self.learner.env_steps,
                    "iterations": self.learner.iteration,
                    "seconds": self._seconds(),
                    "seconds_by_part": parts,
                    "share_by_part": {part: seconds / total for part, seconds in parts.items() if total > 0},
                    "best_selection_success": self.progress.best,
                }
            }
        )
