"""Learn from logs of single-task agents how to find out what task one is in (BOReL; arXiv 2008.02598)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from robofb.errors import UserError
from robofb.evaluate_trials import TrialEvaluation
from robofb.families import build_family
from robofb.meta_interfaces import MetaTask
from robofb.optimisation import NonFiniteError, finite_means, learning_rate_factor
from robofb.policies.hyper import HyperPolicy
from robofb.progress import progress_bar
from robofb.rl.borel.candidates import Candidates
from robofb.rl.borel.hyper_states import HyperTransitions, hyper_transitions
from robofb.rl.borel.released import check_defects, defects_of, histories_of
from robofb.rl.histories import Histories, load_histories
from robofb.rl.single_task import SingleTaskLearner
from robofb.rng import MIXTURES_STREAM, PROBES_STREAM, WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.store.agent_logs import AgentLogs
from robofb.train.borel_config import FIXED, BorelConfig
from robofb.train.borel_parts import (
    check_mixtures,
    make_belief_learner,
    make_policy,
    make_policy_learner,
    mixtures_of,
    selection,
    taken_belief,
    trials_of,
)
from robofb.train.interrupt import InterruptFlag
from robofb.train.nonfinite import save_cause
from robofb.train.open_run import keep_config, open_run
from robofb.train.rl_training import learning_generators

LOG = logging.getLogger(__name__)
NUM_PROBES = 64  # of each task, by which pictures tell how likely it is held
_DRAWN_AT_ONCE = 256  # mixed trials whose hyper-states are computed together


def train(cfg: BorelConfig) -> Run:
    """Learn a belief and a policy from the logs `cfg.logs`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: logs that do not fit the task, an unusable folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    family = build_family(cfg.task)
    with AgentLogs(cfg.logs) as logs:
        logs.check_fits(family.spec)
        check_mixtures(cfg, family)
        check_defects(cfg.compat, family)
        taken = taken_belief(cfg, family)
        histories = histories_of(load_histories(logs), family, defects_of(cfg.compat))
        count = logs.episodes_per_trial
    with open_run(cfg, "borel", family.spec.task, FIXED) as run, selection(cfg, family, count) as select:
        training = BorelTraining(cfg, run, family, histories, count, select, taken)
        training.work()
    return run


class BorelTraining:
    """The stages one after the other; each goes on where it was saved.

    Args:
        cfg: sizes, budgets and intervals.
        run: where to log and save; continued from its latest checkpoint where `cfg.resume` is set.
        family: a `MetaTask`.
        histories: the logs.
        count: episodes in a trial.
        select: judges a policy.
        taken: weights of encoder and decoders to begin with, in place of new ones.
    """

    def __init__(
        self,
        cfg: BorelConfig,
        run: Run,
        family: MetaTask,
        histories: Histories,
        count: int,
        select: Callable[[HyperPolicy], TrialEvaluation],
        taken: Mapping[str, Any] | None,
    ) -> None:
        self.cfg, self.run, self.family, self.histories, self.count = cfg, run, family, histories, count
        self.select = select
        self.generator, weights = learning_generators(cfg.seed, "cpu", "cpu")
        weights.manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM)))
        self.policy, self.node = make_policy(cfg, family, weights)
        self.belief_updates = self.policy_updates = 0
        self.best: float | None = None
        self.seconds = {"belief": 0.0, "hyper_states": 0.0, "policy": 0.0}
        self._saved_at = -1
        self.defects = defects_of(cfg.compat)
        self.trials = trials_of(cfg, family, histories, count, self.generator)
        self.belief = make_belief_learner(cfg, self.policy, family, histories, self.generator)
        probed = _generator(cfg.seed, PROBES_STREAM)
        self.candidates = Candidates.of(histories, family, NUM_PROBES, probed)
        self.learner: SingleTaskLearner | None = None
        self._learner_state: Mapping[str, Any] | None = None
        if taken is not None:
            self.belief.modules.load_state_dict(taken)
        if cfg.resume and run.has_checkpoint:
            self._restore(run.load_checkpoint("latest"))
            if self._steps < self._budget:
                keep_config(run, cfg)

    @property
    def _steps(self) -> int:
        return self.belief_updates + self.policy_updates

    @property
    def _budget(self) -> int:
        return self._belief_budget + self.cfg.updates

    @property
    def _belief_budget(self) -> int:
        return 0 if self.cfg.belief is not None else self.cfg.belief_updates

    def work(self) -> None:
        """Go through all stages."""
        num_threads = torch.get_num_threads()
        torch.set_num_threads(self.cfg.threads)
        try:
            with InterruptFlag() as interrupt:
                self._learn_belief(interrupt)
                started = time.monotonic()
                transitions = self._relabel()
                self.seconds["hyper_states"] += time.monotonic() - started
                self._learn_policy(transitions, interrupt)
                self._save()  # where there was nothing to learn: what the run began with
        finally:
            torch.set_num_threads(num_threads)
        self.run.write_summary(
            {
                "borel_training": {
                    "belief_updates": self.belief_updates,
                    "policy_updates": self.policy_updates,
                    "transitions": len(transitions),
                    "seconds_by_stage": self.seconds,
                    "best_selection_return": self.best,
                }
            }
        )

    def _learn_belief(self, interrupt: InterruptFlag) -> None:
        cfg = self.cfg

        def update() -> dict[str, torch.Tensor]:
            self.belief.set_rate(self._rate(cfg.belief_lr, self.belief_updates, self._belief_budget))
            self.belief_updates += 1
            return self.belief.update(*self.trials())

        self._stage("belief", self._belief_budget, lambda: self.belief_updates, update, interrupt)

    @torch.no_grad()
    def _relabel(self) -> HyperTransitions:
        """Return the logs' transitions between hyper-states, and those of mixed trials, drawn for now."""
        made, encoder = [], self.policy.encoder
        if self.cfg.own_trials:
            folder = self.run.path / "hyper_states"
            made.append(hyper_transitions(self.histories, self.count, encoder, folder, self.defects))
        if self.cfg.fresh_trials:
            drawings = self.policy_updates // self.cfg.redraw_every if self.cfg.redraw_every else 0
            drawn = _generator(int(derive_seeds(self.cfg.seed, MIXTURES_STREAM)), drawings)
            draw = mixtures_of(self.cfg, self.family, self.histories, self.count, drawn)
            task = torch.arange(len(draw.tasks)).repeat_interleave(self.cfg.fresh_trials)
            made += [
                HyperTransitions.of(draw.of(rows), encoder, self.defects)
                for rows in task.split(_DRAWN_AT_ONCE)
            ]
        joined = HyperTransitions.joined(made)
        if self.policy_updates == 0:
            self.policy.watch(joined.columns["belief"])
        return joined

    def _learn_policy(self, transitions: HyperTransitions, interrupt: InterruptFlag) -> None:
        cfg = self.cfg
        self.policy.encoder.requires_grad_(False)
        drawn_so_far = self.generator.get_state()
        self.learner = learner = make_policy_learner(cfg, self.policy, self.generator)
        if self._learner_state is not None:
            learner.load_state_dict(self._learner_state)
            self.generator.set_state(drawn_so_far)  # what the new critics took
            self._learner_state = None

        def update() -> dict[str, torch.Tensor]:
            nonlocal transitions
            learner.set_rate(self._rate(cfg.lr, self.policy_updates, cfg.updates))
            if cfg.redraw_every and self.policy_updates and self.policy_updates % cfg.redraw_every == 0:
                transitions = self._relabel()
            self.policy_updates += 1
            batch = transitions.sample(cfg.batch_size, self.policy, cfg.gamma, self.generator)
            return learner.update(batch)

        self._stage("policy", cfg.updates, lambda: self.policy_updates, update, interrupt)

    def _rate(self, lr: float, done: int, budget: int) -> float:
        """Return the learning rate of a stage's next update."""
        return lr * learning_rate_factor(done, warmup=0, total=budget) if self.cfg.anneal else lr

    def _stage(
        self,
        name: str,
        budget: int,
        done: Callable[[], int],
        update: Callable[[], Mapping[str, torch.Tensor]],
        interrupt: InterruptFlag,
    ) -> None:
        """Do a stage's updates; log, select and save."""
        cfg, history = self.cfg, []
        started, before = time.monotonic(), self.seconds[name]
        with progress_bar(budget, f"train {name}", "update", done()) as bar:
            while done() < budget:
                history.append(update())
                self.seconds[name] = before + time.monotonic() - started
                finished, count = done() == budget, done()
                bar.update(1)
                if count % cfg.log_every == 0 or finished:
                    self.run.log({f"{name}/{key}": v for key, v in self._means(history).items()}, self._steps)
                    history = []
                best = False
                if name == "policy" and (count % cfg.select_every == 0 or finished):
                    best = self._choose()
                if best or finished or count % cfg.save_every == 0:
                    self._save(best)
                if interrupt.raised:
                    self._save()
                    LOG.info("saved; continue with: robofb train borel resume=%s", self.run.path)
                    raise KeyboardInterrupt

    def _means(self, history: list[Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """Return the means of metrics; save what caused it where one is no longer finite."""
        try:
            return finite_means(history, lambda: {"policy": self.policy.state_dict()})
        except NonFiniteError as error:
            advice = "a lower lr or belief_lr may help"
            raise save_cause(self.run, error, self._steps, "updates", advice) from error

    def _choose(self) -> bool:
        """Judge the policy in held-out tasks; return whether it was never better."""
        result = self.select(self.policy)
        returns = [float(value) for value in result.returns.mean(0)]
        LOG.info(
            "%d updates: return by episode %s, together %.2f, in %d tasks",
            self.policy_updates,
            " ".join(f"{value:.2f}" for value in returns),
            result.total,
            len(result.returns),
        )
        rows = {f"select/return_{index + 1}": value for index, value in enumerate(returns)}
        self.run.log({**rows, "select/return": result.total}, self._steps)
        best = self.best is None or result.total >= self.best
        self.best = result.total if best else self.best
        return best

    def _save(self, best: bool = False) -> None:
        if self._saved_at == self._steps and not best:
            return
        state = {
            "spec": self.policy.spec.to_dict(),
            "policy": self.policy.state_dict(),
            "policy_node": self.node,
            "belief": self.belief.state_dict(),
            "learner": None if self.learner is None else self.learner.state_dict(),
            "generator": self.generator.get_state(),
            "progress": {
                "belief_updates": self.belief_updates,
                "policy_updates": self.policy_updates,
                "best": self.best,
                "seconds": dict(self.seconds),
            },
            "episodes_per_trial": self.count,
            "candidates": self.candidates.state_dict(),
            "logs": self.histories.fingerprint,
        }
        self.run.save_checkpoint(state, self._steps, best=best)
        self._saved_at = self._steps

    def _restore(self, checkpoint: Mapping[str, Any]) -> None:
        if checkpoint["logs"] != self.histories.fingerprint:
            raise UserError(
                f"resume={self.cfg.resume}: {self.cfg.logs} does not hold the logs that the run began with;"
                " start a new run"
            )
        self.policy.load_state_dict(checkpoint["policy"])
        self.belief.load_state_dict(checkpoint["belief"])
        self._learner_state = checkpoint["learner"]
        self.generator.set_state(checkpoint["generator"])
        progress = checkpoint["progress"]
        self.belief_updates, self.policy_updates = progress["belief_updates"], progress["policy_updates"]
        self.best, self.seconds = progress["best"], dict(progress["seconds"])
        self._saved_at = self._steps


def _generator(seed: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(derive_seeds(seed, stream)) % 2**63)
