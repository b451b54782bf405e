"""A whole deployment on each arm's peer: home, follow a policy within the limits, rest, be let go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arm_makers import PEERS
from live_parts import SPEC, STEP_S, Script

from robofb.build import build
from robofb.deploy.live.arm_process import ArmSetup
from robofb.deploy.live.bench import SEEN
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.draft import recorded_spec
from robofb.deploy.live.fake import LinePolicy
from robofb.deploy.live.places import RealPlace
from robofb.deploy.live.policy_process import PolicySetup
from robofb.deploy.live.recorder_process import RecordSetup
from robofb.deploy.live.session import LiveSession, Parts
from robofb.store.episodes import EpisodeStore


@pytest.mark.parametrize("dry", [False, True], ids=["driven", "dry"])
@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_policy_drives_it(name: str, dry: bool, tmp_path: Path) -> None:
    data, steps = tmp_path / "data", 12
    with PEERS[name]() as (cfg, orders):
        limits = replace(build(cfg.limits), **({"joints": None} if dry else {}))
        place = RealPlace(plain(cfg.arm), cfg.control_hz, SEEN, dry)
        watch = replace(build(cfg.watch), stale_s=2.0, alone_s=20.0)  # on a busy machine all halt
        arm = ArmSetup(place, limits, watch, STEP_S, patience_s=2.0)
        parts = Parts(
            arm,
            PolicySetup(LinePolicy(tmp_path), STEP_S),
            len(SEEN),
            recorder=RecordSetup(data, recorded_spec(SPEC)),
            arm_hung_s=20.0,
        )
        conductor = Conductor(1, 0, attended=False, max_steps=steps)
        outcome = LiveSession(parts, conductor, Script()).run()
        assert (orders() == 0) is dry  # as the peer itself says
    assert [(each.label, each.why) for each in outcome.ended] == [("failure", "time")]
    with EpisodeStore.open(data) as store:
        (episode,) = list(store)
    assert len(episode) == steps
    places = episode.obs["state"][:, :3]
    assert (places >= limits.low_m).all() and (places <= limits.high_m).all()
    went = float(np.abs(np.diff(places[:, 1])).sum())
    assert went > 0.02  # the policy asks for 1 cm a step: measured, or what it would be
