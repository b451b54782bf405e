"""Each defect of the released code by itself, and that none is there by default."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rl.borel.examples import FAMILY, visits, walks
from robofb.envs.meta.ant_semi_circle_sparse import AntSemiCircleSparse
from robofb.envs.meta.half_cheetah_vel import HalfCheetahVel
from robofb.envs.meta.point_robot_sparse import PointRobotSparse
from robofb.errors import UserError
from robofb.policies.hyper import HyperPolicy
from robofb.rl.borel.belief import BeliefEncoder
from robofb.rl.borel.hyper_states import HyperTransitions
from robofb.rl.borel.mixtures import Mixing, MixtureDraw
from robofb.rl.borel.relabel import TrialDraw
from robofb.rl.borel.released import (
    CUT,
    DEFECTS,
    EARLY,
    PAY,
    REPLACEMENT,
    WIPE,
    beliefs_of,
    defects_of,
    goes_on,
    histories_of,
    pay_of,
)
from robofb.rl.histories import Histories, Trials

NONE: frozenset[str] = frozenset()


def trials_of(histories: Histories) -> Trials:
    return histories.trials(torch.tensor([0, 1]), torch.tensor([[0, 1], [0, 1]]))


def of_family(family, steps: int = 4) -> Histories:
    """Return two agents' logs of made-up steps."""
    generator = torch.Generator().manual_seed(0)
    dim, action_dim = family.spec.obs["state"].shape[0], family.spec.action.shape[0]
    obs = 0.3 * torch.randn(2, 3, steps + 1, dim, generator=generator)
    action = 2 * torch.rand(2, 3, steps, action_dim, generator=generator) - 1
    params = torch.rand(2, family.params.shape[0], generator=generator)
    reward = family.relabel(params[:, None, None], obs[:, :, :-1], action, obs[:, :, 1:])
    length = torch.full((2, 3), steps)
    return Histories(obs, action, reward, length, params, torch.zeros_like(length))


def test_compat_names_all_some_or_none() -> None:
    assert defects_of(None) == NONE and defects_of("released") == frozenset(DEFECTS)
    assert defects_of("wipe+cut") == {WIPE, CUT}
    with pytest.raises(UserError, match="compat=wipe\\+x: no such defect as 'x'; valid: released, wipe, cut"):
        defects_of("wipe+x")


def test_wiped_beliefs_are_those_of_trials_that_begin_behind_each_goal() -> None:
    histories = visits()
    encoder = BeliefEncoder(FAMILY.spec, latent=3, memory=8, generator=torch.Generator().manual_seed(0))
    trials = trials_of(histories)
    wiped, kept = (beliefs_of(trials, encoder, each).flat() for each in (frozenset([WIPE]), NONE))
    torch.testing.assert_close(kept, encoder(trials).flat())
    paid = trials.reward > 0
    blank = encoder.read(encoder.blank(1)).flat()[0]
    assert paid.any()
    for row in range(2):
        for t in range(paid.shape[1]):
            if paid[row, t]:
                torch.testing.assert_close(wiped[row, t + 1], blank)
        first = int(paid[row].int().argmax())
        torch.testing.assert_close(wiped[row, : first + 1], kept[row, : first + 1], atol=1e-6, rtol=0)
        assert not torch.allclose(kept[row, first + 1], blank)


def test_value_is_cut_at_goals() -> None:
    trials = trials_of(visits())
    assert torch.equal(goes_on(trials, NONE), torch.ones_like(trials.reward))
    cut = goes_on(trials, frozenset([CUT]))
    assert torch.equal(cut == 0, trials.reward > 0) and (cut == 0).any()
    policy = HyperPolicy(FAMILY.spec, {"latent": 3, "memory": 8}, hidden=(8,))
    rows = HyperTransitions.of(trials, policy.encoder, frozenset([CUT]))
    batch = rows.sample(200, policy, 0.9, torch.Generator().manual_seed(0))
    assert torch.equal(batch["discount"] == 0, batch["reward"] > 0)
    assert batch["discount"].max() == pytest.approx(0.9)


def test_tasks_are_drawn_with_replacement() -> None:
    histories = walks(num_agents=4)
    for defects, repeats in ((NONE, False), (frozenset([REPLACEMENT]), True)):
        generator = torch.Generator().manual_seed(0)
        draw = TrialDraw(histories, FAMILY, 2, mixed=0.0, whole=False, generator=generator, defects=defects)
        mixtures = MixtureDraw(histories, FAMILY, histories.params, Mixing(2), generator, defects)
        for each in (draw, mixtures):
            found = [each(4, 1).task for _ in range(20)]
            assert any(len(agent.unique()) < 4 for agent in found) == repeats


def test_the_points_relabelled_reward_is_a_distance() -> None:
    family = PointRobotSparse()
    histories = of_family(family)
    trials = histories.trials(torch.tensor([0]), torch.tensor([[0, 1]]))
    params = torch.tensor([[0.6, 0.8]])
    told = pay_of(family, frozenset([PAY]))(params, trials)
    x, y = trials.next_obs[0, 3].tolist()
    assert told[0, 3].item() == pytest.approx(-(((x - 0.6) ** 2 + (y - 0.8) ** 2) ** 0.5))
    right = pay_of(family, NONE)(params, trials)
    assert set(right.flatten().tolist()) <= {0.0, 1.0}


def test_the_cheetahs_reward_is_not_relabelled() -> None:
    family = HalfCheetahVel()
    trials = of_family(family).trials(torch.tensor([0]), torch.tensor([[0, 1]]))
    params = torch.tensor([[2.0]])
    assert torch.equal(pay_of(family, frozenset([PAY]))(params, trials), trials.reward)
    right = pay_of(family, NONE)(params, trials)
    speed, action = trials.next_obs[0, 2, 8].item(), trials.action[0, 2]
    assert right[0, 2].item() == pytest.approx(-abs(speed - 2.0) - 0.05 * float((action**2).sum()))


def test_other_families_are_relabelled_rightly_by_the_released_code_too() -> None:
    trials = trials_of(walks())
    params = FAMILY.all_params()[5:7]
    assert torch.equal(pay_of(FAMILY, frozenset([PAY]))(params, trials), pay_of(FAMILY, NONE)(params, trials))


def test_the_ants_logs_are_paid_by_the_state_before() -> None:
    family = AntSemiCircleSparse()
    histories = of_family(family)
    obs = histories.obs.clone()
    obs[:, :, :, :2] = 5.0
    obs[0, 0, 2, :2] = histories.params[0]  # reached by the second step, and left by the third
    paid = family.relabel(histories.params[:, None, None], obs[:, :, :-1], histories.action, obs[:, :, 1:])
    histories = replace(histories, obs=obs, reward=paid)
    effort = 0.1 * (histories.action[0, 0] ** 2).sum(-1)
    torch.testing.assert_close(histories.reward[0, 0] + effort, torch.tensor([0.0, 1.0, 0.0, 0.0]))
    early = histories_of(histories, family, frozenset([EARLY]))
    torch.testing.assert_close(early.reward[0, 0] + effort, torch.tensor([0.0, 0.0, 1.0, 0.0]))
    assert histories_of(histories, family, NONE) is histories
    others = walks()
    assert histories_of(others, FAMILY, frozenset([EARLY])) is others
