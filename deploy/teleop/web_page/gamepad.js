// A gamepad of the browser's standard layout as a source of motion.

const DEADBAND = 0.12;
const SLOW = 0.25;
const BUTTON = { close: 0, open: 1, slow: 6, hold: 7, up: 12, down: 13, left: 14, right: 15 };
const EVENTS = { 2: "discard", 3: "success", 4: "undo", 8: "pause", 9: "start" };

export class Gamepad {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.before = {};
    this.isArmed = false; // the trigger counts after it was seen released
  }

  release() {
    this.isArmed = false;
  }

  sample() {
    const still = { engaged: false, motion: [0, 0, 0, 0, 0, 0], gripper: 0 };
    const pad = document.hasFocus() ? [...navigator.getGamepads()].find((one) => one?.connected && one.mapping === "standard") : null;
    this.name = pad?.id ?? "";
    if (!pad) {
      this.release();
      return still;
    }
    const value = (index) => pad.buttons[index]?.value ?? 0;
    this.fireEvents((index) => value(index) > 0.5);
    const isHeld = value(BUTTON.hold) > 0.5;
    this.isArmed ||= !isHeld;
    const [x, y, turn, z] = pad.axes.map(pastDeadband);
    const share = value(BUTTON.slow) > 0.5 ? SLOW : 1;
    const motion = [-y, -x, -z, value(BUTTON.right) - value(BUTTON.left), value(BUTTON.up) - value(BUTTON.down), -turn];
    return {
      engaged: isHeld && this.isArmed,
      motion: motion.map((one) => one * share),
      gripper: Math.round(value(BUTTON.close)) - Math.round(value(BUTTON.open)),
    };
  }

  fireEvents(isDown) {
    for (const [index, name] of Object.entries(EVENTS)) {
      const isNew = isDown(index) && !this.before[index];
      this.before[index] = isDown(index);
      if (isNew) this.onEvent(name);
    }
  }
}

// Map DEADBAND..1 to 0..1, on both sides.
export function pastDeadband(value) {
  return Math.sign(value) * Math.max(0, Math.abs(value) - DEADBAND) / (1 - DEADBAND);
}
