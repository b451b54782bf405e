"""Start or continue the run folder of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robofb.errors import UserError
from robofb.run import Run, new_run_path


def open_run(cfg: Any, kind: str, task: str) -> Run:
    """Open the run `cfg.resume` to go on with it, or start one in `cfg.out` (a new folder where null).

    Args:
        cfg: config of a training verb.
        kind: what it trains, such as "bc".
        task: name of the task, for the folder.

    Raises:
        UserError: `cfg.resume` is a run of another kind, or the folder cannot be used.
    """
    if cfg.resume:
        run = Run.open(cfg.resume)
        if run.kind != kind:
            raise UserError(f"resume={cfg.resume}: a {run.kind} run; train {kind} continues {kind} runs")
        return run.resume()
    path = Path(cfg.out) if cfg.out else new_run_path(task, kind, cfg.seed)
    return Run.create(path, _plain(cfg), kind)


def keep_config(run: Run, cfg: Any) -> None:
    """Write what a continued run goes on with into its folder, once nothing can be refused any more."""
    run.reconfigure({**_plain(cfg), "out": run.config.get("out"), "resume": None})


def _plain(cfg: Any) -> dict[str, Any]:
    container: Any = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)
    return dict(container)
