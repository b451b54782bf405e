// Two pads, a button that must be held, and the gripper's buttons, for fingers and mice.

class Pad {
  // x grows to the right and y upwards, both -1..1.
  constructor(element, onChange) {
    this.element = element;
    this.knob = element.querySelector(".knob");
    this.onChange = onChange;
    this.pointer = null;
    this.x = this.y = 0;
    element.addEventListener("pointerdown", (event) => {
      if (this.pointer !== null) return;
      event.preventDefault();
      this.pointer = event.pointerId;
      element.setPointerCapture(event.pointerId);
      this.follow(event);
    });
    element.addEventListener("pointermove", (event) => { if (event.pointerId === this.pointer) this.follow(event); });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      element.addEventListener(name, (event) => { if (event.pointerId === this.pointer) this.release(); });
    }
  }

  follow(event) {
    const box = this.element.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * 2 - 1;
    const y = 1 - (event.clientY - box.top) / box.height * 2;
    const length = Math.max(1, Math.hypot(x, y));
    this.place(x / length, y / length);
  }

  release() {
    this.pointer = null;
    this.place(0, 0);
  }

  place(x, y) {
    [this.x, this.y] = [x, y];
    this.knob.style.transform = `translate(${x * 115}%, ${-y * 115}%)`;
    this.onChange();
  }
}

class HoldButton {
  constructor(element, onChange) {
    this.element = element;
    this.onChange = onChange;
    this.isHeld = false;
    element.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      this.set(true);
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      element.addEventListener(name, () => this.set(false));
    }
    element.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press opens none
  }

  set(isHeld) {
    this.isHeld = isHeld;
    this.element.setAttribute("aria-pressed", String(isHeld));
    this.onChange();
  }
}

export class Touch {
  constructor(onChange) {
    const find = (id) => document.getElementById(id);
    this.left = new Pad(find("pad-left"), onChange);
    this.right = new Pad(find("pad-right"), onChange);
    this.hold = new HoldButton(find("hold"), onChange);
    this.close = new HoldButton(find("close-gripper"), onChange);
    this.open = new HoldButton(find("open-gripper"), onChange);
    this.turn = find("turn");
    this.turn.addEventListener("change", () => { this.turn.blur(); });
  }

  release() {
    for (const pad of [this.left, this.right]) pad.release();
    for (const button of [this.hold, this.close, this.open]) button.set(false);
  }

  sample() {
    const { left, right } = this;
    const motion = this.turn.checked
      ? [0, 0, 0, left.x, left.y, -right.x]
      : [left.y, -left.x, right.y, 0, 0, -right.x];
    return { engaged: this.hold.isHeld, motion, gripper: Number(this.close.isHeld) - Number(this.open.isHeld) };
  }
}
