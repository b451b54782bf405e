"""Beliefs and their bound, against plain recomputations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nets.test_factored import of_one_pair
from torch.distributions import Independent, Normal, kl_divergence

from rl.borel.examples import FAMILY, visits, walks
from robofb.envs.meta.point_robot_sparse import PointRobotSparse
from robofb.rl.borel.belief import Belief, BeliefEncoder, distinct, kl_between, sequential_kl
from robofb.rl.borel.belief_learner import BeliefLearner
from robofb.rl.borel.decoders import OutcomeDecoder, RewardDecoder, Said, StateDecoder
from robofb.rl.histories import Trials


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_encoder(family=FAMILY, **settings) -> BeliefEncoder:
    return BeliefEncoder(family.spec, latent=3, memory=8, generator=generator(), **settings)


def some_trials(ragged: bool = True) -> Trials:
    histories = walks(ragged=ragged)
    return histories.trials(torch.tensor([0, 1, 2]), torch.tensor([[0, 1], [3, 4], [2, 3]]))


def as_distribution(belief: Belief) -> Independent:
    return Independent(Normal(belief.mean, (0.5 * belief.log_variance).exp()), 1)


def test_kl_is_that_of_the_distributions() -> None:
    one, two = (Belief(*torch.randn(2, 5, 3, generator=generator(seed))) for seed in (1, 2))
    expected = kl_divergence(as_distribution(one), as_distribution(two))
    torch.testing.assert_close(kl_between(one, two), expected)


def test_sequential_kl_starts_from_a_standard_normal() -> None:
    beliefs = Belief(*torch.randn(2, 4, 6, 3, generator=generator()))
    found = sequential_kl(beliefs)
    for t in range(6):
        now = Belief(*(part[:, t] for part in beliefs))
        before = Belief(*(part[:, t - 1] for part in beliefs)) if t else Belief(*torch.zeros(2, 4, 3))
        expected = kl_divergence(as_distribution(now), as_distribution(before))
        torch.testing.assert_close(found[:, t], expected)


@pytest.mark.parametrize("settings", [{}, {"reader": "pooled"}, {"reader": "pooled", "waves": 3}])
def test_beliefs_in_batch_are_those_step_by_step(settings: dict) -> None:
    encoder, trials = make_encoder(**settings), some_trials()
    whole = encoder(trials)
    hidden = encoder.blank(3)
    for t in range(trials.obs.shape[1] + 1):
        step = encoder.read(hidden)
        there = t <= trials.lengths
        torch.testing.assert_close(step.mean[there], whole.mean[there, t], atol=1e-5, rtol=0)
        torch.testing.assert_close(step.log_variance[there], whole.log_variance[there, t], atol=1e-5, rtol=0)
        if t < trials.obs.shape[1]:
            parts = (trials.obs, trials.action, trials.next_obs, trials.reward)
            hidden = encoder.after(hidden, *(part[:, t] for part in parts))


@pytest.mark.parametrize("reader", ["gru", "pooled"])
def test_a_pooled_memory_does_not_mind_the_order_of_steps(reader: str) -> None:
    encoder, trials = make_encoder(reader=reader), some_trials(ragged=False)
    order = torch.randperm(trials.obs.shape[1], generator=generator(3))
    names = ("obs", "action", "reward", "next_obs")
    shuffled = trials._replace(**{name: getattr(trials, name)[:, order] for name in names})
    gap = (encoder(trials).flat()[:, -1] - encoder(shuffled).flat()[:, -1]).abs().max().item()
    assert gap < 1e-5 if reader == "pooled" else gap > 1e-3


SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 3))


@given(arrays(np.float32, SHAPES, elements=st.sampled_from([0, 1, 2.5])))
def test_each_row_equals_the_one_that_stands_for_it(values: np.ndarray) -> None:
    rows = torch.from_numpy(values)
    first, which = distinct(rows)
    torch.testing.assert_close(rows[first][which], rows, atol=0, rtol=0)
    assert len(first) == len({tuple(row) for row in values.tolist()})


def test_rows_that_a_weighted_sum_confuses_are_kept_apart() -> None:
    weights = torch.rand(2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.stack([torch.stack([weights[1], -weights[0]]), torch.zeros(2, dtype=torch.float64)])
    first, which = distinct(rows)
    assert sorted(first.tolist()) == [0, 1] and rows[first][which].equal(rows)


def test_steps_taken_in_once_teach_as_much_as_one_by_one() -> None:
    encoder = make_encoder(reader="pooled")
    trials = some_trials()
    twice = Trials(*(torch.cat([part, part]) for part in trials))

    def slopes(beliefs: Belief) -> dict[str, torch.Tensor]:
        encoder.zero_grad()
        beliefs.flat().square().sum().backward()
        return {name: weights.grad.clone() for name, weights in encoder.named_parameters()}

    at_once = slopes(encoder(twice))
    each = [
        encoder.steps(*(part[:, t] for part in (twice.obs, twice.action, twice.next_obs, twice.reward)))
        for t in range(twice.obs.shape[1])
    ]
    hidden = [encoder.blank(6)]
    for step in each:
        hidden.append(encoder.memory.after(hidden[-1], encoder.memory.said(step)))
    one_by_one = slopes(encoder.read(torch.stack(hidden, 1)))
    for name, slope in one_by_one.items():
        torch.testing.assert_close(at_once[name], slope, atol=1e-4, rtol=1e-4)


def test_waves_are_sines_and_cosines_of_6_3_and_1_5_deviations() -> None:
    encoder = make_encoder(waves=3)
    encoder.watch(torch.tensor([[1.0, 4.0], [3.0, 8.0]]))  # mean (2, 6), deviation (1.414, 2.828)
    found = encoder.places(torch.tensor([2.0 + 2**0.5, 6.0]))  # one deviation off, and none
    turns = [1 / 6, 1 / 3, 2 / 3]
    sines = [math.sin(2 * math.pi * turn) for turn in turns]
    cosines = [math.cos(2 * math.pi * turn) for turn in turns]
    expected = [1.0, 0.0, *sines, 0.0, 0.0, 0.0, *cosines, 1.0, 1.0, 1.0]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert found.shape[-1] == encoder.place_dim


def plain_bound(learner: BeliefLearner, trials: Trials) -> float:
    """Return the loss of one trial after the other, one latent and one step after the other."""
    encoder, said = learner.encoder, learner.said[0]
    noise = torch.randn(*encoder(trials).mean.shape, generator=generator(7))
    total = 0.0
    for row in range(len(trials.task)):
        one = trials.rows(torch.tensor([row]))
        steps = int(one.lengths)
        beliefs = encoder(one)
        terms = []
        for t in range(steps + 1):
            belief = Belief(*(part[0, t] for part in beliefs))
            before = Belief(*(part[0, t - 1] for part in beliefs)) if t else Belief(*torch.zeros(2, 3))
            kl = kl_divergence(as_distribution(belief), as_distribution(before))
            z = belief.mean + (0.5 * belief.log_variance).exp() * noise[row, t]
            logits = said.decoder.net(z) + said.decoder.straight(z)
            cost = torch.zeros(())
            for i in range(steps):
                x, y = one.next_obs[0, i].tolist()
                paid = (one.reward[0, i] > said.decoder.threshold).float()
                logit = logits[int(y) * 5 + int(x)]
                cost = cost + torch.nn.functional.binary_cross_entropy_with_logits(logit, paid)
            terms.append(cost + learner.kl_weight * kl)
        total += float(torch.stack(terms).mean())
    return total / len(trials.task)


@pytest.mark.parametrize("ragged", [False, True])
def test_the_bound_is_what_a_plain_loop_computes(ragged: bool) -> None:
    encoder, trials = make_encoder(), some_trials(ragged)
    decoder = OutcomeDecoder(3, FAMILY.outcome, FAMILY.num_outcomes, 0.45)
    learner = BeliefLearner(encoder, [Said("reward", decoder)], generator(7), kl_weight=0.3)
    loss, _ = learner.loss(trials)
    assert loss.item() == pytest.approx(plain_bound(learner, trials), rel=1e-5)


def test_reward_and_state_decoders_measure_each_pair_of_latent_and_step() -> None:
    encoder, trials = make_encoder(), some_trials()
    z = torch.randn(3, 4, 3, generator=generator())
    reward = RewardDecoder(3, encoder, sees_move=True, scale=2.0)
    state = StateDecoder(3, encoder)
    state.watch(torch.randn(50, 2, generator=generator()) * 0.7)
    for row in range(3):
        for latent in range(4):
            expected = [0.0, 0.0]
            for t in range(int(trials.lengths[row])):
                before = encoder.states(trials.obs[row, t])
                after = encoder.states(trials.next_obs[row, t])
                move = torch.cat([before, encoder.actions(trials.action[row, t])])
                told = of_one_pair(reward.net, z[row, latent], torch.cat([move, after]))
                expected[0] += 0.5 * (told - 2.0 * float(trials.reward[row, t])) ** 2
                change = (after - before) / state.deviation
                expected[1] += 0.5 * float(((_by_hand(state.net, z[row, latent], move) - change) ** 2).sum())
            assert float(reward.surprise(z, trials, encoder)[row, latent]) == pytest.approx(
                expected[0], rel=1e-4
            )
            assert float(state.surprise(z, trials, encoder)[row, latent]) == pytest.approx(
                expected[1], rel=1e-4
            )


def _by_hand(net, z, x):
    out = net.of_z(z) + net.of_x(x)
    for layer in net.layers:
        out = layer(torch.relu(out))
    return out


def test_some_latents_stand_for_all_on_average() -> None:
    trials = some_trials()
    losses = []
    for count in (None, 2):
        encoder = make_encoder()
        torch.manual_seed(0)
        decoder = OutcomeDecoder(3, FAMILY.outcome, FAMILY.num_outcomes, 0.45)
        learner = BeliefLearner(encoder, [Said("reward", decoder)], generator(1), latents_per_trial=count)
        with torch.no_grad():
            losses.append(torch.stack([learner.loss(trials)[0] for _ in range(400)]).mean().item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_belief_learns_to_tell_two_tasks_apart() -> None:
    """A visit to either goal tells which is the right one; before, both are as likely."""
    histories = visits()
    encoder = make_encoder()
    torch.manual_seed(0)
    decoder = OutcomeDecoder(3, FAMILY.outcome, FAMILY.num_outcomes, 0.45)
    learner = BeliefLearner(encoder, [Said("reward", decoder)], generator(3), lr=1e-2)
    agent = torch.arange(2).repeat_interleave(8)
    for _ in range(200):
        learner.update(histories.trials(agent, histories.draw(agent, 2, learner.generator)))
    trials = histories.trials(agent, histories.draw(agent, 2, generator(4)))
    cells = (histories.params[:, 1] * 5 + histories.params[:, 0]).long()
    chances = decoder.chances(encoder(trials).mean)  # (16, T + 1, 25)
    own, other = (chances[:, -1].gather(1, cells[who][:, None]) for who in (agent, 1 - agent))
    assert (own > 0.95).all() and (other < 0.05).all()
    assert ((chances[:, 0, cells] - 0.5).abs() < 0.15).all()


def test_actions_and_states_are_taken_in_their_own_scale() -> None:
    encoder = make_encoder(PointRobotSparse())
    encoder.watch(torch.tensor([[0.0, 1.0], [2.0, 5.0], [4.0, 9.0]]))
    assert torch.equal(encoder.states(torch.tensor([2.0, 9.0])), torch.tensor([0.0, 1.0]))
    assert torch.equal(encoder.actions(torch.tensor([0.5, -1.0])), torch.tensor([0.5, -1.0]))
    one_hot = make_encoder().actions(torch.tensor([[2], [0]]))
    assert one_hot.tolist() == [[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]


def test_a_resumed_belief_goes_on_at_the_rate_that_it_is_given() -> None:
    trials = some_trials()

    def learner_of(lr: float) -> BeliefLearner:
        torch.manual_seed(0)
        decoder = OutcomeDecoder(3, FAMILY.outcome, FAMILY.num_outcomes, 0.45)
        return BeliefLearner(make_encoder(), [Said("reward", decoder)], generator(1), lr=lr)

    whole, first, second, slower = (learner_of(lr) for lr in (1e-2, 1e-2, 1e-2, 1e-9))
    for learner in (whole, whole, first):
        learner.update(trials)
    for learner in (second, slower):
        learner.load_state_dict(first.state_dict())
        learner.update(trials)
    for name, weights in whole.modules.state_dict().items():
        assert torch.equal(weights, second.modules.state_dict()[name]), name
        before = first.modules.state_dict()[name]
        torch.testing.assert_close(slower.modules.state_dict()[name], before, atol=1e-7, rtol=0)
