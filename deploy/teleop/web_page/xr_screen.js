// The cameras' pictures in front of a person who wears a headset.

const DISTANCE = 1.2; // m
const WIDTH = 0.8;
const GAP = 0.05;
const CORNERS = new Float32Array([-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5]);
const VERTEX = `attribute vec2 corner; uniform mat4 projection, view; uniform vec3 middle; uniform vec2 size; varying vec2 at;
void main() { at = vec2(corner.x + 0.5, 0.5 - corner.y); gl_Position = projection * view * vec4(middle + vec3(corner * size, 0.0), 1.0); }`;
const FRAGMENT = `precision mediump float; varying vec2 at; uniform sampler2D picture;
void main() { gl_FragColor = texture2D(picture, at); }`;

export class Screen {
  // isOpaque: nothing else is to be seen, as in VR.
  constructor(session, cameras, isOpaque) {
    Object.assign(this, { session, cameras, isOpaque });
    this.gl = document.createElement("canvas").getContext("webgl", { xrCompatible: true });
    if (!this.gl) throw new Error("this browser has no WebGL");
    this.layer = new XRWebGLLayer(session, this.gl);
    session.updateRenderState({ baseLayer: this.layer });
    this.build();
  }

  build() {
    const { gl } = this;
    this.program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    gl.useProgram(this.program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(this.program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const name of ["TEXTURE_WRAP_S", "TEXTURE_WRAP_T"]) gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  }

  at(name) {
    return this.gl.getUniformLocation(this.program, name);
  }

  // Draw for each eye; the ground is blue while the arm follows the hand.
  draw(viewer, isHeld) {
    const { gl, layer } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, layer.framebuffer);
    gl.clearColor(...(isHeld ? [0.05, 0.15, 0.35] : [0.07, 0.08, 0.1]), this.isOpaque ? 1 : 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!viewer || !this.isOpaque) return;
    const pictures = this.cameras.pictures().filter((picture) => picture.complete && picture.naturalWidth);
    pictures.forEach((picture, index) => {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, picture);
      gl.uniform3f(this.at("middle"), (index - (pictures.length - 1) / 2) * (WIDTH + GAP), 0, -DISTANCE);
      gl.uniform2f(this.at("size"), WIDTH, WIDTH * picture.naturalHeight / picture.naturalWidth);
      for (const view of viewer.views) {
        const box = layer.getViewport(view);
        gl.viewport(box.x, box.y, box.width, box.height);
        gl.uniformMatrix4fv(this.at("projection"), false, view.projectionMatrix);
        gl.uniformMatrix4fv(this.at("view"), false, view.transform.inverse.matrix);
        gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      }
    });
  }
}
