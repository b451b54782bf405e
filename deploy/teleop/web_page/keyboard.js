// Keys as a source of motion. Codes name places on the keyboard, whatever is printed on them.

const AXES = {
  KeyW: [0, 1], KeyS: [0, -1], ArrowUp: [0, 1], ArrowDown: [0, -1],
  KeyA: [1, 1], KeyD: [1, -1], ArrowLeft: [1, 1], ArrowRight: [1, -1],
  KeyE: [2, 1], KeyQ: [2, -1],
  KeyO: [3, 1], KeyU: [3, -1], KeyI: [4, 1], KeyK: [4, -1], KeyJ: [5, 1], KeyL: [5, -1],
};
const GRIPPER = { KeyG: 1, KeyH: -1 };
const EVENTS = { KeyN: "start", KeyY: "success", KeyX: "discard", KeyZ: "undo", KeyP: "pause", Escape: "quit" };
const SLOW = 0.25;

export class Keyboard {
  // onChange() is called when what is held changes, onEvent(name) when an event's key goes down.
  constructor(onChange, onEvent) {
    this.held = new Set();
    this.slow = false;
    this.onChange = onChange;
    this.onEvent = onEvent;
    window.addEventListener("keydown", (event) => this.down(event));
    window.addEventListener("keyup", (event) => this.up(event));
  }

  down(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) { // a shortcut: the browser may swallow the key-up
      this.release();
      return;
    }
    if (this.isForForm(event)) return;
    this.slow = event.shiftKey;
    if (EVENTS[event.code]) {
      event.preventDefault();
      if (!event.repeat) this.onEvent(EVENTS[event.code]);
    } else if (event.code === "Space" || event.code in AXES || event.code in GRIPPER) {
      event.preventDefault(); // Space must not press a focused button
      if (event.repeat) return;
      this.held.add(event.code);
      this.onChange();
    }
  }

  up(event) {
    this.slow = event.shiftKey;
    if (event.code === "Space" && !this.isForForm(event)) event.preventDefault();
    if (this.held.delete(event.code)) this.onChange();
  }

  isForForm(event) {
    return event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  }

  release() {
    this.held.clear();
    this.onChange();
  }

  sample() {
    const motion = [0, 0, 0, 0, 0, 0];
    let gripper = 0;
    for (const code of this.held) {
      if (code in AXES) motion[AXES[code][0]] += AXES[code][1];
      gripper += GRIPPER[code] ?? 0;
    }
    const share = this.slow ? SLOW : 1;
    return { engaged: this.held.has("Space"), motion: motion.map((value) => Math.sign(value) * share), gripper };
  }
}
