"""A simulated arm in real time with its cameras, in real processes: what they show, when, and what fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from image_run import SIZE_PX, TASK, save_image_run
from live_conditions import in_mode
from live_parts import Script

from robofb.build import build
from robofb.config import compose
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.limits import Limits
from robofb.deploy.live import deployment
from robofb.deploy.live.arm_process import ArmLoop, ArmSetup
from robofb.deploy.live.bench import SEEN, RealBench
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.lookout import Lookout, Picture
from robofb.deploy.live.places import RealPlace
from robofb.deploy.live.process import Life, attacher
from robofb.deploy.live.records import Addresses, Rings
from robofb.deploy.live.session import LiveSession, Parts
from robofb.deploy.replay import replay
from robofb.deploy.run_policy import deploy
from robofb.deploy.scene import numbers_of, stand, told
from robofb.deploy.watch import Watch
from robofb.errors import UserError
from robofb.loading import load_policy
from robofb.run import Run
from robofb.sim.render import Renderer
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore

STEPS, EPISODES = 15, 2
PATIENCE_S = 180.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return save_image_run(tmp_path_factory.mktemp("seeing") / "run", STEPS)


def words(run: Run, *more: str) -> list[str]:
    """Return what a user says, on a machine with other things to do."""
    patient = ["watch.frozen_s=5", "watch.alone_s=30", "watch.first_plan_s=30", "patience_s=5", "abort_s=20"]
    arm = ["arm=sim", "realtime=true", "arm.parts=4", "camera=sim", "~cameras.wrist"]
    return [f"run={run.path}", *arm, *patient, *more]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the arm's process take its time."""
    make = deployment.parts_of
    monkeypatch.setattr(deployment, "parts_of", lambda *args: replace(make(*args), arm_hung_s=30.0))


@dataclass
class Witness:
    """An operator that says nothing, and keeps what the processes say of scene and pictures.

    Attributes:
        states: by when the scene came to stand so.
        images: (3, H, W), by the same.
        shown: what a page would show at the end.
    """

    states: dict[float, np.ndarray] = field(default_factory=dict)
    images: dict[float, np.ndarray] = field(default_factory=dict)
    shown: Mapping[str, Picture] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        attach = attacher(self.stack)
        self._scene, self._frames = attach(addresses.scene), attach(addresses.frames["front"])
        self._lookout = Lookout(addresses, attach)

    def events(self) -> list[str]:
        for _, state in self._scene.since(0):
            self.states[float(state["at_s"])] = told(state).copy()
        for _, frame in self._frames.since(0):
            self.images[float(frame["captured_s"])] = frame["image"].copy()
        self.shown = self._lookout.look(time.monotonic()).pictures
        return []

    def show(self, status: Mapping[str, str]) -> None: ...

    def open(self) -> None: ...

    def close(self) -> None:
        self.stack.close()


@dataclass
class Painter:
    """Renders states of the task's scene, as in simulated time."""

    env: SimVecEnv
    renderer: Renderer

    def picture(self, numbers: np.ndarray) -> np.ndarray:
        stand(self.env.engine, numbers)
        return self.renderer.frame(0, "front").transpose(2, 0, 1)

    def start(self, seed: int) -> np.ndarray:
        """Return the numbers of the scene in which the episode of a seed begins."""
        arm = SimArm(self.env, 1)
        arm.begin(seed)
        return numbers_of(self.env.engine)


@pytest.fixture
def painter() -> Iterator[Painter]:
    with (
        closing(SimVecEnv(build({**TASK, "max_steps": STEPS}), 1, autoreset=False)) as env,
        Renderer(env.engine, *SIZE_PX) as renderer,
    ):
        yield Painter(env, renderer)


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_a_policy_sees_and_the_dataset_holds_the_scene_as_it_stood(
    run: Run, painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures in flight and recorded ones are renderings of the states that the arm's process told."""
    witness, data = Witness(), tmp_path / "data"
    monkeypatch.setattr(deployment, "Nobody", lambda: witness)
    found = deploy(compose("deploy", words(run, f"data={data}", f"episodes={EPISODES}")))
    assert found.ended == [] and len(found.steps) == EPISODES and min(found.steps) > STEPS // 2
    both = sorted(witness.states.keys() & witness.images.keys())
    assert len(both) > 20  # a busy machine may have kept the witness from some
    for at_s in both:
        np.testing.assert_array_equal(witness.images[at_s], painter.picture(witness.states[at_s]))
    times = sorted(witness.states)
    drawn: dict[bytes, list[float]] = {}  # a scene that settles may look again as it did a moment before
    for at_s in times:
        drawn.setdefault(painter.picture(witness.states[at_s]).tobytes(), []).append(at_s)
    assert witness.shown["front"].image.transpose(2, 0, 1).tobytes() in drawn
    with EpisodeStore.open(data) as store:
        assert len(store) == EPISODES
        for episode in store:
            assert episode.meta["cameras"] == {"front": {"kind": "SimCamera", "source": "simulated scene"}}
            start = painter.start(episode.meta["episode_seed"])
            began_s = next(at_s for at_s in times if np.array_equal(witness.states[at_s], start))
            seen = [drawn[key] for image in episode.obs["image_front"] if (key := image.tobytes()) in drawn]
            known_s = [began_s]  # nothing of the episode before it
            for each in seen:
                known_s.append(min(at_s for at_s in each if at_s >= known_s[-1]))
            assert len(seen) > 0.8 * len(episode.obs["image_front"])
            assert len(set(known_s[1:])) > len(seen) // 2
    again = replay(compose("deploy replay", [f"data={data}"]))
    assert all(each.plans > STEPS // 2 and each.same == each.plans for each in again)  # of what it saw


@pytest.mark.slow
def test_what_the_arm_does_not_say_is_old_and_a_camera_that_dies_comes_back(run: Run) -> None:
    """While the arm's process stands still nothing is shown; where only the scene does, all is well."""
    blind = "a camera shows nothing new"
    script = Script(
        [
            (lambda status: True, "start"),
            (in_mode("policy", steps=2), lambda: kill("arm", signal.SIGSTOP)),
            (lambda status: True, lambda: time.sleep(3.0)),
            (lambda status: True, lambda: kill("arm", signal.SIGCONT)),
            (in_mode("hold", why=blind), lambda: until_it_shows()),
            (in_mode("hold", why=blind), "start"),
            (in_mode("policy", steps=4), lambda: kill("camera front", signal.SIGKILL)),
            (in_mode("hold", why=blind), lambda: until_it_shows()),
            (in_mode("hold", why=blind), "start"),
            (in_mode("policy", steps=6), "success"),
        ],
        PATIENCE_S,
    )
    cfg = compose(
        "deploy",
        [*words(run), "watch.frozen_s=1.5", f"task={{_target_: {TASK['_target_']}, max_steps: 100000}}"],
    )
    spec = load_policy(run).spec
    parts = replace(deployment.parts_of(cfg, run.path, spec), arm_hung_s=30.0)
    session = LiveSession(parts, Conductor(1, 3, attended=True, max_steps=10_000, abort_s=PATIENCE_S), script)

    def kill(name: str, what: int) -> None:
        os.kill(session.crew.pids[name], what)

    def until_it_shows() -> None:
        """Wait for pictures of the arm at rest, for longer than `frozen_s`."""
        glances = session.rings.glances["front"]
        before, began_s = glances.latest(), time.monotonic()
        assert before is not None
        while glances.latest().number < before.number + 3 or time.monotonic() < began_s + 2.5:  # type: ignore[union-attr]
            assert time.monotonic() < began_s + PATIENCE_S
            session.crew.check()
            time.sleep(0.02)

    outcome = session.run()
    assert [each.label for each in outcome.ended] == ["success"], outcome.ended
    assert outcome.restarts == {"camera front": 1}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (["+cameras.wrist.fps=20"], "the policy sees cameras front; here are front, wrist: say camera=..."),
        (["~cameras.front"], r"the policy sees cameras front; here are none: .*\(camera=sim for arm=sim\)"),
        (["cameras.front.task=null"], r"camera front \(sim\) sees the task of a simulated arm alone"),
    ],
)
@pytest.mark.usefixtures("patient")
def test_bad_words_are_refused_in_one_line(run: Run, said: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        deploy(compose("deploy", words(run, *said)))
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("patient")
def test_without_opengl_it_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disabled")  # of processes that begin now
    with pytest.raises(
        UserError, match=r"cannot render: .* apt install libegl1 libegl-mesa0 libgl1-mesa-dri"
    ):
        deploy(compose("deploy", words(run)))


def test_an_episode_begins_when_every_camera_has_shown_it() -> None:
    """Pictures from before it are another scene's. One that shows nothing for too long is judged as any."""
    setup = ArmSetup(RealPlace({}, 50.0, SEEN), Limits(), Watch(frozen_s=0.2), 0.1)
    with (
        closing(Rings(len(SEEN), {"front": (4, 6), "wrist": (4, 6)}, ["arm"])) as rings,
        ExitStack() as stack,
    ):
        life = Life(rings.beats["arm"], os.getppid())
        loop = ArmLoop(RealBench(IdealArm(), 50.0, SEEN), setup, rings.addresses, stack, life)

        def episode() -> int:
            loop.tick()
            newest = rings.ticks.latest()
            assert newest is not None
            return int(newest.value["episode"])

        def show(name: str, captured_s: float) -> None:
            rings.glances[name].write(sequence=0, captured_s=captured_s, digest=0, rendered=0)

        def order(kind: bytes, number: int) -> None:
            rings.orders.write(kind=kind, what=b"", episode=number, seed=0, reason=b"")

        clock = [100.0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: clock[0])
            show("front", 99.99)
            show("wrist", 99.99)
            order(b"begin", 0)
            assert episode() == -1
            clock[0] += 0.05
            show("front", 100.03)
            assert episode() == -1  # the wrist's is old
            show("wrist", 100.04)
            assert episode() == 0
            order(b"end", 0)
            assert episode() == -1
            order(b"begin", 1)
            assert episode() == -1
            clock[0] += 0.19
            assert episode() == -1
            clock[0] += 0.02
            assert episode() == 1
