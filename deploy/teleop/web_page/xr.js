// A phone's or a controller's pose, through WebXR: the arm follows while the trigger or screen is held.

import { Screen } from "./xr_screen.js";

const MODES = ["immersive-ar", "immersive-vr"];
const SEND_EVERY_MS = 15;
const BUTTON = { squeeze: 1, stick: 3, a: 4, b: 5 };
const EVENTS = [[BUTTON.a, "start"], [BUTTON.b, "success"], [BUTTON.stick, "discard"]];

export class Xr {
  // viewYaw(): how the person's forward stands to the robot's x axis [rad].
  constructor(cameras, viewYaw, onEvent, onChange) {
    Object.assign(this, { cameras, viewYaw, onEvent, onChange });
    this.grips = 0;
    this.offer();
  }

  async offer() {
    if (!navigator.xr) {
      if (!window.isSecureContext) {
        document.getElementById("xr-hint").textContent =
          "Browsers give poses to https pages only: start with teleop.self_signed=true teleop.host=0.0.0.0.";
      }
      return;
    }
    for (const mode of MODES) {
      const button = document.getElementById(`xr-${mode}`);
      button.disabled = !(await navigator.xr.isSessionSupported(mode).catch(() => false));
      button.addEventListener("click", () => this.start(mode).catch((error) => {
        document.getElementById("xr-hint").textContent = `It did not start: ${error.message}`;
      }));
    }
  }

  async start(mode) {
    const root = document.getElementById("page");
    const session = await navigator.xr.requestSession(mode, {
      optionalFeatures: ["local-floor", "dom-overlay"], domOverlay: { root },
    });
    root.addEventListener("beforexrselect", (event) => {
      if (event.target.closest("button, input, select, .pad")) event.preventDefault(); // touching these is no clutch
    });
    session.addEventListener("selectstart", ({ inputSource }) => this.grip(inputSource));
    session.addEventListener("selectend", ({ inputSource }) => { if (inputSource === this.source) this.drop(); });
    session.addEventListener("visibilitychange", () => this.drop());
    session.addEventListener("end", () => { this.drop(); this.session = null; this.onChange(); });
    this.space = await session.requestReferenceSpace("local");
    this.screen = new Screen(session, this.cameras, mode === "immersive-vr");
    this.session = session;
    this.down = {};
    this.gripper = 0;
    this.sentAt = 0;
    session.requestAnimationFrame((time, frame) => this.frame(frame));
  }

  grip(source) {
    if (this.source) return; // the other hand holds already
    this.source = source;
    this.origin = null; // taken from the next frame
    this.grips += 1;
  }

  drop() {
    this.source = this.origin = this.hand = null;
    this.onChange();
  }

  frame(frame) {
    if (!this.session) return;
    this.session.requestAnimationFrame((time, next) => this.frame(next));
    const viewer = frame.getViewerPose(this.space);
    this.screen.draw(viewer, Boolean(this.hand));
    this.readButtons();
    if (this.source) this.follow(frame, viewer);
    if (performance.now() - this.sentAt < SEND_EVERY_MS) return;
    this.sentAt = performance.now();
    this.onChange();
  }

  // A phone is its own tracked thing; a controller is tracked by its grip.
  follow(frame, viewer) {
    const pose = this.source.gripSpace ? frame.getPose(this.source.gripSpace, this.space) : viewer;
    if (!pose || pose.emulatedPosition || !viewer) { // tracking is lost: hold, and start anew when it is back
      if (this.hand) this.grips += 1;
      this.origin = this.hand = null;
      return;
    }
    const { position, orientation } = pose.transform;
    this.origin ??= { position, axes: this.baseAxes(viewer), scale: Number(document.getElementById("scale").value) };
    const { axes, scale } = this.origin;
    const shift = ["x", "y", "z"].map((axis) => (position[axis] - this.origin.position[axis]) * scale);
    this.hand = {
      position_m: into(axes, shift),
      quaternion: [orientation.w, ...into(axes, [orientation.x, orientation.y, orientation.z])],
      grip: this.grips,
    };
  }

  // Return the robot's base axes in WebXR's axes (y up), given that the person looks along their own forward.
  baseAxes(viewer) {
    const { x, y, z, w } = viewer.transform.orientation;
    const [lookX, lookZ] = [-2 * (x * z + w * y), -(1 - 2 * (x * x + y * y))]; // minus the third column
    const angle = Math.atan2(-lookX, -lookZ) - this.viewYaw(); // heading about y, 0 along -z
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    return [[-sin, 0, -cos], [-cos, 0, sin], [0, 1, 0]]; // forward, left, up
  }

  readButtons() {
    for (const { gamepad } of this.session.inputSources) {
      if (!gamepad) continue;
      for (const [index, name] of EVENTS) this.edge(gamepad, index, () => this.onEvent(name));
      this.edge(gamepad, BUTTON.squeeze, () => { this.gripper = this.gripper > 0 ? -1 : 1; });
    }
  }

  edge(gamepad, index, act) {
    const isDown = Boolean(gamepad.buttons[index]?.pressed);
    const before = this.down[index]?.has(gamepad) ?? false;
    this.down[index] ??= new Set();
    if (isDown) this.down[index].add(gamepad); else this.down[index].delete(gamepad);
    if (isDown && !before) act();
  }

  // What is held in the session; null outside of one.
  sample() {
    if (!this.session) return null;
    return this.hand ? { engaged: true, hand: this.hand, gripper: this.gripper } : { engaged: false };
  }
}

function into(axes, vector) {
  return axes.map((axis) => axis[0] * vector[0] + axis[1] * vector[1] + axis[2] * vector[2]);
}
