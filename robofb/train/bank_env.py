"""What a training's config says of reset banks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.files import sha256_of
from robofb.sim.reset_bank import BankDraw, ResetBank


def bank_of(cfg: Any) -> dict[str, Any]:
    """Return the argument `bank` for the env that a training learns in; nothing where there is no bank.

    Sets `cfg.bank_sha256` where it was null, so that the run tells which states it began in.

    Raises:
        UserError: the file is not the one that `cfg.bank_sha256` speaks of; see `ResetBank.open`, `BankDraw`.
    """
    path = getattr(cfg, "bank", None)  # only what trains on a base has the keys of `OnBaseConfig`
    if path is None:
        return {}
    bank = BankDraw(ResetBank.open(path), cfg.bank_share, dict(cfg.bank_kinds))
    digest = sha256_of(Path(path))
    if cfg.bank_sha256 not in (None, digest):
        raise UserError(
            f"bank={path} holds other states than before (SHA-256 {digest[:12]}, not "
            f"{cfg.bank_sha256[:12]}): say bank_sha256=null to go on with them"
        )
    cfg.bank_sha256 = digest
    return {"bank": bank}
