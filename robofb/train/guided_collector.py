"""Let students, and perhaps their teacher, act in the envs, and keep what they did as whole episodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import EpisodeTeacher, VecEnv
from robofb.policies.student import Choices
from robofb.policies.student_agent import StudentAgent
from robofb.rl.episode_replay import EpisodeReplay
from robofb.rng import EXPERT_STREAM, TRAINING_STREAM, EpisodeRng, derive_seeds
from robofb.train.episode_teachers import where_rows
from robofb.train.episodes import EpisodeCount, Resumable
from robofb.train.stopwatch import Stopwatch
from robofb.types import Obs

_SUM_TOLERANCE = 1e-3  # of the logarithm of the sum of a teacher's chances
WHO_COLLECTS = {
    "halves": "the policies in turn, episode by episode",
    "thirds": "the policies and the teacher in turn",
    "student": "the student alone",
    "teacher": "the teacher alone",
}


class GuidedCollector:
    """Step the envs; whoever acts, the teacher's answer to every state is kept beside it.

    Args:
        env: where to act.
        agent: of all policies, not greedy.
        teacher: answers, once at each state.
        replay: takes "answer", "action" and "reward" beside the student's observations.
        who: a key of `WHO_COLLECTS`.
        teacher_std: deviation of a continuous teacher's actions, normalised.
        seed: of the training episodes.

    Attributes:
        returns: of the episodes that ended, until their reader empties it: (n, 2) each, who acted and the
            sum of its rewards.
    """

    def __init__(
        self,
        env: VecEnv,
        agent: StudentAgent,
        teacher: EpisodeTeacher,
        replay: EpisodeReplay,
        *,
        who: str,
        teacher_std: float,
        seed: int,
    ) -> None:
        self.env, self.agent, self.teacher, self.replay = env, agent, teacher, replay
        self.teacher_std = teacher_std
        num_policies = agent.policy.num_policies
        self._teacher_index = num_policies
        turns = {"halves": num_policies, "thirds": num_policies + 1, "student": 1, "teacher": 1}
        self._turns, self._first = turns[who], num_policies if who == "teacher" else 0
        self._seed = derive_seeds(seed, TRAINING_STREAM)
        device = env.device
        self._rng = EpisodeRng(torch.zeros(env.num_envs, dtype=torch.int64, device=device))
        self._driver = torch.zeros(env.num_envs, dtype=torch.int64, device=device)
        self._return = torch.zeros(env.num_envs, device=device)
        self.returns: list[Tensor] = []
        self._obs: Obs = {}
        self._answer = torch.zeros(0, device=device)
        self.start_episodes(0)

    def start_episodes(self, stretch: int) -> None:
        """Start new episodes everywhere, others for every `stretch` of a run."""
        self.replay.forget_running()
        self._obs = self.env.reset(int(derive_seeds(self._seed, stretch)))
        everywhere = torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device)
        self.teacher.begin(everywhere, self.env.episode_seed)
        self._answer = self.answer(self._obs)
        self._begin(everywhere)

    def _begin(self, mask: Tensor) -> None:
        """Say who acts in the episodes that begin in `mask` (B,)."""
        rows = mask.nonzero()[:, 0]
        self.agent.reset(mask, self.env.episode_seed)
        self._rng.reseed(rows, derive_seeds(self.env.episode_seed[rows], EXPERT_STREAM))
        driver = self._first + self.env.episode % self._turns
        self._driver = torch.where(mask, driver, self._driver)
        self.agent.driver = self._driver.clamp(max=self._teacher_index - 1)
        self._return[rows] = 0.0

    def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
        """Return the teacher's answers (B, n or A), normalised where continuous; see `EpisodeTeacher`.

        Raises:
            UserError: they are not finite, of another shape than actions have, or no log-probabilities.
        """
        answer, policy = self.teacher.answer(obs, mask), self.agent.policy
        wanted = (self.env.num_envs, policy.action_dim)
        if tuple(answer.shape) != wanted:
            kind = "choices" if policy.num_choices else "actions"
            raise UserError(
                f"the teacher's answers have shape {list(answer.shape)}: needs {list(wanted)}, a row for "
                f"each env, in it {policy.action_dim} numbers, for {self.env.spec.task} has so many {kind}"
            )
        meant = answer if mask is None else answer[mask]
        if meant.isnan().any():
            raise UserError("the teacher answered with NaN")
        if not meant.isfinite().all():
            raise UserError("the teacher gives a choice no chance at all (log-probability -inf): smooth it")
        if not policy.num_choices:
            return policy.from_env(answer).clamp(-1.0, 1.0)
        if meant.numel() and not (meant.logsumexp(-1).abs() < _SUM_TOLERANCE).all():
            total = float(meant.exp().sum(-1).max())
            raise UserError(f"the teacher's log-probabilities mean chances that sum up to {total:.3g}, not 1")
        return answer

    def step(self, count: EpisodeCount, clock: Stopwatch) -> None:
        """Do one control step and keep it."""
        with clock("policy"):
            action = self.agent.choose(self._obs)
            by_teacher = self._driver == self._teacher_index
            if by_teacher.any():
                action = where_rows(by_teacher, self._teachers_action(), action)
            command = self.agent.take(action)
        with clock("env"):
            step = self.env.step(command)
        count.add(step)
        with clock("teacher"):
            before, after = self._state(self._obs), {}
            self._answer = self.answer(step.final_obs)
            if step.done.any():
                after = self._state(step.final_obs)
                self.teacher.begin(step.done, self.env.episode_seed)
                self._answer = where_rows(step.done, self.answer(step.obs, step.done), self._answer)
        with clock("replay"):
            move = {"action": action, "reward": step.reward}
            self.replay.add(before, move, after, step.terminated, step.done)
            self._tally(step.reward, step.done)
            self.agent.policy.eyes.watch(step.obs)
            self._obs = step.obs
            if step.done.any():
                self._begin(step.done)

    def _state(self, obs: Obs) -> dict[str, Tensor]:
        return {key: obs[key] for key in self.agent.policy.spec.obs} | {"answer": self._answer}

    def _teachers_action(self) -> Tensor:
        policy = self.agent.policy
        if policy.num_choices:
            return Choices(self._answer).draw(self._rng)
        noise = self._rng.normal(policy.action_dim)
        return (self._answer + self.teacher_std * noise).clamp(-1.0, 1.0)

    def _tally(self, reward: Tensor, done: Tensor) -> None:
        self._return += reward
        if done.any():
            self.returns.append(torch.stack([self._driver.float(), self._return], 1)[done])

    def state_dict(self) -> dict[str, Any]:
        """Return the running episodes; exact where the env is `Resumable`."""
        if not isinstance(self.env, Resumable):
            return {"env": None}
        return {
            "env": self.env.state_dict(),
            "agent": self.agent.state_dict(),
            "teacher": self.teacher.state_dict(),
            "rng": self._rng.state_dict(),
            "driver": self._driver.clone(),
            "return": self._return.clone(),
            "obs": dict(self._obs),
            "answer": self._answer.clone(),
        }

    def load_state_dict(self, state: dict[str, Any], stretch: int) -> None:
        """Restore what `state_dict` returned.

        An env that is not `Resumable` starts new episodes, those of `stretch`.
        """
        if not isinstance(self.env, Resumable):
            self.start_episodes(stretch)
            return
        device = self.env.device
        self.env.load_state_dict(state["env"])
        self.agent.load_state_dict(state["agent"])
        self.teacher.load_state_dict(state["teacher"])
        self._rng.load_state_dict(state["rng"])
        for name in ("driver", "return"):
            getattr(self, f"_{name}").copy_(state[name])
        self._obs = {key: value.to(device) for key, value in state["obs"].items()}
        self._answer = state["answer"].to(device)
