"""Keep what made a training break down."""

from __future__ import annotations

import io

import torch

from robofb.errors import UserError
from robofb.files import write_atomically
from robofb.optimisation import NonFiniteError
from robofb.run import Run


def save_cause(run: Run, error: NonFiniteError, steps: int, unit: str, advice: str) -> UserError:
    """Save the state that a NaN came from into the run's folder; return the error that says so.

    Args:
        run: whose folder.
        error: from the learner.
        steps: done so far.
        unit: of `steps`, such as "env steps".
        advice: what may help.
    """
    which = f"_rank{run.rank}" if run.rank else ""
    path = run.path / f"nonfinite_{steps:09d}{which}.pt"
    content = io.BytesIO()
    torch.save(error.state, content)
    write_atomically(path, content.getvalue())
    return UserError(f"training stopped after {steps} {unit}: {error}; what caused it is in {path}; {advice}")
