"""Make objects from config nodes, with errors a user can read."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from robofb.errors import UserError


def build(node: Any) -> Any:
    """Make what a node's `_target_` names (a function that makes it, where the node is partial).

    Raises:
        UserError: the target's own, or one line where it does not take what the node gives.
    """
    try:
        return instantiate(node)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = str(cause or error).splitlines()[0]
        raise UserError(f"cannot make {node.get('_target_', node)}: {reason}") from error
