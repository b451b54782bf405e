"""What a policy learns to tell from what it sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from robofb.config import compose
from robofb.errors import UserError
from robofb.loading import build_policy
from robofb.nets.mlp import MlpRegressor
from robofb.policies.mlp_chunk import MlpChunkPolicy
from robofb.rng import EpisodeRng
from robofb.types import ArraySpec, Batch, EnvSpec

SPEC = EnvSpec(
    task="t",
    obs={
        "state": ArraySpec((3,), names=("ee_x", "leg_x", "leg_y")),
        "image_front": ArraySpec((3, 32, 32), "uint8"),
    },
    action=ArraySpec((2,)),
    control_dt=0.1,
    max_steps=10,
    stages=("done",),
)
STATS = {
    "state": {
        "min": [-1.0, 0.0, 0.0],
        "max": [1.0, 31.0, 31.0],
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    },
    "action": {"min": [-1.0, -1.0], "max": [1.0, 1.0], "mean": [0.0] * 2, "std": [1.0] * 2},
}


def policy(**changes: Any) -> MlpChunkPolicy:
    """Return a policy that sees ee_x and a picture, and guesses where the bright spot is."""
    node = compose("train_bc", ["data=x", "policy=small_image_mlp_chunk"]).policy
    node.obs_keys, node.horizon, node.execute = ["state", "image_front"], 2, 1
    node.elements, node.guess = {"state": ["ee_"]}, {"state": ["leg_"]}
    node.image_encoder.resize, node.image_encoder.pooling.grid = [32, 32], 4
    for key, value in changes.items():
        node[key] = value
    torch.manual_seed(0)
    made: MlpChunkPolicy = build_policy(node, SPEC.to_dict())
    made.set_stats(
        {
            key: {name: torch.tensor(each).numpy() for name, each in values.items()}
            for key, values in STATS.items()
        }
    )
    return made


def batch(size: int, generator: torch.Generator) -> Batch:
    """Return pictures with one bright square at (leg_x, leg_y), of whose middle the action is the place."""
    place = torch.randint(2, 30, (size, 2), generator=generator)
    images = torch.zeros(size, 1, 3, 32, 32, dtype=torch.uint8)
    for row, (x, y) in enumerate(place.tolist()):
        images[row, 0, :, y - 2 : y + 2, x - 2 : x + 2] = 255
    state = torch.cat([torch.zeros(size, 1), place.float()], -1)
    action = (place.float() / 31 * 2 - 1)[:, None].expand(-1, 2, -1)
    obs = {"state": state[:, None], "image_front": images}
    return Batch(obs, action, torch.ones(size, 2, dtype=torch.bool), torch.ones(size))


def test_the_guess_is_the_normalised_newest_state():
    guesser = policy(obs_history=2).guesser
    assert guesser is not None and (guesser.keys, guesser.num_guessed) == (("state",), 2)
    history = torch.tensor([[[9.0, 9, 9], [1, 2, 3]]])
    assert guesser.truth({"state": history}).tolist() == [[2, 3]]


def test_loss_is_of_chunk_and_guess_by_hand():
    one = batch(4, torch.Generator().manual_seed(0))
    losses = {weight: policy(guess_weight=weight).loss(one) for weight in (0.0, 1.0, 3.0)}
    plain, (loss, metrics) = losses[0.0][0], losses[3.0]
    torch.testing.assert_close(loss, plain + 3 * metrics["guess"])
    torch.testing.assert_close(losses[1.0][0], plain + metrics["guess"])
    truth = one.obs["state"][:, 0, 1:] / 31 * 2 - 1
    seen = policy()
    guessed = seen.guesser(seen.encode(one.obs))
    torch.testing.assert_close(metrics["guess"], (guessed - truth).abs().mean().detach())


def test_what_acts_never_looks_at_the_truth():
    acting, one = policy(), batch(4, torch.Generator().manual_seed(0))
    rng = EpisodeRng(torch.arange(4))
    chunk = acting.act(one.obs, rng)
    state = one.obs["state"].clone()
    state[..., 1:] = 17.0
    assert torch.equal(acting.act({**one.obs, "state": state}, rng), chunk)


def test_it_learns_where_the_spot_is():
    learner, generator = policy(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    first = None
    for _ in range(50):
        loss, metrics = learner.loss(batch(32, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or float(metrics["guess"])
    held_out = batch(64, torch.Generator().manual_seed(2))
    assert float(learner.loss(held_out)[1]["guess"]) < 0.3 * first


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"guess": {"place": ["leg_"]}}, "guess.place: not among the flat obs_keys .state."),
        ({"guess": {"state": ["arm_"]}}, "guess.state: no element begins with 'arm_'; there are: ee_x"),
        ({"guess_weight": -1.0}, "guess_weight=-1.0: needs at least 0"),
    ],
)
def test_wrong_guesses_are_refused(changes, told):
    with pytest.raises(UserError, match=told):
        policy(**changes)


def test_without_a_guess_nothing_is_added():
    plain = MlpChunkPolicy(SPEC, MlpRegressor, obs_keys=("state",), horizon=2, execute=1)
    assert plain.guesser is None
    assert not any("guess" in name for name in plain.state_dict())


def test_by_default_it_guesses_what_the_policy_does_not_see():
    everything_hidden, named = policy(guess={"state": None}), policy()
    assert everything_hidden.guesser.num_guessed == named.guesser.num_guessed == 2
    truth = {"state": torch.tensor([[[1.0, 2.0, 3.0]]])}
    assert everything_hidden.guesser.truth(truth).tolist() == [[2.0, 3.0]]
    with pytest.raises(UserError, match="guess.state: the policy sees every named element of it"):
        policy(guess={"state": None}, elements=None)
