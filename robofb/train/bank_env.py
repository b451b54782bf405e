"""What a training's config says of reset banks."""

from __future__ import annotations

from typing import Any

from robofb.sim.reset_bank import BankDraw, ResetBank


def bank_of(cfg: Any) -> dict[str, Any]:
    """Return the argument `bank` for the env that a training learns in; nothing where there is no bank.

    Raises:
        UserError: see `ResetBank.open` and `BankDraw`.
    """
    path = getattr(cfg, "bank", None)  # only what trains on a base has the keys of `OnBaseConfig`
    if path is None:
        return {}
    return {"bank": BankDraw(ResetBank.open(path), cfg.bank_share, dict(cfg.bank_kinds))}
