"""Plans from another machine: the same to the last bit, and none where it is slow or gone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from live_conditions import in_mode
from live_parts import Script, run_line
from policy_server_peer import CHECKPOINT, LinePeer, line_peer, verb_server
from residual_example import save_residual_run

from robofb.config import compose
from robofb.deploy.live.deployment import parts_of
from robofb.deploy.live.fake import SPEC, LinePlans, say, unsay
from robofb.deploy.live.policy_process import NoPlanError, RunPolicy
from robofb.deploy.live.remote_policy import RemotePlans, RemotePolicy
from robofb.deploy.policy_server import tls_of
from robofb.deploy.replay import replay
from robofb.deploy.run_policy import deploy
from robofb.deploy.teleop.web_tls import make_certificate
from robofb.errors import UserError
from robofb.run import Run
from robofb.store.episodes import EpisodeStore

PATIENCE_S = 60.0
OBS = {"state": torch.zeros(1, *SPEC.obs["state"].shape)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return save_residual_run(tmp_path_factory.mktemp("served") / "run")


def test_plans_are_those_of_the_policy_here_to_the_last_bit(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-word-that-nobody-says")
    here = RunPolicy(run.path).make()
    spec = here.agent.policy.spec
    words = [f"run={run.path}", f"token={tmp_path / 'token'}", f"tls={tmp_path}"]
    with verb_server(*words) as (port, lines):
        assert lines == [f"policy server 127.0.0.1:{port}, TLS"]
        certificate = tmp_path / "server_cert.pem"
        found = RemotePolicy(
            f"127.0.0.1:{port}", tmp_path / "token", spec, run.checkpoint_digest(), certificate, plan_s=30.0
        )
        with closing(found.make()) as there:
            draws = np.random.default_rng(0)
            lengths = []
            for seed, skips in ((3, ()), (4, (2, 5, 6)), (-(2**63), (1,))):
                here.begin(seed)
                there.begin(seed)
                for step in range(10):
                    if step in skips:
                        here.skip()
                        there.skip()
                    state = draws.normal(size=(1, *spec.obs["state"].shape)).astype(np.float32)
                    expected = here.plan({"state": torch.from_numpy(state)})
                    plan = there.plan({"state": torch.from_numpy(state)})
                    np.testing.assert_array_equal(plan, expected, strict=True)
                    lengths.append(len(plan))
            assert lengths[:10] == [8, 7, 6, 5, 4, 3, 2, 1, 8, 7]
            assert lengths[10:20] == [8, 7, 8, 7, 6, 8, 8, 7, 6, 5]  # planned anew after a skip
            here.begin(5)
            there.begin(6)
            assert not np.array_equal(there.plan(obs_of(spec)), here.plan(obs_of(spec)))


def obs_of(spec) -> dict[str, torch.Tensor]:
    return {"state": torch.zeros(1, *spec.obs["state"].shape)}


@pytest.mark.slow
def test_a_deployment_asks_the_server_for_its_plans(run: Run) -> None:
    """What this untrained policy plans is refused three times in a row, wherever it plans, and kept."""
    with verb_server(f"run={run.path}") as (port, lines):
        word, token = lines[0].split()
        assert word == "token" and len(token) >= 32
        (run.path / "token").write_text(token)
        words = [f"run={run.path}", "episodes=1", "realtime=true", "attended=false", "watch.alone_s=20"]
        words += ["max_steps=1000", "patience_s=30"]  # of a loaded machine
        words += [f"policy_server=127.0.0.1:{port}", f"policy_token={run.path / 'token'}"]
        data = run.path / "deployed"
        cfg = compose("deploy", [*words, f"data={data}"])
        found = deploy(cfg)
        assert found.ended[0].startswith("aborted: 3 chunks in a row refused: 6D rotation")
        source = parts_of(cfg, run.path, RunPolicy(run.path).make().agent.policy.spec).policy.source
        assert isinstance(source, RemotePolicy) and source.checkpoint == run.checkpoint_digest("best")
        with EpisodeStore.open(data) as store:
            facts = store[0].meta
        assert facts["policy_server"] == {"host": "127.0.0.1", "port": port}
        assert facts["run"] == str(run.path) and facts["checkpoint_sha256"] == run.checkpoint_digest("best")
        (difference,) = replay(compose("deploy replay", [f"data={data}"]))
        assert difference.plans >= 2 and difference.same == difference.plans and not difference.other_weights
        (run.path / "token").write_text("a-word-that-nobody-says")
        with pytest.raises(UserError, match=f"policy_server=127.0.0.1:{port}: wrong token"):
            deploy(cfg)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["policy_server=robot:80"], "say policy_token=FILE too"),
        (["policy_server=robot:80", "policy_token=t"], "say policy_certificate=FILE too"),
        (["policy_server=robot", "policy_token=t"], "policy_server=robot: needs host:port"),
        (["policy_server=robot:80", "policy_token=t", "realtime=false"], "needs realtime=true"),
        (["policy_server=robot:80", "policy_token=t", "execute=2"], "execute=2: the policy server says"),
        (["policy_token=t"], "need policy_server=host:port"),
        (["policy_certificate=c"], "need policy_server=host:port"),
        (["policy_server=", "policy_token=t"], "policy_server=: needs host:port"),
        (["policy_server='a b:80'", "policy_token=t"], "policy_server=a b:80: needs host:port"),
        (["policy_server=localhost:80", "policy_token="], "policy_token=: needs a file that holds the token"),
        (["policy_server=localhost:80", "policy_token=t"], "policy_token=t: No such file"),
        (["page=true", "page_host="], "page_host=: needs a host's name or IP address"),
    ],
)
def test_bad_words_are_refused_in_one_line(run: Run, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        deploy(compose("deploy", [f"run={run.path}", "realtime=true", "attended=false", *words]))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_token_that_cannot_be_read_is_told_before_anything_is_loaded() -> None:
    words = [
        "run=/nowhere",
        "policy_server=localhost:80",
        "policy_token=t",
        "realtime=true",
        "attended=false",
    ]
    with pytest.raises(UserError, match="policy_token=t: No such file"):
        deploy(compose("deploy", words))


def source_of(folder: Path, port: int, **more: object) -> RemotePolicy:
    source = RemotePolicy(f"127.0.0.1:{port}", folder / "token", SPEC, CHECKPOINT, pause_s=0.05, plan_s=20.0)
    return replace(source, **more)


def test_only_the_right_server_is_believed(tmp_path: Path) -> None:
    """Another certificate, another policy, another task, no TLS, no token, nobody there."""
    other, _ = make_certificate(tmp_path, ["localhost", "127.0.0.1"], "other")
    with line_peer(tmp_path, tmp_path / "tls") as peer:
        own = tmp_path / "tls/server_cert.pem"
        source = source_of(tmp_path, peer.listen(), certificate=own)
        wrong = {
            "CERTIFICATE_VERIFY_FAILED": replace(source, certificate=other),
            "say policy_certificate": replace(source, certificate=None),
            "is no certificate in PEM": replace(source, certificate=tmp_path / "token"),
            "nothing.pem: No such file": replace(source, certificate=tmp_path / "nothing.pem"),
            "another checkpoint": replace(source, checkpoint="1" * 64),
            "holds task 'line', not 'row'": replace(source, spec=replace(SPEC, task="row")),
            "policy_token=nothing: No such file": replace(source, token=Path("nothing")),
        }
        for message, other_source in wrong.items():
            said = refusal_of(other_source)
            assert message in said and "\n" not in said
        with closing(patiently(source.make)) as plans:
            assert plans.plan(OBS).shape == (8, 10)
            with pytest.raises(UserError, match="another client drives"):
                source.make()
    with pytest.raises(UserError, match=f"policy_server={source.address}: .*refused"):
        source.make()


def refusal_of(source: RemotePolicy) -> str:
    """Return why a server is not believed, once it has missed whoever came before."""
    while True:
        with pytest.raises(UserError) as error:
            source.make()
        if "another client drives" not in str(error.value):
            return str(error.value)


def test_who_signed_a_certificate_is_not_trusted_for_it(tmp_path: Path) -> None:
    """The certificate itself is, whoever signed it."""
    authority, key = make_certificate(tmp_path, ["authority"], "authority")
    (tmp_path / "tls").mkdir()
    own = tmp_path / "tls/server_cert.pem"
    words = f"openssl req -x509 -CA {authority} -CAkey {key} -newkey ec -nodes -subj /CN=signed -days 9"
    words += f" -pkeyopt ec_paramgen_curve:prime256v1 -out {own} -keyout {tmp_path / 'tls/server_key.pem'}"
    subprocess.run(words.split(), check=True, capture_output=True)
    with line_peer(tmp_path, tmp_path / "tls") as peer:
        source = source_of(tmp_path, peer.listen(), certificate=authority)
        with pytest.raises(UserError, match=f"its certificate is not {authority}"):
            source.make()
        with closing(patiently(replace(source, certificate=own).make)) as plans:
            assert plans.plan(OBS).shape == (8, 10)


def test_who_stalls_gives_no_plan_in_time_and_is_found_again(tmp_path: Path) -> None:
    with line_peer(tmp_path, tmp_path / "tls") as peer:
        certificate = tmp_path / "tls/server_cert.pem"
        source = source_of(tmp_path, peer.listen(), certificate=certificate, plan_s=0.3, connect_s=0.3)
        with closing(patiently(source.make)) as plans:
            plans.begin(0)
            peer.pause()
            for _ in range(3):  # the first after its deadline, the others at once
                with pytest.raises(NoPlanError):
                    plans.plan(OBS)
            peer.go_on()
            assert patiently(lambda: plans.plan(OBS)).shape == (8, 10)


def patiently(what: Callable):
    """Do what a loaded machine may not do in time the first time."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return what()
        except (NoPlanError, UserError):
            assert time.monotonic() < until_s
            time.sleep(0.05)


def test_a_policy_that_was_lost_begins_anew_with_its_seed(tmp_path: Path) -> None:
    """`LinePlans` turn back at their tenth plan, and here at the tenth after the one that was lost."""
    with ExitStack() as stack:
        peer = stack.enter_context(line_peer(tmp_path))
        source = source_of(tmp_path, peer.listen(), plan_s=2.0, connect_s=20.0)
        plans = stack.enter_context(closing(source.make()))
        plans.begin(0)
        ways = [way_of(plans) for _ in range(5)]
        peer.pause()
        with pytest.raises(NoPlanError):
            plans.plan(OBS)
        peer.go_on()
        ways += [patiently(lambda: way_of(plans))]
        ways += [way_of(plans) for _ in range(9)]
    assert ways == [0.01] * 14 + [-0.01]


def way_of(plans: RemotePlans | LinePlans) -> float:
    return round(float(np.diff(plans.plan(OBS)[:2, 1])[0]), 3)


def test_a_server_is_looked_for_so_often_and_again_when_the_policy_begins(tmp_path: Path) -> None:
    with line_peer(tmp_path) as peer, line_peer(tmp_path) as other:
        port = peer.listen()
        with closing(source_of(tmp_path, port, tries=2).make()) as plans:
            peer.kill()
            with pytest.raises(NoPlanError):
                plans.plan(OBS)
            assert plans._looking is not None
            plans._looking.join(PATIENCE_S)
            assert not plans._looking.is_alive()
            other.listen(port)
            time.sleep(0.3)
            with pytest.raises(NoPlanError):  # nobody looks any more
                plans.plan(OBS)
            plans.begin(1)
            assert patiently(lambda: plans.plan(OBS)).shape == (8, 10)
        plans.close()


class Insisting(Script):
    """Also starts the arm whenever it holds, once told to insist."""

    insists = False

    def events(self) -> list[str]:
        found = super().events()
        if not found and self.insists and self.seen and self.seen[-1]["arm"] == "hold":
            return ["start"]
        return found

    def insist(self) -> None:
        self.insists = True


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[tuple[LinePeer, LinePeer]]:
    """Two servers with the same certificate."""
    tls_of(tmp_path / "tls", "127.0.0.1")
    with line_peer(tmp_path, tmp_path / "tls") as peer, line_peer(tmp_path, tmp_path / "tls") as other:
        yield peer, other


def test_an_arm_holds_while_its_server_is_gone_and_a_person_goes_on(
    tmp_path: Path, peers: tuple[LinePeer, LinePeer]
) -> None:
    peer, other = peers
    port = peer.listen()
    source = source_of(tmp_path, port, certificate=tmp_path / "tls/server_cert.pem", plan_s=1.0)
    script = Insisting(
        [
            (lambda status: True, "start"),
            (in_mode("policy", 6), peer.kill),
            (in_mode("hold"), lambda: other.listen(port)),
            (in_mode("hold"), lambda: script.insist()),
            (in_mode("policy", 20), other.pause),
            (in_mode("hold"), other.go_on),
            (in_mode("policy", 35), "success"),
        ]
    )
    _, outcome = run_line(tmp_path, script, attended=True, max_steps=500, source=source)
    assert [each.label for each in outcome.ended] == ["success"] and outcome.restarts == {}
    running = [status for status in script.seen if status["session"] == "running"]
    assert {status["episode"] for status in running} == {"0 of 1"}
    assert {status["why"] for status in running if status["arm"] == "hold"} == {"no plan came in time"}
    assert {status["arm"] for status in running} == {"policy", "hold"}


def test_late_plans_from_a_server_are_cut(tmp_path: Path, peers: tuple[LinePeer, LinePeer]) -> None:
    """As those of a policy here are: nothing holds, and nothing is lost."""
    peer, _ = peers
    source = source_of(tmp_path, peer.listen(), certificate=tmp_path / "tls/server_cert.pem")
    script = Insisting(
        [
            (in_mode("policy", 5), lambda: say(tmp_path, "slow")),
            (in_mode("policy", 15), lambda: unsay(tmp_path, "slow")),
        ]
    )
    _, outcome = run_line(tmp_path, script, max_steps=25, source=source)
    assert [(each.label, each.why) for each in outcome.ended] == [("failure", "time")]
