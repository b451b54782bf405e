"""Start or continue the run folder of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robofb.errors import UserError
from robofb.ranks import ALONE, Ranks, num_started
from robofb.run import Run, new_run_path, plain


class Onlooker(Run):
    """A run as the other ranks see it: they read what the first one writes, and write nothing."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Write nothing."""

    def save_checkpoint(self, state: Mapping[str, Any], step: int, best: bool = False, keep: int = 3) -> Path:
        """Write nothing; return the folder."""
        return self.path

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Write nothing."""

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Write nothing."""


def open_run(cfg: Any, kind: str, task: str, fixed: Sequence[str], ranks: Ranks = ALONE) -> Run:
    """Open the run `cfg.resume` to go on with it, or start one in `cfg.out` (a new folder where null).

    Args:
        cfg: config of a training verb.
        kind: what it trains, such as "bc".
        task: name of the task, for the folder.
        fixed: keys that a run with a checkpoint cannot change any more.
        ranks: who train together; the first one opens the run, the others look on.

    Raises:
        UserError: `cfg.resume` is a run of another kind or with other values of `fixed`, the folder cannot be
            used, or torchrun started several processes for a training that does not share them.
    """
    if ranks.size == 1 and (started := num_started()) > 1:
        raise UserError(
            f"torchrun started {started} processes, and train {kind} runs in one: say robofb train {kind}"
        )
    opened: list[Run] = []

    def work() -> str:
        opened.append(_open(cfg, kind, task, fixed))
        return str(opened[0].path)

    path = ranks.lead(work)
    if opened:
        return opened[0]
    onlooker = Onlooker.open(path)
    onlooker.rank = ranks.rank
    return onlooker


def _open(cfg: Any, kind: str, task: str, fixed: Sequence[str]) -> Run:
    if cfg.resume:
        run = Run.open(cfg.resume)
        if run.kind != kind:
            raise UserError(f"resume={cfg.resume}: {run.sort}; train {kind} continues {kind} runs")
        check_continues(run, cfg, fixed)
        return run.resume(cfg.wandb)
    path = Path(cfg.out) if cfg.out else new_run_path(task, kind, cfg.seed)
    return Run.create(path, _plain(cfg), kind)


def check_continues(run: Run, cfg: Any, fixed: Sequence[str]) -> None:
    """Refuse a config with which a run cannot go on from its latest checkpoint, if it has one."""
    if run.has_checkpoint:
        check_unchanged(run.load_checkpoint("latest")["config"], cfg, fixed)


def check_unchanged(stored: Mapping[str, Any], cfg: Any, fixed: Sequence[str]) -> None:
    """Refuse other values of the keys `fixed` than the stored ones."""
    present = plain(_plain(cfg))
    for key in fixed:
        if key in stored and stored[key] != present[key]:
            name, was, now = _first_difference(key, stored[key], present[key])
            raise UserError(f"resume: {name} was {was} and cannot become {now}; start a new run")


def own_state(checkpoint: Mapping[str, Any], ranks: Ranks, name: str) -> Any:
    """Return what a checkpoint keeps of this rank's learner: "learner" of the first, then "other_learners".

    Raises:
        UserError: as many processes as now did not save it.
    """
    states = [checkpoint["learner"], *checkpoint.get("other_learners", [])]
    if len(states) != ranks.size:
        raise UserError(f"{name}: {len(states)} processes trained it, not {ranks.size}; start as many again")
    return states[ranks.rank]


def _first_difference(name: str, was: Any, now: Any) -> tuple[str, Any, Any]:
    """Return the dotted key of the first value in which two nodes differ, and the two values."""
    if isinstance(was, dict) and isinstance(now, dict):
        key = next(key for key in {**was, **now} if was.get(key) != now.get(key))
        return _first_difference(f"{name}.{key}", was.get(key), now.get(key))
    return name, was, now


def keep_config(run: Run, cfg: Any) -> None:
    """Write what a continued run goes on with into its folder, once nothing can be refused any more."""
    run.reconfigure({**_plain(cfg), "out": run.config.get("out"), "resume": None})


def _plain(cfg: Any) -> dict[str, Any]:
    container: Any = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)
    return dict(container)
