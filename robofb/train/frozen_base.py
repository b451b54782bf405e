"""What the trainers share that put something of their own around a frozen base policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robofb.policies.executor import ChunkExecutor
from robofb.run import Run
from robofb.train.bank_env import with_bank_pinned
from robofb.train.off_policy_config import OffPolicyConfig
from robofb.train.off_policy_learner import OffPolicyLearner
from robofb.train.open_run import open_run
from robofb.train.rl_training import RlTraining, load_base, selection, training_envs

MakePolicy = Callable[[Any, Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
"""Config, base policy and its node to the policy that is trained and the node that builds it from a spec."""


def train_around_base(
    cfg: OffPolicyConfig,
    kind: str,
    fixed: Sequence[str],
    make_policy: MakePolicy,
    make_learner: Callable[[Any, Any, Any], OffPolicyLearner],
    training: type[RlTraining],
) -> Run:
    """Train around the frozen policy of the run `cfg.base`, or continue the run `cfg.resume`; return the run.

    Args:
        cfg: what the verb reads.
        kind: of the run.
        fixed: keys that a run with a checkpoint cannot change any more.
        make_policy: see `MakePolicy`.
        make_learner: takes the config, that policy and the env to train in.
        training: its loop.

    Raises:
        UserError: a wrong base, an unusable folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    cfg = with_bank_pinned(cfg)
    base, base_node = load_base(cfg, kind)
    with training_envs(cfg, base.spec) as (env, select_env):
        policy, node = make_policy(cfg, base, base_node)
        policy.to(env.device)
        agent = ChunkExecutor(policy, select_env.num_envs, device=select_env.device)
        with open_run(cfg, kind, env.spec.task, fixed) as run:
            learner = make_learner(cfg, policy, env)
            rebuilding = {"policy_node": node, "base_policy": base_node}
            training(cfg, run, learner, selection(cfg, agent, select_env), rebuilding).work()
    return run
