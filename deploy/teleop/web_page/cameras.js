// The cameras' newest pictures: one request a camera at a time, so that slow links drop pictures.

const RETRY_MS = 500;

export class Cameras {
  constructor(element) {
    this.element = element;
    this.empty = document.getElementById("no-pictures");
    this.shown = new Map(); // name -> <figure>
  }

  // Show exactly these cameras.
  setNames(names) {
    for (const [name, figure] of this.shown) {
      if (names.includes(name)) continue;
      figure.remove();
      this.shown.delete(name);
    }
    for (const name of names) if (!this.shown.has(name)) this.add(name);
    this.empty.hidden = this.shown.size > 0;
  }

  add(name) {
    const figure = document.createElement("figure");
    const picture = document.createElement("img");
    const caption = document.createElement("figcaption");
    picture.alt = `Live picture of camera ${name}`;
    caption.textContent = name;
    figure.append(picture, caption);
    this.element.append(figure);
    this.shown.set(name, figure);
    this.follow(name, figure, picture);
  }

  async follow(name, figure, picture) {
    let after = 0;
    while (this.shown.get(name) === figure) {
      try {
        const answer = await fetch(`camera/${encodeURIComponent(name)}?after=${after}`);
        if (answer.status === 204) continue;
        if (!answer.ok) throw new Error(answer.statusText);
        const address = URL.createObjectURL(await answer.blob());
        picture.src = address;
        await picture.decode().finally(() => URL.revokeObjectURL(address));
        after = Number(answer.headers.get("X-Picture"));
      } catch {
        await new Promise((wake) => setTimeout(wake, RETRY_MS));
      }
    }
  }

  // The <img> elements, for drawing them elsewhere.
  pictures() {
    return [...this.shown.values()].map((figure) => figure.querySelector("img"));
  }
}
