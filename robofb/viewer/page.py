"""The viewer's page: viser's widgets around a `Session`."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.sim.recorded import RecordedScene
from robofb.store.named_values import group_values, pose_tracks, value_groups
from robofb.types import SIM_STATE
from robofb.viewer.scene import ModelNodes, PoseNodes
from robofb.viewer.session import Session
from robofb.viewer.texts import facts_html, marks_html, message_html, status_html
from robofb.viewer.timeline import Timeline

FRAME_S = 1 / 20  # between two looks at the clock while playing
EYE_M, LOOK_AT_M = (1.2, -0.7, 0.65), (0.4, 0.0, 0.15)
SIDE_WIDTH_PX = 360
SPEEDS = ("0.25", "0.5", "1", "2", "4")
CHOSEN_FIRST = ("ee_pos", "gripper")  # quantities of the two curves at the start


class Page:
    """Show a session; every click waits in a queue until `turn` does it, so that one thread does all.

    Args:
        server: viser's server.
        session: what to show.
        scene: of the dataset's task, None where it cannot be shown.
        note: why not.
    """

    def __init__(self, server: Any, session: Session, scene: RecordedScene | None, note: str = "") -> None:
        self.server, self.session, self.scene = server, session, scene
        self.message = f"poses instead of the scene: {note}" if note and scene is None else ""
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._groups = {
            f"{key} {name}".strip(): (key, columns) for (key, name), columns in self._quantities()
        }
        self._shown_episode: Any = None
        self._shown: tuple[Any, ...] = ()
        self.nodes = ModelNodes(server.scene, scene) if scene is not None else None
        self._poses: PoseNodes | None = None
        server.scene.set_up_direction("+z")
        server.initial_camera.position, server.initial_camera.look_at = EYE_M, LOOK_AT_M
        if scene is None:
            server.scene.add_grid("/table", 1.0, 1.0, cell_size=0.1, section_size=0.5, position=(0.5, 0, 0))
        self._build()
        self._hotkeys()
        self.refresh()

    def turn(self, elapsed_s: float, wait_s: float = FRAME_S) -> None:
        """Do what was clicked, waiting `wait_s` for it; let time pass; show what changed."""
        try:
            event = self._events.get(timeout=wait_s)
            while True:
                self._do(event)
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        self.session.player.tick(elapsed_s)
        self.refresh()

    def _do(self, event: Callable[[], None]) -> None:
        self.message = ""
        try:
            event()
        except UserError as error:
            self.message = str(error)

    def _later(self, event: Callable[[], None]) -> Callable[[Any], None]:
        return lambda _: self._events.put(event)

    def _by_person(self, action: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a callback that does `action` with a widget's value, unless the page itself set it."""

        def callback(event: Any) -> None:
            if event.client is not None:
                value = event.target.value
                self._events.put(lambda: action(value))

        return callback

    def _quantities(self) -> list[tuple[tuple[str, str], list[int]]]:
        groups = value_groups(self.session.store.spec).items()
        return [group for group in groups if group[0][0] != SIM_STATE]

    def _build(self) -> None:
        gui, session = self.server.gui, self.session
        gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        self._status, self._note = gui.add_html(""), gui.add_html("")
        self.step = gui.add_slider("step", 0, max(session.player.last, 1), 1, 0)
        self.step.on_update(self._by_person(lambda value: session.player.seek(int(value))))
        self._button_group(
            {"◀": lambda: self._move(-1), "play / pause": self._toggle, "▶": lambda: self._move(1)}
        )
        jumps = {"◀ bottleneck": lambda: session.jump(-1), "bottleneck ▶": lambda: session.jump(1)}
        self._button_group(jumps)
        speed = gui.add_dropdown("speed", SPEEDS, initial_value="1")
        speed.on_update(self._by_person(lambda value: session.set_speed(float(value))))
        self.number = gui.add_number("episode", session.number, min=0, max=len(session.store) - 1, step=1)
        self.number.on_update(self._by_person(lambda value: session.go_to(int(value))))
        self._button_group(
            {"◀ episode": lambda: self._turn_page(-1), "episode ▶": lambda: self._turn_page(1)}
        )
        self._build_marks()
        with gui.add_folder("facts", expand_by_default=False):
            self._facts = gui.add_html("")
        side = gui.add_panel()
        with side.add_tab("what was recorded"):
            self._build_pictures()
            self._curves = [self._build_curve(index) for index in range(min(2, len(self._groups)))]
        side.dock_left()
        side.set_width(SIDE_WIDTH_PX)

    def _button_group(self, actions: dict[str, Callable[[], None]]) -> None:
        group = self.server.gui.add_button_group("", tuple(actions))
        group.on_click(self._by_person(lambda name: actions[name]()))

    def _build_marks(self) -> None:
        gui, session = self.server.gui, self.session
        with gui.add_folder("bottlenecks"):
            self._marks = gui.add_html("")
            if not session.can_mark:
                return
            self.why = gui.add_text("why", "precise")
            self._button_group({"mark": self._mark, "remove": session.remove, "undo": session.undo})
            gui.add_button("save").on_click(self._later(self._save))

    def _build_curve(self, index: int) -> tuple[Any, Any]:
        names = list(self._groups)
        wanted = (name for name in names if CHOSEN_FIRST[index] in name)
        first = next(wanted, names[0])
        choice = self.server.gui.add_dropdown("curve", names, initial_value=first)
        choice.on_update(self._by_person(lambda _: None))
        return choice, self.server.gui.add_html("")

    def _build_pictures(self) -> None:
        self.pictures = {
            key: self.server.gui.add_image(self._picture(key), label=key, format="jpeg")
            for key, array in self.session.store.spec.obs.items()
            if is_image(array)
        }

    def _picture(self, key: str) -> Any:
        """Return an image (H, W, 3) uint8 of the present step."""
        picture = self.session.episode.obs[key][self.session.player.step].transpose(1, 2, 0)
        return np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture

    def _hotkeys(self) -> None:
        session = self.session
        keys: list[tuple[str, str, Callable[[], None]]] = [
            ("play or pause", "space", self._toggle),
            ("one step back", "arrowleft", lambda: self._move(-1)),
            ("one step on", "arrowright", lambda: self._move(1)),
            ("previous episode", "pageup", lambda: self._turn_page(-1)),
            ("next episode", "pagedown", lambda: self._turn_page(1)),
            ("previous bottleneck", "B", lambda: session.jump(-1)),
            ("next bottleneck", "N", lambda: session.jump(1)),
        ]
        if session.can_mark:
            keys += [
                ("mark a bottleneck", "M", self._mark),
                ("remove the mark", "R", session.remove),
                ("undo", "U", session.undo),
                ("save the marks", "S", self._save),
            ]
        for label, key, action in keys:
            self.server.gui.add_command(label, hotkey=key).on_trigger(self._later(action))

    def _move(self, steps: int) -> None:
        self.session.player.move(steps)

    def _toggle(self) -> None:
        self.session.player.toggle()

    def _turn_page(self, by: int) -> None:
        self.session.go_to(self.session.number + by)

    def _mark(self) -> None:
        self.session.mark(self.why.value)

    def _save(self) -> None:
        count = self.session.save()
        self.message = f"saved the marks of {count} episodes" if count else "nothing to save"

    def refresh(self) -> None:
        """Show the present state; does nothing where it is shown already."""
        session, player = self.session, self.session.player
        if session.episode is not self._shown_episode:
            self._show_episode()
        choices = tuple(choice.value for choice, _ in self._curves)
        state = (session.number, player.step, session.marks, tuple(session.unsaved), self.message, choices)
        if state == self._shown:
            return
        with self.server.atomic():
            self._show_step()
        self._shown = (*state[:4], self.message, choices)

    def _show_episode(self) -> None:
        session, episode = self.session, self.session.episode
        self._shown_episode, self._shown = episode, ()
        self._timelines: dict[Any, Timeline] = {}
        self.step.value = 0
        self.step.max = max(session.player.last, 1)
        self._facts.content = facts_html(episode.meta)
        if self._poses is not None:
            self._poses.remove()
        tracks = pose_tracks(session.store.spec, episode)
        parents = {track.frame: self.nodes.path_of(track.frame) for track in tracks} if self.nodes else {}
        self._poses = PoseNodes(self.server.scene, tracks, axes=self.nodes is None, parents=parents)

    def _show_step(self) -> None:
        session, step = self.session, self.session.player.step
        if self.scene is not None and self.nodes is not None:
            try:
                self.scene.show(session.episode.obs[SIM_STATE][step])
                self.nodes.update()
            except UserError as error:
                self.message = f"step {step}: {error}"
        if self._poses is not None:
            self._poses.update(step)
        self.step.value, self.number.value = step, session.number
        self._status.content, self._note.content = status_html(session), message_html(self.message)
        self._marks.content = marks_html(session)
        for choice, drawing in self._curves:
            drawing.content = self._timeline(choice.value).svg(step)
        for key, picture in self.pictures.items():
            picture.image = self._picture(key)

    def _timeline(self, name: str) -> Timeline:
        """Return the drawing of a quantity, made once for each set of marks."""
        session, (key, columns) = self.session, self._groups[name]
        wanted = (name, session.marks)
        if wanted not in self._timelines:
            spec = session.store.spec.action if key == "action" else session.store.spec.obs[key]
            names = [spec.names[c] if spec.names else f"{key} {c}" for c in columns]
            values = group_values(session.episode, key, columns)
            self._timelines = {k: v for k, v in self._timelines.items() if k[1] == session.marks}
            self._timelines[wanted] = Timeline(values, names, session.episode.source, session.marks)
        return self._timelines[wanted]


def run(page: Page, stop: Callable[[], bool]) -> None:
    """Keep a page going until `stop` says so."""
    before_s = time.monotonic()
    while not stop():
        now_s = time.monotonic()
        page.turn(now_s - before_s)
        before_s = now_s
