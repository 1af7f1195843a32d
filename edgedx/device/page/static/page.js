// The page of a clinic's box works without this file. With it: light or dark, a live list, a viewer, uploads in place.
"use strict";

const all = (what, within = document) => [...within.querySelectorAll(what)];
const kept = {
  get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* a private window keeps nothing */ } },
};

// Light, dark: as the device says, until somebody chooses.
const root = document.documentElement;
if (["light", "dark"].includes(kept.get("theme"))) root.dataset.theme = kept.get("theme");
for (const button of all("[data-theme]", document.body)) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept.set("theme", root.dataset.theme);
  });
}
for (const select of all("#foot-language")) select.addEventListener("change", () => select.form.requestSubmit());

// What the page asks for by itself says so: it keeps nobody logged in.
const ask = (address, accept = "text/html") => fetch(address, { headers: { "X-Background": "1", Accept: accept } });

// The list, live: the server says that there is something new, and the list is fetched again.
async function listen(news) {
  for (;;) {
    try {
      const answer = await ask("/events", "text/event-stream");
      if (!answer.ok || answer.redirected) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop();
        if (parts.some((part) => part.startsWith("event: changed"))) await news();
      }
    } catch { /* the box restarts, or the tablet was away */ }
    await new Promise((wait) => setTimeout(wait, 5000));
    await news().catch(() => {});
  }
}
async function renew(list) {
  const answer = await ask(list.dataset.live);
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  const text = (node) => node.innerHTML.replace(/\s+/g, " ");
  if (text(fresh) === text(list.shown ?? list)) return;
  const before = new Set(all("[data-key]", list).map((line) => line.dataset.key));
  const focused = document.activeElement?.dataset?.key;
  list.shown = fresh.cloneNode(true);
  list.replaceChildren(...fresh.childNodes);
  for (const line of all("[data-key]", list)) {
    if (!before.has(line.dataset.key)) line.classList.add("fresh");
    if (line.dataset.key === focused) line.focus();
  }
}
for (const list of all("[data-live]")) listen(() => renew(list));

// j and k, or the arrows, go through the list.
document.addEventListener("keydown", (event) => {
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, [data-viewer]")) return;
  const lines = all(".list [data-key]");
  if (!lines.length) return;
  const now = lines.indexOf(document.activeElement);
  lines[Math.min(lines.length - 1, Math.max(0, now < 0 ? 0 : now + step))].focus();
  event.preventDefault();
});

// A picture to look into: wheel or pinch zooms, dragging moves or sets the window, keys do the same.
function look(viewer) {
  const picture = viewer.querySelector("img");
  const start = { zoom: 1, x: 0, y: 0, light: 1, contrast: 1, inverted: false };
  let now = { ...start }, windowing = false, from = null;
  const fingers = new Map();
  const tools = viewer.closest("figure").querySelector("[data-tools]");
  const button = (name) => tools?.querySelector(`[data-do="${name}"]`);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function draw() {
    const room = viewer.getBoundingClientRect();
    const x = room.width * (now.zoom - 1) / 2 + room.width / 4, y = room.height * (now.zoom - 1) / 2 + room.height / 4;
    if (now.zoom === 1) now.x = now.y = 0;
    now.x = clamp(now.x, -x, x);
    now.y = clamp(now.y, -y, y);
    picture.style.transform = `translate(${now.x}px, ${now.y}px) scale(${now.zoom})`;
    picture.style.filter = `${now.inverted ? "invert(1) " : ""}brightness(${now.light}) contrast(${now.contrast})`;
    picture.style.imageRendering = now.zoom > 4 ? "pixelated" : "auto";
    button("invert")?.setAttribute("aria-pressed", String(now.inverted));
    button("window")?.setAttribute("aria-pressed", String(windowing));
    viewer.classList.toggle("windowing", windowing);
  }
  function zoom(factor, at) {
    const room = viewer.getBoundingClientRect();
    const x = (at ? at.x - room.left : room.width / 2) - room.width / 2;
    const y = (at ? at.y - room.top : room.height / 2) - room.height / 2;
    const next = clamp(now.zoom * factor, 1, 16), ratio = next / now.zoom;
    now.x = x - (x - now.x) * ratio;
    now.y = y - (y - now.y) * ratio;
    now.zoom = next;
    draw();
  }
  const shade = (light, contrast) => {
    now.light = clamp(now.light * Math.exp(light), 0.2, 5);
    now.contrast = clamp(now.contrast * Math.exp(contrast), 0.2, 8);
    draw();
  };
  const acts = {
    in: () => zoom(1.4), out: () => zoom(1 / 1.4),
    window: () => { windowing = !windowing; draw(); },
    invert: () => { now.inverted = !now.inverted; draw(); },
    reset: () => { now = { ...start }; windowing = false; draw(); },
  };
  if (tools) {
    tools.hidden = false;
    for (const one of all("[data-do]", tools)) one.addEventListener("click", acts[one.dataset.do]);
  }
  viewer.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), { x: event.clientX, y: event.clientY });
  }, { passive: false });
  viewer.addEventListener("dblclick", (event) => (now.zoom > 1 ? acts.reset() : zoom(2.5, { x: event.clientX, y: event.clientY })));
  viewer.addEventListener("pointerdown", (event) => {
    viewer.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    from = null;
  });
  viewer.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const here = { x: event.clientX, y: event.clientY };
    fingers.set(event.pointerId, here);
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const apart = Math.hypot(a.x - b.x, a.y - b.y), middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      if (from) {
        now.x += middle.x - from.middle.x;
        now.y += middle.y - from.middle.y;
        zoom(apart / from.apart, middle);
      }
      from = { apart, middle };
    } else if (windowing) {
      shade((last.y - here.y) / 300, (here.x - last.x) / 300);
    } else {
      now.x += here.x - last.x;
      now.y += here.y - last.y;
      draw();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    viewer.addEventListener(end, (event) => { fingers.delete(event.pointerId); from = null; });
  }
  viewer.addEventListener("keydown", (event) => {
    const move = (x, y) => () => { now.x += x; now.y += y; draw(); };
    const act = {
      "+": acts.in, "=": acts.in, "-": acts.out, i: acts.invert, w: acts.window, 0: acts.reset,
      ArrowLeft: move(40, 0), ArrowRight: move(-40, 0), ArrowUp: move(0, 40), ArrowDown: move(0, -40),
      "[": () => shade(-0.1, 0), "]": () => shade(0.1, 0), "{": () => shade(0, -0.1), "}": () => shade(0, 0.1),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  // A picture that cannot be drawn is answered with a sentence.
  const failed = async () => {
    let place = viewer.querySelector("[data-failed]");
    if (!place) {
      place = Object.assign(document.createElement("p"), { className: "failed" });
      place.dataset.failed = "";
      viewer.append(place);
    }
    const answer = await fetch(picture.getAttribute("src"), { headers: { Accept: "text/plain" } }).catch(() => null);
    place.textContent = answer && !answer.ok ? (await answer.text()).trim() : picture.alt;
    place.hidden = picture.hidden = false;
    picture.style.visibility = "hidden";
  };
  picture.addEventListener("error", failed);
  picture.addEventListener("load", () => {
    picture.style.visibility = "";
    const place = viewer.querySelector("[data-failed]");
    if (place) place.hidden = true;
  });
  if (picture.complete && !picture.naturalWidth) failed();
}
all("[data-viewer]").forEach(look);

// Where the model looked, on demand.
for (const toggle of all("[data-heat]")) {
  toggle.addEventListener("click", (event) => {
    event.preventDefault();
    const picture = toggle.closest("figure").querySelector("img");
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    toggle.textContent = on ? toggle.dataset.on : toggle.dataset.off;
    picture.src = on ? picture.dataset.map : picture.dataset.model;
  });
  toggle.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); toggle.click(); }
  });
}

// Several findings: who ticks one means "these".
for (const box of all(".findings input")) {
  box.addEventListener("change", () => { box.form.querySelector('[value="these"]').checked = true; });
}

// Upload: one request for each file, its progress, and its line of the worklist when it was read.
for (const form of all("[data-upload]")) {
  const list = form.querySelector("[data-files]"), chosen = form.querySelector('input[type="file"]');
  const most = Number(form.dataset.bytes);
  const queue = [];
  let busy = false;

  function add(files) {
    for (const file of files) {
      const item = document.createElement("li"), name = document.createElement("bdi"), bar = document.createElement("progress");
      name.textContent = file.name;
      bar.max = 1;
      bar.value = 0;
      bar.setAttribute("aria-label", file.name);
      const said = document.createElement("p");
      item.append(name, bar, said);
      list.append(item);
      if (file.size > most) { bar.remove(); said.className = "problem"; said.textContent = form.dataset.tooLarge; continue; }
      queue.push({ file, item, bar, said });
    }
    chosen.value = "";
    next();
  }
  async function next() {
    if (busy || !queue.length) return;
    busy = true;
    const one = queue.shift();
    try { await send(one); } finally { busy = false; next(); }
  }
  function send({ file, item, bar, said }) {
    return new Promise((done) => {
      const body = new FormData();
      body.append("csrf", form.querySelector('[name="csrf"]').value);
      body.append("files", file, file.name);
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-CSRF-Token", form.querySelector('[name="csrf"]').value);
      request.upload.onprogress = (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; };
      request.onloadend = () => {
        let told = {};
        try { told = JSON.parse(request.responseText); } catch { /* the connection broke off */ }
        bar.remove();
        const sent = told.files?.[0]?.sha256;
        if (sent) { said.textContent = form.dataset.waiting; follow(sent, item, said); }
        else { said.className = "problem"; said.textContent = told.sentence || form.dataset.broken; }
        done();
      };
      request.send(body);
    });
  }
  async function follow(sha256, item, said) {
    for (let wait = 500; ; wait = Math.min(wait * 1.3, 5000)) {
      await new Promise((go) => setTimeout(go, wait));
      try {
        const told = await (await ask(`/upload/${sha256}`, "application/json")).json();
        if (!told.key) continue;
        const answer = await ask(`/line/${told.key}`);
        if (!answer.ok || answer.redirected) return;
        const line = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".line");
        if (line) { said.replaceWith(line); line.classList.add("fresh"); }
        return;
      } catch { /* again */ }
    }
  }
  for (const item of all("[data-sha256]", list)) {  // sent without script, or by an earlier load
    const said = document.createElement("p");
    item.append(said);
    follow(item.dataset.sha256, item, said);
  }
  form.addEventListener("submit", (event) => { if (chosen.files.length) { event.preventDefault(); add(chosen.files); } });
  chosen.addEventListener("change", () => add(chosen.files));
  for (const name of ["dragover", "dragenter"]) {
    form.addEventListener(name, (event) => { event.preventDefault(); form.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) form.addEventListener(name, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
}
