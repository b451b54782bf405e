"""The environment of a training that may start episodes in a reset bank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from robofb import loading
from robofb.interfaces import TaskEnv
from robofb.sim.reset_bank import BankDraw, ResetBank


class BankConfig(Protocol):
    """The keys of a training's config that are read here."""

    task: Any
    engine: Any
    num_envs: int
    bank: str | None
    bank_share: float

    @property
    def bank_kinds(self) -> Mapping[str, float]:
        """Weight of each kind."""
        ...


def make_training_env(cfg: BankConfig) -> TaskEnv:
    """Build the env that a training learns in; what evaluates must not use it.

    Raises:
        UserError: see `loading.make_env` and `ResetBank.open`; the bank is of another task or scene.
    """
    if cfg.bank is None:
        return loading.make_env(cfg.task, cfg.engine, cfg.num_envs)
    bank = BankDraw(ResetBank.open(cfg.bank), cfg.bank_share, dict(cfg.bank_kinds))
    return loading.make_env(cfg.task, cfg.engine, cfg.num_envs, bank=bank)
