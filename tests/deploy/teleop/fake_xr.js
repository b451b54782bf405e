// A headset for tests: navigator.xr as far as the page uses it. The test moves it through window.fakeXr.
// Poses are {position: {x, y, z}, orientation: {x, y, z, w}} in WebXR's axes: x right, y up, -z forward.
{
  const still = () => ({ position: { x: 0, y: 0, z: 0 }, orientation: { x: 0, y: 0, z: 0, w: 1 } });
  const fake = { viewer: still(), hand: still(), session: null, frames: 0 };
  window.fakeXr = fake;
  const source = { gripSpace: {}, gamepad: { buttons: [0, 1, 2, 3, 4, 5].map(() => ({ pressed: false, value: 0 })) } };
  fake.source = source;
  const frame = {
    getViewerPose: () => ({ transform: fake.viewer, views: [], emulatedPosition: false }),
    getPose: () => ({ transform: fake.hand, emulatedPosition: false }),
  };
  class Session extends EventTarget {
    inputSources = [source];
    requestAnimationFrame(draw) { setTimeout((time) => { fake.frames += 1; draw(time, frame); }, 14); }
    async requestReferenceSpace() { return {}; }
    updateRenderState() {}
  }
  fake.select = (kind) => {
    const event = new Event(kind);
    event.inputSource = source;
    fake.session.dispatchEvent(event);
  };
  fake.end = () => fake.session.dispatchEvent(new Event("end"));
  window.XRWebGLLayer = class { framebuffer = null; };
  Object.defineProperty(navigator, "xr", { value: {
    isSessionSupported: async (mode) => mode === "immersive-vr",
    requestSession: async () => (fake.session = new Session()),
  } });
}
