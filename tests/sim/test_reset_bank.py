"""Reset banks: the file, the draws, and what the vector env makes of them."""

import io
import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from bank_example import NUM_STATES, small_bank

from robofb.envs.furniture.one_leg import OneLeg
from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.errors import UserError
from robofb.sim.bank_kinds import KINDS, NO_KIND, kinds_of
from robofb.sim.reset_bank import BankDraw, ResetBank, model_digest
from robofb.sim.vec_env import SimVecEnv

SEEDS = torch.arange(20_000)


def numbered_bank(counts: tuple[int, int, int, int]) -> ResetBank:
    """Return a bank with so many states of each kind; state n is (n,)."""
    kind = np.repeat(np.arange(4, dtype=np.uint8), counts)
    return ResetBank(OneLegInsert().spec, "", np.arange(float(len(kind)))[:, None], kind, {})


def still(env: SimVecEnv, obs: dict) -> torch.Tensor:
    """Return actions that hold the hand where it is, closed where it is commanded to close."""
    closed = torch.where(env.task.gripper_closes(env.engine), 1.0, -1.0)
    return torch.cat([obs["state"][:, :9], closed[:, None]], -1)


def test_kinds_by_hand():
    """Open hands by their distance; closed ones only where they hold something that is up."""
    grasp_m = torch.tensor([[0.3], [0.05], [0.05], [0.01], [0.01], [0.01], [0.01]])
    lifted = torch.tensor([[0], [0], [0], [0], [1], [1], [0]]).bool()
    over = torch.tensor([[0], [0], [0], [0], [0], [1], [1]]).bool()
    closed = torch.tensor([0, 0, 1, 1, 1, 1, 1]).bool()
    assert kinds_of(grasp_m, lifted, over, closed).tolist() == [0, 1, NO_KIND, NO_KIND, 2, 3, 3]
    two = kinds_of(
        torch.tensor([[0.3, 0.01]]), torch.tensor([[True, True]]), torch.zeros(1, 2).bool(), closed[-1:]
    )
    assert two.tolist() == [2]  # the pair in hand counts, not the one that lies elsewhere


def test_share_of_the_bank_is_the_asked_one():
    """20,000 draws at p = 0.3: six deviations of a binomial are 6 sqrt(0.21 / 20,000) = 0.0194."""
    rows = BankDraw(numbered_bank((5, 5, 5, 5)), 0.3).draw(SEEDS)
    assert abs((rows >= 0).double().mean() - 0.3) < 0.0194
    assert (BankDraw(numbered_bank((5, 5, 5, 5)), 0.0).draw(SEEDS) == -1).all()
    assert (BankDraw(numbered_bank((5, 5, 5, 5)), 1.0).draw(SEEDS) >= 0).all()


def test_kinds_are_drawn_by_weight_and_their_states_evenly():
    """Weights 1 and 3 although the bank holds 8 and 2 states: 1/4 over 8 rows, 3/4 over 2."""
    bank = numbered_bank((8, 0, 2, 4))
    rows = BankDraw(bank, 1.0, {"reaching": 1, "near_object": 5, "grasped": 3}).draw(SEEDS)
    share = torch.bincount(rows, minlength=14).double() / len(SEEDS)
    expected = torch.tensor([1 / 32] * 8 + [3 / 8] * 2 + [0.0] * 4).double()
    deviation = (expected * (1 - expected) / len(SEEDS)).sqrt()
    assert ((share - expected).abs() <= 6 * deviation).all()  # what the bank lacks leaves its weight


def test_a_draw_depends_on_its_seed_alone():
    draw = BankDraw(numbered_bank((5, 5, 5, 5)), 0.5)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw.draw(SEEDS[:1000][order]), draw.draw(SEEDS[:1000])[order])


@pytest.mark.parametrize(
    ("share", "kinds", "message"),
    [
        (1.5, None, "bank_share=1.5: must lie in 0..1"),
        (float("nan"), None, "bank_share=nan"),
        (0.5, {"holding": 1.0}, "bank kind 'holding'; valid: reaching, near_object, grasped, near_goal"),
        (0.5, {"grasped": -1.0}, "grasped=-1.0: needs a weight of at least 0"),
        (0.5, {"grasped": 0.0}, "at least one needs a weight above 0"),
        (0.5, {"grasped": 1e308, "reaching": 1e308}, "their sum must be finite"),
        (0.5, {"near_goal": 1.0}, "holds no state of near_goal"),
    ],
)
def test_bad_draws_are_refused(share, kinds, message):
    with pytest.raises(UserError, match=message):
        BankDraw(numbered_bank((1, 1, 1, 0)), share, kinds)


def test_round_trip_gives_the_same_bank_and_the_same_bytes(tmp_path):
    bank = small_bank()
    bank.save(tmp_path / "a.npz")
    read = ResetBank.open(tmp_path / "a.npz")
    assert np.array_equal(read.states, bank.states) and np.array_equal(read.kind, bank.kind)
    assert (read.spec, read.model, read.provenance) == (bank.spec, bank.model, bank.provenance)
    assert read.counts == dict.fromkeys(KINDS, NUM_STATES // 4)
    read.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def write(path, **arrays):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


class Bomb:
    """Tells when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def header(bank: ResetBank, **changes) -> bytes:
    values = {"format": "robofb-reset-bank", "version": 1, "spec": bank.spec.to_dict(), "model": "m"}
    return npy(np.frombuffer(json.dumps({**values, "provenance": {}, **changes}).encode(), np.uint8))


def test_damaged_and_hostile_files_are_refused_in_one_line(tmp_path):
    bank, path = small_bank(), tmp_path / "bank.npz"
    states, kind, good = npy(bank.states), npy(bank.kind), header(bank)
    huge = npy(bank.states).replace(b"(24,", b"(2400000000000,")
    for content in (
        {"header": good, "states": states},
        {"header": good, "states": states, "kind": kind, "more": kind},
        {"header": good, "states": npy(np.array([Bomb()], object)), "kind": kind},
        {"header": pickle.dumps(Bomb()), "states": states, "kind": kind},
        {"header": header(bank, version=2), "states": states, "kind": kind},
        {"header": header(bank, spec={}), "states": states, "kind": kind},
        {"header": header(bank, provenance=3), "states": states, "kind": kind},
        {"header": npy(np.zeros(5, np.uint8)), "states": states, "kind": kind},
        {"header": good, "states": npy(bank.states * np.nan), "kind": kind},
        {"header": good, "states": npy(bank.states.astype(np.float32)), "kind": kind},
        {"header": good, "states": states, "kind": npy(bank.kind[1:])},
        {"header": good, "states": states, "kind": npy(bank.kind + np.uint8(4))},
        {"header": good, "states": states[:-9], "kind": kind},
        {"header": good, "states": huge, "kind": kind},
    ):
        write(path, **content)
        with pytest.raises(UserError, match="is no sound reset bank") as refused:
            ResetBank.open(path)
        assert "\n" not in str(refused.value)
    path.write_bytes(b"not a zip")
    with pytest.raises(UserError, match="is no sound reset bank"):
        ResetBank.open(path)
    with pytest.raises(UserError, match="cannot be read"):
        ResetBank.open(tmp_path / "nothing.npz")
    with pytest.raises(UserError, match="cannot be read"):
        ResetBank.open(tmp_path)


def test_a_bank_of_another_task_or_scene_is_refused_by_name():
    bank = small_bank()
    with pytest.raises(UserError, match="holds task 'one_leg_insert', not 'one_leg'"):
        SimVecEnv(OneLeg(), 1, bank=BankDraw(bank, 0.5))
    with pytest.raises(UserError, match="made for another scene of task one_leg_insert"):
        SimVecEnv(OneLegInsert(), 1, bank=BankDraw(replace(bank, model="0" * 64), 0.5))
    short = replace(bank, states=bank.states[:, :-1].copy())
    with pytest.raises(UserError, match=f"holds states of {short.states.shape[1]} values"):
        SimVecEnv(OneLegInsert(), 1, bank=BankDraw(short, 0.5))


def test_the_digest_knows_names_and_shapes():
    model = OneLegInsert().model
    assert model_digest(model) == model_digest(OneLegInsert("high").model) == small_bank().model
    assert model_digest(model) != model_digest(OneLeg().model)
    before = model_digest(model)
    model.geom_size[3, 0] += 1e-4
    assert model_digest(model) != before


def outcomes(num_envs: int, bank: BankDraw | None, episodes: int) -> dict[int, list[torch.Tensor]]:
    """Return what each episode shows in its five steps, by its number, and where it started."""
    env = SimVecEnv(OneLegInsert(max_steps=5), num_envs, bank=bank)
    shown: dict[int, list[torch.Tensor]] = {}
    obs = env.reset(3)
    while min(env.episode) < episodes:
        numbers = env.episode.tolist()
        step = env.step(still(env, obs))
        obs = step.obs
        for world, number in enumerate(numbers):
            banked = step.info["from_bank"][world : world + 1].float() if bank else torch.zeros(1)
            shown.setdefault(number, []).append(torch.cat([step.final_obs["state"][world], banked]))
    env.close()
    return {number: rows for number, rows in shown.items() if number < episodes}


def test_the_tasks_own_episodes_are_bit_equal_and_none_depends_on_the_batch():
    small = replace(small_bank(), spec=OneLegInsert(max_steps=5).spec)
    alone, mixed, wide = (
        outcomes(num_envs, bank, 12)
        for num_envs, bank in ((4, None), (4, BankDraw(small, 0.5)), (6, BankDraw(small, 0.5)))
    )
    from_bank = [bool(mixed[number][0][-1]) for number in range(12)]
    assert 0 < sum(from_bank) < 12
    for number in range(12):
        same = all(torch.equal(a[:-1], b[:-1]) for a, b in zip(alone[number], mixed[number], strict=True))
        assert same != from_bank[number]
        assert all(torch.equal(a, b) for a, b in zip(mixed[number], wide[number], strict=True))


def test_state_dict_continues_exactly_and_old_ones_still_load():
    bank = BankDraw(replace(small_bank(), spec=OneLegInsert(max_steps=4).spec), 0.5)
    env, fresh = (SimVecEnv(OneLegInsert(max_steps=4), 3, bank=bank) for _ in range(2))
    obs = env.reset(1)
    for _ in range(3):
        obs = env.step(still(env, obs)).obs
    saved = env.state_dict()
    again = fresh.load_state_dict(saved)
    for _ in range(9):
        want, got = env.step(still(env, obs)), fresh.step(still(fresh, again))
        obs, again = want.obs, got.obs
        assert torch.equal(want.obs["state"], got.obs["state"])
        assert torch.equal(want.info["from_bank"], got.info["from_bank"])
    del saved["from_bank"]
    fresh.load_state_dict(saved)


def test_without_a_bank_nothing_is_told_of_one():
    env = SimVecEnv(OneLegInsert(), 1)
    assert "from_bank" not in env.step(still(env, env.reset(0))).info


def test_what_is_assembled_in_a_bank_state_earns_nothing():
    """In a state in which one of two goals holds, only the other pays."""

    class TwoGoals(OneLegInsert):
        def score(self, engine):
            return super().score(engine)._replace(achieved=torch.ones(engine.num_worlds))

    env = SimVecEnv(TwoGoals(), 2, bank=BankDraw(small_bank(), 1.0))
    assert env.step(still(env, env.reset(0))).reward.tolist() == [0.0, 0.0]
    plain = SimVecEnv(TwoGoals(), 2)
    assert plain.step(still(plain, plain.reset(0))).reward.tolist() == [1.0, 1.0]
