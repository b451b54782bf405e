"""What `robofb train borel` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from robofb.errors import MOST, UserError, check_at_least, check_positive, check_seeds, check_threads
from robofb.rl.borel.belief import MEMORIES
from robofb.rl.borel.released import defects_of
from robofb.train.rl_config import check_share

ALGORITHMS = ("q_learning", "iql")
FIXED = (
    "task",
    "logs",
    "belief",
    "seed",
    "latent",
    "memory",
    "reader",
    "waves",
    "state_embedding",
    "action_embedding",
    "reward_embedding",
    "decoder_hidden",
    "state_weight",
    "hidden",
    "choice_temperature",
    "gamma",
    "algorithm",
    "mixed",
    "whole",
    "common_trials",
    "asked_steps",
    "belief_updates",
    "fresh_trials",
    "redraw_every",
    "mixture_episodes",
    "piece",
    "early",
    "drawn_tasks",
    "own_trials",
    "compat",
    "select_seed",
    "select_tasks",
)


_OF_MIXTURES = {"mixture_episodes": None, "piece": None, "early": 1.0, "drawn_tasks": 0}  # what means none
_MOST_WAVES = 16


@dataclass
class BorelConfig:
    """What `robofb train borel` reads: first a belief is learnt, then logs are relabelled, then a policy is.

    Attributes:
        task: the family that the logs are of.
        engine: what simulates it in the selection.
        logs: folder of `robofb train agents`.
        belief: run of `train borel` whose belief is taken over, where its settings are said here too; learnt
            anew where null.
        latent: size of the belief's mean.
        memory: size of what the encoder remembers of a trial.
        reader: what takes steps into it: gru, as in the paper, or pooled, which learns sooner where many
            things must be kept; see `PooledMemory`.
        waves: sines and cosines of each state at so many wavelengths, that encoder and decoders take in
            beside it; see `BeliefEncoder`.
        state_embedding, action_embedding, reward_embedding: sizes of its layers that take in a step.
        decoder_hidden: sizes of the decoders' hidden layers.
        sees_move: let the reward's decoder see where a step began and its action, not only where it ended.
        state_weight: weight of where steps lead, beside what they pay; for tasks that move differently.
        mixed: share of the trials with episodes of other agents, paid as their own task would pay.
        whole: all of their episodes are anybody's; else the first half is another agent's, as in the paper.
            `fresh_trials` are whole in any case.
        mixture_episodes: in each of `fresh_trials`, and of the belief's trials where mixed=1 whole=true; K
            where null.
        piece: steps of the pieces into which episodes of these mixtures are cut; null leaves them whole.
        early: how much more often an agent's first episodes come in them; see `mixtures.Mixing`.
        drawn_tasks: that these mixtures are of, beside the agents' own: drawn from the family, whose reward
            pays them, though nobody has learnt them.
        common_trials: the trials of an update of the belief are the same for each of its tasks, but for what
            they pay; see `mixtures.Mixing`. Needs mixed=1 whole=true.
        asked_steps: of anybody's, paid as a trial's task would pay them, that the decoders are asked about in
            place of the trial's own; 0 for its own. Their surprise is summed, beside the KL. Needs mixed=1
            whole=true.
        belief_updates: gradient steps of the belief.
        belief_tasks, belief_trials: tasks in each, and trials of each of them.
        belief_lr: learning rate.
        kl_weight: of the KL between successive beliefs.
        latents_per_trial: that are decoded of each trial, drawn evenly; null for all.
        fresh_trials: whole mixtures of each task that the policy learns from beside the logs' own ones. They
            are exact where tasks differ in rewards alone; elsewhere leave them out, and log visitors.
        redraw_every: updates of the policy after which these are drawn anew; 0 keeps them. A network that
            sees the same ones for long learns by heart which task each was of, and hopes for too much.
        own_trials: let the policy learn from the logs' own trials too. Agents know their task: what they do
            before anything was found betrays it, and values that hope for as much are wrong.
        hidden: sizes of the policy's and critics' hidden layers.
        gamma: discount of future reward per control step, over the ends of episodes as well.
        lr: learning rate of policy and critics.
        anneal: let both learning rates fall to 0 over their stages, by half a cosine.
        tau: share of the values that their slow copies take over per update.
        batch_size: transitions in an update.
        updates: gradient steps of the policy.
        algorithm: by which the policy learns from the data alone: q_learning (DQN for choices, else soft
            actor-critic), or iql (implicit Q-learning, which values no action that the data does not hold).
        conservatism: of q_learning, weight of conservative Q-learning's regulariser (CQL).
        expectile: of iql: of the data's actions' values that a state's value stands for.
        advantage_scale: of iql: how much likelier better actions become; 0 imitates.
        choice_temperature: of q_learning: choices are made with a chance that grows as exp(Q / it), and worth
            that (soft Q-learning); 0 makes the best one. Who chooses by chance walks to and fro not for long.
        temperature: weight of the entropy of a continuous policy, at first.
        entropy: that it is adjusted to, in nats for each dimension of the action; constant where null.
        select_every: updates of the policy between the evaluations that choose `best`.
        select_tasks: held-out tasks of each of them; null takes all of a finite family.
        select_seed: of these tasks and their episodes; keep it apart from the seeds that are reported.
        save_every: updates between checkpoints.
        log_every: updates whose mean is a row of metrics.
        seed: of weights, batches and mixtures.
        compat: "released" repeats what BOReL's released code does otherwise than its paper, to compare with;
            or names of such defects, several with +.
        threads: torch's threads.
        out: run folder; a new one below runs/ where null.
        resume: run folder to continue from its latest checkpoint.
        wandb: mirror the metrics to Weights & Biases (off, offline or online).
    """

    task: Any = MISSING
    engine: Any = MISSING
    logs: str = MISSING
    belief: str | None = None
    latent: int = 5
    memory: int = 64
    reader: str = "gru"
    waves: int = 0
    state_embedding: int = 32
    action_embedding: int = 16
    reward_embedding: int = 16
    decoder_hidden: list[int] = field(default_factory=lambda: [64, 64])
    sees_move: bool = False
    state_weight: float = 0.0
    mixed: float = 0.7
    whole: bool = True
    mixture_episodes: int | None = None
    piece: int | None = None
    early: float = 1.0
    drawn_tasks: int = 0
    common_trials: bool = False
    asked_steps: int = 0
    belief_updates: int = 5000
    belief_tasks: int = 16
    belief_trials: int = 2
    belief_lr: float = 1e-3
    kl_weight: float = 0.05
    latents_per_trial: int | None = None
    fresh_trials: int = 0
    redraw_every: int = 0
    own_trials: bool = True
    hidden: list[int] = field(default_factory=lambda: [128, 128])
    gamma: float = 0.99
    lr: float = 3e-4
    anneal: bool = True
    tau: float = 0.005
    batch_size: int = 256
    updates: int = 100_000
    algorithm: str = "q_learning"
    conservatism: float = 0.0
    expectile: float = 0.9
    advantage_scale: float = 10.0
    choice_temperature: float = 0.0
    temperature: float = 0.1
    entropy: float | None = None
    select_every: int = 10_000
    select_tasks: int | None = None
    select_seed: int = 1_000_003
    save_every: int = 5000
    log_every: int = 500
    seed: int = 0
    compat: str | None = None
    threads: int = 1
    out: str | None = None
    resume: str | None = None
    wandb: str = "off"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "latent", "memory", "state_embedding", "action_embedding", "reward_embedding")
        check_at_least(self, 1, "belief_tasks", "belief_trials", "batch_size")
        check_at_least(self, 1, "select_every", "save_every", "log_every", "threads")
        check_at_least(self, 0, "belief_updates", "updates", "fresh_trials", "redraw_every")
        check_at_least(self, 1, "early")
        if self.reader not in MEMORIES:
            raise UserError(f"reader={self.reader}: no such memory; valid: {', '.join(MEMORIES)}")
        check_at_least(
            self, 0, "waves", "drawn_tasks", "asked_steps", "state_weight", "conservatism", "advantage_scale"
        )
        if not (self.own_trials or self.fresh_trials):
            raise UserError("own_trials=false fresh_trials=0: leave the policy nothing to learn from")
        if self.algorithm not in ALGORITHMS:
            raise UserError(f"algorithm={self.algorithm}: no such algorithm; valid: {', '.join(ALGORITHMS)}")
        if self.algorithm == "iql" and self.conservatism:
            raise UserError(f"conservatism={self.conservatism:g}: iql has none; leave it out")
        check_at_least(self, 0, "choice_temperature")
        if not 0.5 <= self.expectile < 1:
            raise UserError(f"expectile={self.expectile:g}: must lie in 0.5..1, below 1")
        check_positive(self, "belief_lr", "kl_weight", "lr", "tau", "temperature")
        check_share(self, "mixed", "gamma", "tau")
        check_seeds(self, "seed", "select_seed")
        check_threads(self.threads)
        defects_of(self.compat)
        for name in ("common_trials", "asked_steps"):
            if getattr(self, name) and not mixes_all(self):
                mixed = f"mixed={self.mixed:g} whole={str(self.whole).lower()}"
                raise UserError(f"{name}={getattr(self, name)} {mixed}: needs mixed=1 whole=true")
        mixes = self.fresh_trials or (mixes_all(self) and self.belief is None)
        for name, none in _OF_MIXTURES.items():
            if (value := getattr(self, name)) != none and not mixes:
                raise UserError(
                    f"{name}={value}: there are no whole mixtures; say fresh_trials=, or leave it out"
                )
        if self.redraw_every and not self.fresh_trials:
            raise UserError(f"redraw_every={self.redraw_every} fresh_trials=0: leave nothing to draw anew")
        if self.waves > _MOST_WAVES:
            raise UserError(f"waves={self.waves}: may be {_MOST_WAVES} at most")
        for name in ("latents_per_trial", "mixture_episodes", "piece", "select_tasks"):
            if getattr(self, name) is not None:
                check_at_least(self, 1, name)
        for name in ("decoder_hidden", "hidden"):
            sizes = getattr(self, name)
            if not sizes or min(sizes) < 1 or max(sizes) >= MOST:
                raise UserError(f"{name}={list(sizes)}: needs sizes of at least 1, below 2**63")


def mixes_all(cfg: BorelConfig) -> bool:
    """Return whether the belief learns from whole mixtures alone."""
    return cfg.mixed == 1 and cfg.whole
