// Put the sources of motion together, send what they say, show what the session says.

import { Cameras } from "./cameras.js";
import { Gamepad } from "./gamepad.js";
import { Keyboard } from "./keyboard.js";
import { Link } from "./link.js";
import { Touch } from "./touch.js";
import { Xr } from "./xr.js";

const TICK_MS = 20;
const STILL = { engaged: false, linear: [0, 0, 0], angular: [0, 0, 0], gripper: 0, event: "", hand: null };
const find = (id) => document.getElementById(id);

const waiting = []; // events not sent yet
let before = "";
const fire = (name) => { if (waiting.length < 8) waiting.push(name); tick(); };
const tickSoon = () => tick();

const cameras = new Cameras(find("cameras"));
const link = new Link(showReport, showLink);
const keyboard = new Keyboard(tickSoon, fire);
const touch = new Touch(tickSoon);
const gamepad = new Gamepad(fire);
const xr = new Xr(cameras, viewYaw, fire, tickSoon);

function viewYaw() {
  return Number(find("view").value) * Math.PI / 180;
}

// Sum what moves: keys and pads with the switch of either, the gamepad with its own. Turn the sum from the
// person's view into the base frame.
function command() {
  const inXr = xr.sample();
  if (inXr) return { ...STILL, ...inXr };
  const [keys, fingers, pad] = [keyboard, touch, gamepad].map((source) => source.sample());
  const held = [];
  if (keys.engaged || fingers.engaged) held.push(keys, fingers);
  if (pad.engaged) held.push(pad);
  const share = Number(find("speed").value) / 100;
  const sum = (index) => Math.max(-1, Math.min(1, held.reduce((total, one) => total + one.motion[index], 0))) * share;
  const gripper = Math.sign(held.reduce((total, one) => total + one.gripper, 0));
  const linear = turned([sum(0), sum(1), sum(2)]);
  const angular = turned([sum(3), sum(4), sum(5)]);
  return { ...STILL, engaged: held.length > 0, linear, angular, gripper };
}

function turned([x, y, z]) {
  const [cos, sin] = [Math.round(Math.cos(viewYaw())), Math.round(Math.sin(viewYaw()))];
  return [cos * x - sin * y, sin * x + cos * y, z];
}

// Send where something is held or new, else now and then, so that silence means that this page is gone.
function tick() {
  const now = command();
  const isNew = JSON.stringify(now) !== before;
  showMotion(now);
  if (!(now.engaged || isNew || waiting.length || link.isDue())) return;
  if (link.send({ ...now, event: waiting[0] ?? "" })) {
    waiting.shift();
    before = JSON.stringify(now);
  }
}

function releaseAll() {
  for (const source of [keyboard, touch, gamepad]) source.release();
  tick();
}

function showMotion({ engaged }) {
  const text = engaged ? "Moving: release to stop" : "Hold Space, the trigger or the button to move";
  if (find("motion").textContent !== text) find("motion").textContent = text;
  find("motion").classList.toggle("on", engaged);
  find("gamepad").textContent = gamepad.name || "none: press a button on it";
}

function showReport({ status, cameras: names }) {
  cameras.setNames(names);
  const facts = Object.entries(status).map(([name, value]) => {
    const [row, term, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    [term.textContent, text.textContent] = [name, value];
    row.append(term, text);
    return row;
  });
  find("facts").replaceChildren(...facts);
}

function showLink(state, reason) {
  const texts = { on: `connected · ${link.latencyMs?.toFixed(0) ?? "–"} ms`, off: "not connected", busy: "taken", refused: "refused" };
  find("link").textContent = texts[state];
  find("link").classList.toggle("on", state === "on");
  find("problem").hidden = state === "on";
  if (state === "on") return;
  waiting.length = 0;
  find("problem").textContent = state === "busy"
    ? "Another browser is driving. This page takes over by itself when that one is closed."
    : `No connection${reason ? `: ${reason}` : ""}. The arm holds still; trying again …`;
}

for (const button of document.querySelectorAll("[data-event]")) {
  button.addEventListener("click", () => fire(button.dataset.event));
}
for (const [id, text] of [["speed", (value) => `${value} %`], ["scale", (value) => Number(value).toFixed(1)]]) {
  find(id).addEventListener("input", () => { find(`${id}-shown`).textContent = text(find(id).value); });
}
for (const control of document.querySelectorAll("select, input")) {
  control.addEventListener("change", () => control.blur()); // so that the keys drive again
}
window.addEventListener("blur", releaseAll);
window.addEventListener("pagehide", releaseAll);
document.addEventListener("visibilitychange", releaseAll);
setInterval(tick, TICK_MS);
