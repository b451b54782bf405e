"""Mirror a run to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robofb.errors import UserError

MODES = ("off", "offline", "online")


def check_mode(mode: Any) -> None:
    """Raise UserError unless W&B can be used so."""
    if mode not in MODES:
        raise UserError(f"wandb={mode}: choose one of {', '.join(MODES)}")


def start(path: Path, config: Mapping[str, Any], identity: str) -> Any:
    """Start mirroring a run and return the W&B run; the same identity continues the same one.

    Args:
        path: the run's folder, in which W&B keeps its files too.
        config: of the run; "wandb" says how.
        identity: of the run, from its meta.

    Raises:
        UserError: wandb is not installed, or does not start.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError("wandb is not installed: pip install wandb, or leave wandb=off") from error
    mode = config["wandb"]
    try:
        return wandb.init(
            project="robofb",
            name="/".join(path.resolve().parts[-2:]),
            id=identity,
            resume="allow" if mode == "online" else None,
            mode=mode,
            dir=str(path),
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )
    except (wandb.errors.Error, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"wandb={mode} did not start ({reason}): try wandb=offline or wandb=off") from error
