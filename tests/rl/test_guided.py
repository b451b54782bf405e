"""The learner: its losses by hand, and a continuous problem whose optimum and balance can be computed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robofb.nets.stacked import StackedMlp
from robofb.policies.student import Memories, StudentPolicy
from robofb.rl.balance import Balance, Lagrangian, Signals
from robofb.rl.balance_baselines import Fixed, Imitation, RewardOnly, Shaping
from robofb.rl.guided import GuidedLearner, clip_by_member, half_squares
from robofb.rl.guided_critics import ChoiceMath, ContinuousMath, GuidedCritics
from robofb.types import ArraySpec, EnvSpec

CHOICES = ArraySpec((1,), "int64", low=(0,), high=(1,))
BOX = ArraySpec((1,), low=(-1.0,), high=(1.0,))
STATE = {"state": ArraySpec((1,))}


def make_learner(balance: Balance, action: ArraySpec, memory: int = 0, **settings: float) -> GuidedLearner:
    spec = EnvSpec("toy", STATE, action, 0.1, 10)
    generator = torch.Generator().manual_seed(0)
    names = {"num_policies": len(balance.policies), "hidden": (32,), "memory": memory}
    policy = StudentPolicy(spec, ["state"], generator=generator, **names)
    critics = GuidedCritics(
        policy, hidden=(32,), foresees_teacher=balance.foresees_teacher, generator=generator
    )
    actions = ChoiceMath() if policy.num_choices else ContinuousMath(1.0, generator)
    values = {"gamma": 0.9, "actor_lr": 3e-3, "critic_lr": 3e-3, "temperature": 1e-3, **settings}
    return GuidedLearner(policy, critics, balance, actions, **values)


def bandit(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return one-step episodes: the teacher means -1 or 1, unseen; reward -(a - 0.5)^2; anybody acted."""
    action = 2 * torch.rand(count, 1, generator=generator) - 1
    side = 2.0 * torch.randint(2, (count, 1), generator=generator) - 1
    zeros, yes = torch.zeros(count, 1), torch.ones(count, dtype=torch.bool)
    return {
        "state": zeros,
        "next_state": zeros,
        "action": action,
        "reward": -((action[:, 0] - 0.5) ** 2),
        "answer": side,
        "next_answer": side,
        "t": torch.zeros(count, dtype=torch.int64),
        "terminated": yes,
        "cut": ~yes,
        "per_episode": torch.tensor(1.0),
    }


def learn(
    learner: GuidedLearner, make: Callable[..., dict[str, Tensor]], updates: int, every: int = 0
) -> list:
    """Update, and step the balance after each `every` updates; return its coefficients."""
    generator, gaps, course = torch.Generator().manual_seed(1), [], []
    for update in range(1, updates + 1):
        metrics = learner.update(make(256, generator))
        gaps.append(metrics.get("gap"))
        if every and update % every == 0:
            mean = float(torch.stack(gaps).mean())
            learner.balance.step(Signals(mean, float(metrics["cross_entropy"])))
            course.append(learner.balance.metrics()["coefficient"])
            gaps = []
    return course


def modes(learner: GuidedLearner) -> list[float]:
    with torch.no_grad():
        return learner.policy.distribution(torch.zeros(1, 1, 1)).mode[:, 0, 0].tolist()


def optimum(coefficient: float) -> float:
    """Return the action that maximises -(a - 1/2)^2 - c E[(a - side)^2] / 2: half of 1 / (1 + c / 2)."""
    return 0.5 / (1 + coefficient / 2)


@pytest.mark.parametrize("coefficient", [0.5, 2.0])
def test_a_fixed_coefficient_leads_to_the_optimum_between_reward_and_teacher(coefficient: float) -> None:
    learner = make_learner(Fixed(coefficient), BOX)
    learn(learner, bandit, 800)
    assert modes(learner)[0] == pytest.approx(optimum(coefficient), abs=0.03)


def test_the_ends_of_the_scale_are_reward_alone_and_imitation_alone() -> None:
    reward, imitation = make_learner(RewardOnly(), BOX), make_learner(Imitation(), BOX)
    learn(reward, bandit, 2000)
    learn(imitation, bandit, 800)
    assert modes(reward)[0] == pytest.approx(0.5, abs=0.03)
    assert modes(imitation)[0] == pytest.approx(0.0, abs=0.03)


def test_the_coefficient_follows_the_computed_course() -> None:
    """lambda grows by lr (a*(c) - 1/2)^2 a step; the student keeps up, so c falls as computed."""
    learner = make_learner(Lagrangian(alpha=2.0, coefficient=2.0, lr=4.0), BOX)
    learn(learner, bandit, 800)  # both policies at their optima for c = 2
    course = learn(learner, bandit, 1600, every=80)
    multiplier, computed = 0.0, []
    for _ in course:
        multiplier += 4.0 * (optimum(2.0 / (1 + multiplier)) - 0.5) ** 2
        computed.append(2.0 / (1 + multiplier))
    assert computed[-1] < 0.8  # it has far to go
    assert max(abs(c - expected) for c, expected in zip(course, computed, strict=True)) < 0.15
    assert course[-1] == pytest.approx(computed[-1], abs=0.1)
    student, rival = modes(learner)
    assert student == pytest.approx(optimum(course[-1]), abs=0.04)
    assert rival == pytest.approx(0.5, abs=0.03)


def chain(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return moves of a chain: state 0 leads to state 1, state 1 ends; choice 1 pays 1, choice 0 nothing."""
    state = torch.randint(2, (count, 1), generator=generator)
    action = torch.randint(2, (count,), generator=generator)
    answer = torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
    return {
        "state": state.float(),
        "next_state": torch.ones(count, 1),
        "action": action,
        "reward": action.float(),
        "answer": answer[state[:, 0]],
        "next_answer": answer[1].expand(count, 2),
        "t": state[:, 0],
        "terminated": state[:, 0] == 1,
        "cut": torch.zeros(count, dtype=torch.bool),
        "per_episode": torch.tensor(2.0),
    }


@pytest.mark.parametrize("bonus", [0.0, 1.5])
def test_critics_learn_what_is_earned_and_what_the_teacher_will_say(bonus: float) -> None:
    """For reward, choice 1 is best: Q(0, a) = a + 0.9; T(0, a) = 0.9 (log 0.1 + b); T(1, a) = 0."""
    learner = make_learner(Fixed(1e-6), CHOICES, tau=0.05, word_bonus=bonus)
    learn(learner, chain, 1200)
    with torch.no_grad():
        values = learner.critics(torch.tensor([[[0.0], [1.0]]]))  # 2 states, 2 choices
        earned, word = values.reward[0].mean(0), values.teacher[0]
    expected = torch.tensor([[0.9, 1.9], [0.0, 1.0]])
    torch.testing.assert_close(earned, expected, atol=0.05, rtol=0)
    said = torch.tensor([[0.9], [0.0]]).expand(2, 2) * (torch.tensor(0.1).log() + bonus)
    torch.testing.assert_close(word, said, atol=0.1, rtol=0)


def test_a_balance_that_foresees_no_teacher_trains_no_critic_of_its_word() -> None:
    learner = make_learner(RewardOnly(), CHOICES)
    assert learner.critics.nets_of == [2]
    assert learner.update(chain(8, torch.Generator().manual_seed(0)))["teacher_critic_loss"] == 0


def test_reward_alone_learns_the_same_whatever_a_teacher_says() -> None:
    """Nothing of the answers reaches a weight, and no number that depends on them is told."""
    learners = [make_learner(RewardOnly(), CHOICES) for _ in range(2)]
    for index, learner in enumerate(learners):
        for update in range(5):
            batch = chain(64, torch.Generator().manual_seed(update))
            for name in ("answer", "next_answer"):
                batch[name] = batch[name] if index else torch.zeros_like(batch[name])
            metrics = learner.update(batch)
            assert "cross_entropy" not in metrics
    first, second = ([*each.policy.parameters(), *each.critics.parameters()] for each in learners)
    assert all(torch.equal(p, q) for p, q in zip(first, second, strict=True))


def test_shaping_by_a_potential_leaves_the_best_choice_and_moves_the_values() -> None:
    """Shaped, Q'(s, a) = Q(s, a) - phi(s), where phi is the value of imitating: 0.75 + 0.9 * 0.1 and 0.1."""
    learner = make_learner(Shaping(), CHOICES, tau=0.05)
    learn(learner, chain, 1500)
    with torch.no_grad():
        features = torch.tensor([[[0.0], [1.0]]])
        q = learner.critics(features).reward.mean(1)
        imitator = learner.policy.distribution(features).probs[1]
    expected = torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    torch.testing.assert_close(imitator, expected, atol=0.04, rtol=0)
    potential = torch.tensor([[0.75 + 0.09], [0.1]])
    plain = torch.tensor([[0.9, 1.9], [0.0, 1.0]])
    torch.testing.assert_close(q[0], plain - potential, atol=0.08, rtol=0)


def test_sequences_give_the_same_losses_as_their_moves_where_memory_sees_nothing_new() -> None:
    """Padding and the order of moves do not matter: two paddings of the same episodes, the same update."""
    batch = {
        "state": torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])[..., None],
        "answer": torch.full((2, 3, 2), 0.5).log(),
        "action": torch.tensor([[1, 0], [0, 1]]),
        "reward": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "t": torch.tensor([[0, 1], [0, 1]]),
        "terminated": torch.tensor([[False, True], [False, True]]),
        "cut": torch.zeros(2, 2, dtype=torch.bool),
        "valid": torch.ones(2, 2, dtype=torch.bool),
        "per_episode": torch.tensor(2.0),
    }
    longer = {
        name: value if value.dim() == 0 else torch.cat([value, value[:, -1:].clone()], 1)
        for name, value in batch.items()
    }
    longer["valid"][:, -1] = False
    first, second = (make_learner(Lagrangian(), CHOICES, memory=4) for _ in range(2))
    a, b = first.update(batch), second.update(longer)
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name)
    for p, q in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_the_critics_loss_is_half_the_mean_square_of_each() -> None:
    values = torch.zeros(2, 2, 2)
    wanted = torch.tensor([[[1.0, 3.0]], [[2.0, 0.0]]])
    # Two critics each: (1 + 9) / 2 / 2 and 4 / 2 / 2.
    assert half_squares(values, wanted).item() == 2 * 2.5 + 2 * 1.0


def test_each_policys_gradient_is_clipped_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    memories, stacked = Memories(2, 3, 4, generator), StackedMlp([4, 5, 2], 3, generator=generator)
    hidden, _ = memories(torch.randn(6, 1, 3, generator=generator))
    out = stacked(hidden[[0, 1, 1], :, 0])  # one network on the first memory, two on the second
    (out[0].sum() + 1000 * out[1:].sum()).backward()

    def gradients(index: int) -> list[Tensor]:
        own = [p.grad[:1] if index == 0 else p.grad[1:] for p in stacked.parameters()]
        return own + [p.grad for p in memories.cells[index].parameters()]

    before = [torch.cat([g.flatten() for g in gradients(index)]).clone() for index in (0, 1)]
    assert before[0].norm() < 100 < before[1].norm()
    largest = clip_by_member(memories, stacked, [1, 2], 100.0)
    after = [torch.cat([g.flatten() for g in gradients(index)]) for index in (0, 1)]
    assert largest.item() == pytest.approx(before[1].norm().item(), rel=1e-5)
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1], before[1] * (100 / before[1].norm()), rtol=1e-5, atol=1e-8)


def test_it_goes_on_exactly_after_a_save() -> None:
    first, second = (make_learner(Lagrangian(), CHOICES, target_entropy=0.3) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        first.update(chain(32, generator))
    second.policy.load_state_dict(first.policy.state_dict())
    second.load_state_dict(first.state_dict())
    batch = chain(32, generator)
    a, b = first.update(batch), second.update(batch)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert all(torch.equal(p, q) for p, q in zip(_all(first), _all(second), strict=True))


def _all(learner: GuidedLearner) -> list[nn.Parameter]:
    return [*learner.policy.parameters(), *learner.critics.parameters(), *learner.targets.parameters()]


def one_state(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return steps of an episode without end in a single state, which pay nothing; choices drawn evenly."""
    zeros, no = torch.zeros(count, 1), torch.zeros(count, dtype=torch.bool)
    even = torch.full((count, 2), 0.5).log()
    return {
        "state": zeros,
        "next_state": zeros,
        "action": torch.randint(2, (count,), generator=generator),
        "reward": torch.zeros(count),
        "answer": even,
        "next_answer": even,
        "t": torch.zeros(count, dtype=torch.int64),
        "terminated": no,
        "cut": no,
        "per_episode": torch.tensor(1.0),
    }


@pytest.mark.parametrize(("balance", "value"), [(RewardOnly(), 0.9 * math.log(2) / 0.1), (Fixed(1e-9), 0.0)])
def test_later_entropy_is_worth_its_temperature_to_soft_actor_critic_alone(
    balance: Balance, value: float
) -> None:
    """Q = gamma (Q + alpha log 2) for alpha = 1; hard values lack the second part."""
    learner = make_learner(balance, CHOICES, temperature=1.0, tau=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(800):
        metrics = learner.update(one_state(32, generator))
    name = learner.balance.policies[0]
    assert float(metrics[f"{name}_value"]) == pytest.approx(value, abs=0.15)


def test_potentials_before_and_after_a_step_are_of_the_same_network() -> None:
    """A shaped reward is gamma Phi(s') - Phi(s): in one state (gamma - 1) Phi, whoever lags behind."""
    learner = make_learner(Shaping(), CHOICES, tau=1e-9)
    with torch.no_grad():  # the slow copies say 5 of everything, and go on saying it
        learner.targets.nets.weights[-1].zero_()
        learner.targets.nets.biases[-1].fill_(5.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(800):
        metrics = learner.update(one_state(32, generator))
    assert float(metrics["student_value"]) == pytest.approx(0.9 * 5.0 - 0.5, abs=0.1)


def test_a_resumed_learner_takes_the_learning_rates_that_it_is_given() -> None:
    first = make_learner(Fixed(1.0), BOX)
    learn(first, bandit, 2)
    second = make_learner(Fixed(1.0), BOX, actor_lr=1e-4, critic_lr=2e-4)
    second.load_state_dict(first.state_dict())
    rates = {name: one.param_groups[0]["lr"] for name, one in second._optimizers.items()}
    assert (rates["actor"], rates["critic"]) == (1e-4, 2e-4)
    moments = second._optimizers["actor"].state_dict()["state"][0]
    assert int(moments["step"]) == 2
