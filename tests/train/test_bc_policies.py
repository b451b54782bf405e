"""Behaviour cloning of every kind of chunk policy: learns, resumes exactly, loads, decays what it should."""

from functools import partial

import pytest
import torch
from nets.test_transformer1d import SMALL as SMALL_TRANSFORMER

from robofb.errors import UserError
from robofb.loading import load_policy
from robofb.nets.mlp import MlpDenoiser, MlpRegressor
from robofb.nets.transformer1d import Transformer1D
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.mlp_chunk import MlpChunkPolicy
from robofb.rng import EpisodeRng, derive_seeds
from robofb.run import Run
from robofb.train import bc
from robofb.train.bc_learner import parameter_groups
from train.test_bc import POLICY, SPEC, assert_equal, learner_of, train, write_dataset

TRANSFORMER = {
    "_target_": "robofb.nets.transformer1d.Transformer1D",
    "_partial_": True,
    "width": 32,
    "num_layers": 1,
}
FLOW = {
    "_target_": "robofb.policies.flow.FlowSchedule",
    "_partial_": True,
    "num_inference_steps": 2,
    "midpoint": True,
    "times": {"_target_": "robofb.policies.flow.LogitNormalTimes", "_partial_": True},
}
REGRESSOR = {"_target_": "robofb.nets.mlp.MlpRegressor", "_partial_": True, "width": 32, "num_blocks": 1}
NODES = {
    "transformer": {**POLICY, "denoiser": TRANSFORMER},
    "flow": {**POLICY, "schedule": FLOW},
    "chunk": {
        **{key: value for key, value in POLICY.items() if key != "denoiser"},
        "_target_": "robofb.policies.mlp_chunk.MlpChunkPolicy",
        "regressor": REGRESSOR,
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("bc") / "data", episodes=10)


@pytest.mark.parametrize("name", NODES)
def test_resumes_to_the_same_weights_which_load_and_act(data, tmp_path, monkeypatch, name):
    changes = {"policy": NODES[name], "weight_decay": 0.1}
    whole = train(data, tmp_path / "whole", **changes)
    step = bc.BcTraining._step

    def stops_after_15(self):
        if self.learner.steps == 15:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(bc.BcTraining, "_step", stops_after_15)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "cut", **changes)
    assert Run.open(tmp_path / "cut").load_checkpoint()["step"] == 10
    resumed = train(data, tmp_path / "cut", resume=str(tmp_path / "cut"), **changes)
    assert_equal(learner_of(resumed), learner_of(whole))
    rng = EpisodeRng(derive_seeds(0, torch.arange(3)))
    chunk = load_policy(resumed).act({"state": torch.zeros(3, 1, 4)}, rng)
    assert chunk.shape == (3, 8, 3)


@pytest.mark.parametrize(("name", "steps"), [("transformer", 300), ("chunk", 200)])  # flow: test_diffusion.py
def test_learns_to_reach(tmp_path, name, steps):
    data = write_dataset(tmp_path / "data", episodes=40)
    budget = {"steps": steps, "batch_size": 32, "validate_every": steps, "ema_decay": 0.95, "lr": 4e-3}
    run = train(data, tmp_path / "run", policy=NODES[name], **budget)
    error = run.summary()["bc_training"]["action_error_normalised"]
    assert error < 0.32  # the mean action has 0.43 on these four episodes


def groups_of(network):
    policy = DiffusionPolicy(SPEC, network)
    names = {id(parameter): name for name, parameter in policy.named_parameters()}
    groups = parameter_groups(policy, 1e-3)
    return [(group["weight_decay"], [names[id(p)] for p in group["params"]]) for group in groups]


def test_matrices_of_the_transformer_decay_and_nothing_else_of_it():
    (decay, matrices), (none, rest) = groups_of(partial(Transformer1D, **SMALL_TRANSFORMER))
    assert (decay, none) == (1e-3, 0.0)
    assert all(name.endswith(".weight") and "norm" not in name for name in matrices)
    assert "denoiser.position" in rest and "denoiser.stem.weight" in matrices
    assert {name.rpartition(".")[2] for name in rest} == {"weight", "bias", "position"}


def test_everything_of_other_networks_decays_as_it_always_has():
    ((decay, names),) = groups_of(partial(MlpDenoiser, width=16))
    assert decay == 1e-3
    assert "denoiser.stem.bias" in names
    chunk = MlpChunkPolicy(SPEC, partial(MlpRegressor, width=16))
    ((only),) = parameter_groups(chunk, 1e-3)
    assert len(only["params"]) == len(list(chunk.parameters()))


def test_refuses_a_config_that_says_two_schedules(data, tmp_path):
    node = {**POLICY, "schedule": FLOW, "prediction": "sample"}
    with pytest.raises(UserError, match="prediction: of DDIM; a policy with a `schedule`") as error:
        train(data, tmp_path / "run", policy=node)
    assert "\n" not in str(error.value)
