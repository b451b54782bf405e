"""What a training's config says of reset banks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, TypeVar

from robofb.errors import UserError
from robofb.files import file_errors, sha256_of
from robofb.sim.reset_bank import BankDraw, ResetBank
from robofb.train.rl_config import OnBaseConfig

ConfigT = TypeVar("ConfigT", bound=OnBaseConfig)


def with_bank_pinned(cfg: ConfigT) -> ConfigT:
    """Return a config that tells its bank's SHA-256 as well, so that the run says which states it began in.

    Raises:
        UserError: the file cannot be read, or is not the one that `cfg.bank_sha256` speaks of.
    """
    if cfg.bank is None:
        return cfg
    with file_errors(f"{cfg.bank}: the bank cannot be read"):
        digest = sha256_of(Path(cfg.bank))
    if cfg.bank_sha256 not in (None, digest):
        raise UserError(
            f"bank={cfg.bank} holds other states than before (SHA-256 {digest[:12]}, not "
            f"{str(cfg.bank_sha256)[:12]}): say bank_sha256=null to go on with them"
        )
    pinned = copy.copy(cfg)
    pinned.bank_sha256 = digest
    return pinned


def bank_of(cfg: Any) -> dict[str, Any]:
    """Return the argument `bank` for the env that a training learns in; nothing where there is no bank.

    Raises:
        UserError: see `ResetBank.open` and `BankDraw`.
    """
    path = getattr(cfg, "bank", None)  # only what trains on a base has the keys of `OnBaseConfig`
    if path is None:
        return {}
    return {"bank": BankDraw(ResetBank.open(path), cfg.bank_share, dict(cfg.bank_kinds))}
