"""What `robofb train borel` is put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import torch

from robofb import loading
from robofb.errors import UserError
from robofb.evaluate_trials import TrialEvaluation, evaluate_trials
from robofb.families import draw_tasks
from robofb.meta_interfaces import FiniteFamily, MetaTask
from robofb.policies.hyper import HyperPolicy
from robofb.policies.trial_agents import BeliefAgent
from robofb.rl.borel.belief_learner import BeliefLearner
from robofb.rl.borel.decoders import make_decoders
from robofb.rl.borel.mixtures import Mixing, MixtureDraw
from robofb.rl.borel.relabel import TrialDraw
from robofb.rl.borel.released import defects_of
from robofb.rl.histories import Histories, Trials
from robofb.rl.implicit import ImplicitLearner
from robofb.rl.single_task import ChoiceLearner, ContinuousLearner, SingleTaskLearner
from robofb.rng import DRAWN_TASKS_STREAM, WEIGHTS_STREAM, derive_seeds
from robofb.run import Run, plain
from robofb.train.borel_config import BorelConfig, mixes_all

_ENCODER = ("latent", "memory", "reader", "waves", "state_embedding", "action_embedding", "reward_embedding")
_OF_BELIEF = (*_ENCODER, "decoder_hidden", "state_weight", "sees_move")


@contextmanager
def selection(
    cfg: BorelConfig, family: MetaTask, count: int
) -> Iterator[Callable[[HyperPolicy], TrialEvaluation]]:
    """Open what judges a policy in held-out tasks."""
    params = draw_tasks(family, cfg.select_tasks or default_tasks(family), cfg.select_seed, held_out=True)
    with closing(loading.make_tasks_env(cfg.task, cfg.engine, params)) as env:

        def select(policy: HyperPolicy) -> TrialEvaluation:
            agent = BeliefAgent(policy, env.num_envs)
            return evaluate_trials(agent, env, params, count, cfg.select_seed, progress="select")

        yield select


def default_tasks(family: MetaTask) -> int | None:
    """Return how many tasks one is judged in where nobody says: all of a finite family, else 64."""
    return None if isinstance(family, FiniteFamily) else 64


def check_mixtures(cfg: BorelConfig, family: MetaTask) -> None:
    """Refuse mixtures of a family whose tasks move differently, and tasks that a finite one does not have.

    What mixtures of tasks that move differently would show happens in none of them.

    Raises:
        UserError: names the keys.
    """
    if cfg.drawn_tasks and isinstance(family, FiniteFamily):
        raise UserError(f"drawn_tasks={cfg.drawn_tasks}: {family.spec.task} has no others than can be listed")
    if family.moves_alike or not (cfg.mixed or cfg.fresh_trials):
        return
    raise UserError(
        f"mixed={cfg.mixed:g} fresh_trials={cfg.fresh_trials}: tasks of {family.spec.task} move differently, "
        "and no reward tells what would have happened there; say mixed=0 fresh_trials=0, and log visitors"
    )


def mixtures_of(
    cfg: BorelConfig, family: MetaTask, histories: Histories, count: int, generator: torch.Generator
) -> MixtureDraw:
    """Return what draws mixtures: of the agents' own tasks, and of `drawn_tasks` others.

    Args:
        cfg: how they are made.
        family: of the tasks.
        histories: the logs.
        count: K, episodes in a trial.
        generator: draws them.
    """
    tasks = histories.params
    if cfg.drawn_tasks:
        seed = int(derive_seeds(cfg.seed, DRAWN_TASKS_STREAM)) % 2**31
        tasks = torch.cat([tasks, draw_tasks(family, cfg.drawn_tasks, seed)])
    mixing = Mixing(cfg.mixture_episodes or count, cfg.piece, cfg.early, cfg.common_trials)
    return MixtureDraw(histories, family, tasks, mixing, generator, defects_of(cfg.compat))


def trials_of(
    cfg: BorelConfig, family: MetaTask, histories: Histories, count: int, generator: torch.Generator
) -> Callable[[], tuple[Trials, Trials | None]]:
    """Return what draws trials for an update of the belief, and what decoders are asked about beside them."""
    if mixes_all(cfg):
        mixtures = mixtures_of(cfg, family, histories, count, generator)

        def mixed() -> tuple[Trials, Trials | None]:
            trials = mixtures(cfg.belief_tasks, cfg.belief_trials)
            return trials, mixtures.steps(trials.task, cfg.asked_steps) if cfg.asked_steps else None

        return mixed
    draw = TrialDraw(
        histories,
        family,
        count,
        mixed=cfg.mixed,
        whole=cfg.whole,
        generator=generator,
        defects=defects_of(cfg.compat),
    )
    return lambda: (draw(cfg.belief_tasks, cfg.belief_trials), None)


def make_policy(
    cfg: BorelConfig, family: MetaTask, generator: torch.Generator
) -> tuple[HyperPolicy, dict[str, Any]]:
    """Build a policy with new weights; return it and the config node that builds it from a spec."""
    encoder = {name: getattr(cfg, name) for name in _ENCODER}
    hidden = [int(size) for size in cfg.hidden]
    target = f"{HyperPolicy.__module__}.{HyperPolicy.__qualname__}"
    temperature = float(cfg.choice_temperature) if cfg.algorithm == "q_learning" else 0.0
    sizes: dict[str, Any] = {"hidden": hidden, "temperature": temperature}
    node = {"_target_": target, "_partial_": True, "encoder": encoder, **sizes}
    return HyperPolicy(family.spec, encoder, **sizes, generator=generator), node


def make_belief_learner(
    cfg: BorelConfig, policy: HyperPolicy, family: MetaTask, histories: Histories, generator: torch.Generator
) -> BeliefLearner:
    """Return what learns a policy's belief, with decoders for what this family's tasks differ in."""
    encoder = policy.encoder
    there = torch.arange(histories.horizon) < histories.length[..., None]  # (N, E, H)
    encoder.watch(histories.obs[:, :, :-1][there])
    hidden = [int(size) for size in cfg.decoder_hidden]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM)))
        said = make_decoders(
            family, encoder, hidden=hidden, sees_move=cfg.sees_move, state_weight=cfg.state_weight
        )
    decoders = {one.name: one.decoder for one in said}
    decoders["reward"].watch(histories.reward[there])
    if "state" in decoders:
        changes = encoder.states(histories.obs[:, :, 1:]) - encoder.states(histories.obs[:, :, :-1])
        decoders["state"].watch(changes[there])
    return BeliefLearner(
        encoder,
        said,
        generator,
        kl_weight=cfg.kl_weight,
        lr=cfg.belief_lr,
        latents_per_trial=cfg.latents_per_trial,
    )


def taken_belief(cfg: BorelConfig, family: MetaTask) -> Mapping[str, Any] | None:
    """Return the weights of the encoder and decoders that a run begins with; None where it learns its own.

    A run that goes on from a checkpoint has them already.

    Raises:
        UserError: `cfg.belief` is no such run, or of another task or other sizes.
    """
    if cfg.belief is None or (cfg.resume and Run.open(cfg.resume).has_checkpoint):
        return None
    name, other = f"belief={cfg.belief}", Run.open(cfg.belief)
    if other.kind != "borel":
        raise UserError(f"{name}: {other.sort}; beliefs are in borel runs")
    if not other.has_checkpoint:
        raise UserError(f"{name}: it has saved none; go on with it by robofb train borel resume={cfg.belief}")
    checkpoint = other.load_checkpoint("latest")
    if checkpoint["spec"] != family.spec.only(["state"]).to_dict():
        raise UserError(f"{name}: it is of another task than {family.spec.task}")
    theirs = {key: checkpoint["config"][key] for key in _OF_BELIEF}
    differs = {key: was for key, was in theirs.items() if plain(getattr(cfg, key)) != was}
    if differs:
        words = " ".join(f"{key}={str(was).replace(' ', '')}" for key, was in differs.items())
        raise UserError(f"{name}: its settings are others; say so here too: {words}")
    weights: Mapping[str, Any] = checkpoint["belief"]["modules"]
    return weights


def make_policy_learner(
    cfg: BorelConfig, policy: HyperPolicy, generator: torch.Generator
) -> SingleTaskLearner:
    """Return what improves the policy from data alone."""
    if cfg.algorithm == "iql":
        return ImplicitLearner(
            policy,
            generator,
            lr=cfg.lr,
            tau=cfg.tau,
            expectile=cfg.expectile,
            advantage_scale=cfg.advantage_scale,
        )
    if policy.num_choices:
        return ChoiceLearner(
            policy,
            lr=cfg.lr,
            tau=cfg.tau,
            temperature=cfg.choice_temperature,
            conservatism=cfg.conservatism,
        )
    return ContinuousLearner(
        policy,
        generator,
        lr=cfg.lr,
        tau=cfg.tau,
        temperature=cfg.temperature,
        target_entropy=None if cfg.entropy is None else cfg.entropy * policy.action_dim,
        conservatism=cfg.conservatism,
    )
