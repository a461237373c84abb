// What a page does beside being read: the run under the pointer is named and shown in every figure, logarithmic axes
// become linear and back, and a page of runs that train loads itself again. All that comes from data is set as text.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const NEAR = 14; // pixels from the pointer to a mark or a curve
  const PIECE = 3; // points: how long a part of a line stays straight when its axes bend it
  const panels = [...document.querySelectorAll("figure .panels > svg")];
  const data = document.getElementById("shown-runs");
  const { names = [], runs = {} } = data ? JSON.parse(data.textContent) : {};

  // --- which run

  const marks = new Map(); // of a panel: {run, points} each, a curve's or a single one
  const of = new Map(); // of a run: {panel, points, path} each

  function readPanel(panel) {
    const found = [];
    for (const group of panel.querySelectorAll("[data-runs]")) {
      const ids = group.dataset.runs.split(" ").map(decodeURIComponent);
      [...group.querySelectorAll("use")].forEach((use, k) => {
        const run = ids.length > 1 ? ids[k] : ids[0];
        if (run) found.push({ run, panel, points: [[+use.getAttribute("x"), +use.getAttribute("y")]] });
      });
      for (const path of ids.length > 1 || !ids[0] ? [] : group.querySelectorAll(":scope > path"))
        found.push({ run: ids[0], panel, path, points: pieces(path.getAttribute("d")).flat() });
    }
    marks.set(panel, found);
  }

  function readAll() {
    of.clear();
    for (const panel of panels) {
      readPanel(panel);
      for (const mark of marks.get(panel)) of.set(mark.run, [...(of.get(mark.run) ?? []), mark]);
    }
  }

  function nearest(panel, event) {
    const onto = panel.getScreenCTM();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(onto.inverse());
    let best = null, least = NEAR / onto.a;
    for (const mark of marks.get(panel)) {
      const p = mark.points;
      const bias = p.length > 1 ? 1 : 0; // of a mark and a curve that are as near, the mark
      for (let k = 0; k < p.length; k++) {
        const far = (k + 1 < p.length ? toSegment(at, p[k], p[k + 1]) : Math.hypot(at.x - p[k][0], at.y - p[k][1])) + bias;
        if (far < least) [best, least] = [mark.run, far];
      }
    }
    return best;
  }

  function toSegment(at, [ax, ay], [bx, by]) {
    const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
    const t = length ? Math.min(1, Math.max(0, ((at.x - ax) * dx + (at.y - ay) * dy) / length)) : 0;
    return Math.hypot(at.x - ax - t * dx, at.y - ay - t * dy);
  }

  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;
  let shown = null, lit = [];

  function show(run) {
    if (run === shown) return;
    lit.forEach((one) => one.remove());
    shown = run;
    lit = (of.get(run) ?? []).map(({ panel, path, points }) => {
      const one = path ? path.cloneNode() : document.createElementNS(SVG, "circle");
      one.removeAttribute("style");
      one.setAttribute("class", "lit");
      if (!path) for (const [key, value] of [["cx", points[0][0]], ["cy", points[0][1]], ["r", 4]]) one.setAttribute(key, value);
      return panel.appendChild(one);
    });
  }

  function tell(run, event) {
    tip.hidden = run === null;
    if (run === null) return;
    const values = runs[run] ?? [];
    tip.replaceChildren(line("strong", run), ...names.flatMap((name, k) => (values[k] ? [line("div", `${name} ${values[k]}`)] : [])));
    const beyond = event.clientX + 18 + tip.offsetWidth > document.documentElement.clientWidth;
    tip.style.left = `${beyond ? Math.max(event.clientX - 14 - tip.offsetWidth, 4) : event.clientX + 14}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 4)}px`;
  }

  function line(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }

  for (const panel of panels) {
    if (!panel.querySelector("[data-runs]")) continue;
    const point = (event) => {
      if (!marks.size) readAll();
      const run = nearest(panel, event);
      show(run);
      tell(run, event);
    };
    panel.addEventListener("pointermove", point);
    panel.addEventListener("pointerdown", point);
    panel.addEventListener("pointerleave", () => (show(null), (tip.hidden = true)));
  }
  for (const cell of document.querySelectorAll("td.id")) {
    cell.parentElement.addEventListener("pointerenter", () => {
      if (!marks.size) readAll();
      show(cell.textContent);
    });
    cell.parentElement.addEventListener("pointerleave", () => show(null));
  }

  // --- linear and logarithmic axes

  // The straight pieces of a path, points each; null for one with bends, which has no data in it.
  function pieces(d) {
    const found = [], words = d.split(" ");
    for (let k = 0; k < words.length; ) {
      const word = words[k++];
      if (word === "M") found.push([]);
      else if (word === "z" || word === "Z") found.at(-1).push(found.at(-1)[0]);
      else if (word !== "L") return [];
      if (word === "M" || word === "L") found.at(-1).push([+words[k++], +words[k++]]);
    }
    return found;
  }

  // Where a share u of a logarithmic axis lies on a linear one with the same ends, which are in the ratio r.
  const bent = (u, r) => (u <= 0 || u >= 1 ? u : (r ** u - 1) / (r - 1));

  function ends(panel, axis) {
    return panel.dataset[axis].split(" ").map(Number);
  }

  function bend(panel, linear) {
    const [left, top, width, height] = panel.dataset.box.split(" ").map(Number);
    const ratio = (axis) => (linear[axis] && panel.dataset[axis] ? ends(panel, axis)[1] / ends(panel, axis)[0] : 0);
    const rx = ratio("x"), ry = ratio("y");
    const move = ([x, y]) => [
      rx ? left + width * bent((x - left) / width, rx) : x,
      ry ? top + height * (1 - bent((top + height - y) / height, ry)) : y,
    ];
    for (const one of panel.querySelectorAll("path, use, text")) {
      if (one.closest("defs, clipPath, .axis, .legend, .lit")) continue;
      if (one.tagName === "path") {
        one.was ??= one.getAttribute("d");
        const parts = pieces(one.was);
        if (parts.length) one.setAttribute("d", rx || ry ? parts.map((part) => written(part, move)).join(" ") : one.was);
      } else {
        one.was ??= [+one.getAttribute("x"), +one.getAttribute("y")];
        const [x, y] = move(one.was);
        one.setAttribute("x", x.toFixed(2));
        one.setAttribute("y", y.toFixed(2));
      }
    }
    [...panel.querySelectorAll(".axis")].forEach((group, k) => {
      const axis = "xy"[k];
      if (panel.dataset[axis]) retick(group, axis, linear[axis] ? ends(panel, axis) : null, axis === "x" ? [left, width] : [top + height, -height]);
    });
  }

  function written(points, move) {
    const out = [];
    points.forEach(([x, y], k) => {
      const [ax, ay] = points[Math.max(k - 1, 0)];
      const n = k ? Math.min(Math.max(Math.ceil(Math.hypot(x - ax, y - ay) / PIECE), 1), 200) : 1;
      for (let i = 1; i <= n; i++) {
        const [px, py] = move([ax + ((x - ax) * i) / n, ay + ((y - ay) * i) / n]);
        out.push(`${out.length ? "L" : "M"} ${px.toFixed(2)} ${py.toFixed(2)}`);
      }
    });
    return out.join(" ");
  }

  // Ticks at round numbers between the ends; the ones that were there where there are no ends.
  function retick(group, axis, ends, [start, length]) {
    const own = [...group.children].filter((one) => !one.classList.contains("linear"));
    group.querySelectorAll(".linear").forEach((one) => one.remove());
    const ticks = own.filter((one) => one.querySelector("use"));
    ticks.forEach((one) => (one.style.display = ends ? "none" : ""));
    if (!ends) return;
    const mould = ticks.find((one) => one.querySelector("text"));
    if (!mould) return;
    const [low, high] = ends, least = (high - low) / (axis === "x" ? 6 : 8), power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= least);
    const powers = ticks.some((one) => /10[⁰¹²³⁴-⁹]/.test(one.textContent));
    const from = +mould.querySelector("use").getAttribute(axis);
    for (let k = Math.ceil(low / step); k * step <= high; k++) {
      const tick = mould.cloneNode(true), to = start + (length * (k * step - low)) / (high - low);
      tick.style.display = "";
      tick.classList.add("linear");
      tick.setAttribute("transform", axis === "x" ? `translate(${to - from} 0)` : `translate(0 ${to - from})`);
      tick.querySelectorAll("[clip-path]").forEach((one) => one.removeAttribute("clip-path")); // it would move as well
      tick.querySelector("text").textContent = count(k * step, step, powers);
      group.append(tick);
    }
  }

  function count(value, step, powers) {
    if (powers && value) {
      const power = Math.floor(Math.log10(value) + 1e-9);
      const raised = String(power).replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
      return `${+(value / 10 ** power).toPrecision(3)}×10${raised}`;
    }
    const k = Math.max(0, Math.floor(Math.log10(Math.abs(value) || 1) / 3 + 1e-9));
    return k ? +(value / 1000 ** k).toPrecision(4) + "kMBT"[k - 1] : String(+value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))));
  }

  const scales = {}; // by figure: which axes were made linear

  for (const figure of document.querySelectorAll("figure")) {
    const own = panels.filter((panel) => figure.contains(panel) && panel.dataset.box);
    const axes = ["x", "y"].filter((axis) => own.some((panel) => panel.dataset[axis]));
    if (!axes.length) continue;
    const linear = (scales[figure.id] = { x: false, y: false });
    const bar = document.createElement("div");
    bar.className = "scales";
    for (const axis of axes) {
      const button = bar.appendChild(document.createElement("button"));
      const label = () => (button.textContent = `${axis}: ${linear[axis] ? "linear" : "log"}`);
      button.type = "button";
      button.title = `${axis} axis logarithmic or linear`;
      button.addEventListener("click", () => {
        linear[axis] = !linear[axis];
        label();
        show(null);
        own.forEach((panel) => bend(panel, linear));
        marks.clear();
      });
      label();
    }
    figure.insertBefore(bar, figure.querySelector("figcaption"));
  }

  // --- a page that is written again while runs train

  const every = Number(document.documentElement.dataset.live);
  const kept = `scaling ${location.pathname}`;

  function keep() {
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    sessionStorage.setItem(kept, JSON.stringify({ scales, open, y: scrollY }));
  }

  if (every) {
    try {
      const was = JSON.parse(sessionStorage.getItem(kept) ?? "{}");
      document.querySelectorAll("details").forEach((one, k) => (one.open = was.open?.[k] ?? one.open));
      for (const [id, linear] of Object.entries(was.scales ?? {}))
        [...(document.getElementById(id)?.querySelectorAll(".scales button") ?? [])].forEach((button) => linear[button.textContent[0]] && button.click());
      if (was.y) scrollTo(0, was.y);
    } catch {} // a browser that keeps nothing for files
    const again = () => {
      if (document.hidden || shown !== null) return void setTimeout(again, 1000);
      try {
        keep();
      } catch {}
      location.reload();
    };
    setTimeout(again, 1000 * every);
  }
})();
