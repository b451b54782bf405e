"""Start or continue the run folder of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robofb.errors import UserError
from robofb.run import Run, new_run_path, plain


def open_run(cfg: Any, kind: str, task: str, fixed: Sequence[str]) -> Run:
    """Open the run `cfg.resume` to go on with it, or start one in `cfg.out` (a new folder where null).

    Args:
        cfg: config of a training verb.
        kind: what it trains, such as "bc".
        task: name of the task, for the folder.
        fixed: keys that a run with a checkpoint cannot change any more.

    Raises:
        UserError: `cfg.resume` is a run of another kind or with other values of `fixed`, or the folder
            cannot be used.
    """
    if cfg.resume:
        run = Run.open(cfg.resume)
        if run.kind != kind:
            raise UserError(f"resume={cfg.resume}: a {run.kind} run; train {kind} continues {kind} runs")
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
