// Training curves that can be looked at: toggles for nets and kinds of error, and the values under the pointer.
// Everything is in the page; nothing is fetched.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const W = 420, H = 250, LEFT = 44, RIGHT = 10, TOP = 26, BOTTOM = 36;

  function element(name, attributes, parent, text) {
    const svg = ["svg", "path", "line", "text", "g", "rect", "circle"].includes(name);
    const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function ticks(most, number) {
    const raw = most / number, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step);
  }

  function nearest(points, step) {
    return points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
  }

  function draw(figure) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const all = data.panels.flatMap((panel) => panel.series);
    const points = all.flatMap((series) => [...series.train, ...series.test]);
    const mostX = Math.max(...points.map((p) => p[0])), mostY = Math.min(100, 1.05 * Math.max(...points.map((p) => p[3])));
    const x = (step) => LEFT + ((W - LEFT - RIGHT) * step) / mostX;
    const y = (error) => H - BOTTOM - ((H - TOP - BOTTOM) * Math.min(error, mostY)) / Math.max(mostY, 1e-9);
    const controls = element("div", { class: "toggles", role: "group", "aria-label": "curves to show" }, figure);
    const grid = element("div", { class: "panels" }, figure);
    const readout = element("p", { class: "readout", "aria-live": "polite" }, figure, data.hint);
    const hidden = new Set();

    function apply() {
      for (const line of grid.querySelectorAll("[data-label]")) {
        const off = hidden.has(line.dataset.label) || hidden.has(line.dataset.kind);
        line.style.display = off ? "none" : "";
      }
    }

    function toggle(key, label, colour, dash) {
      const box = element("label", {}, controls);
      const input = element("input", { type: "checkbox", checked: "" }, box);
      const handle = element("svg", { viewBox: "0 0 30 8", width: 30, height: 8, "aria-hidden": "true" }, box);
      const look = { x1: 0, x2: 30, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash };
      element("line", look, handle);
      element("span", {}, box, label);
      input.addEventListener("change", () => {
        if (input.checked) hidden.delete(key);
        else hidden.add(key);
        apply();
      });
    }
    const labels = new Map(all.map((series) => [series.label, series.colour]));
    if (labels.size > 1) for (const [label, colour] of labels) toggle(label, label, colour, "none");
    toggle("train", data.train, "currentColor", "6 3");
    toggle("test", data.test, "currentColor", "none");

    for (const panel of data.panels) {
      const title = panel.title || "Training curves";
      const svg = element("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title }, grid);
      element("text", { x: LEFT, y: 15, class: "title" }, svg, panel.title);
      for (const value of ticks(mostY, 5)) {
        element("line", { x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value), class: "rule" }, svg);
        element("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, svg, value.toPrecision(3) * 1);
      }
      for (const value of ticks(mostX, 4)) {
        element("text", { x: x(value), y: H - BOTTOM + 16, "text-anchor": "middle" }, svg, value.toLocaleString("en"));
      }
      element("text", { x: (LEFT + W - RIGHT) / 2, y: H - 4, "text-anchor": "middle" }, svg, "iterations");
      element("text", { x: 12, y: TOP - 4, class: "unit" }, svg, "%");
      for (const series of panel.series) {
        for (const kind of ["train", "test"]) {
          if (!series[kind].length) continue;
          const told = { "data-label": series.label, "data-kind": kind };
          const low = series[kind].map((p) => `${x(p[0])},${y(p[2])}`), high = series[kind].map((p) => `${x(p[0])},${y(p[3])}`);
          element("path", { ...told, d: `M${high.join("L")}L${low.reverse().join("L")}Z`, fill: series.colour, opacity: 0.1 }, svg);
          const look = { fill: "none", stroke: series.colour, "stroke-width": kind === "test" ? 2 : 1.3 };
          if (kind === "train") look["stroke-dasharray"] = "6 3";
          element("path", { ...told, ...look, d: "M" + series[kind].map((p) => `${x(p[0])},${y(p[1])}`).join("L") }, svg);
        }
      }
      const rule = element("line", { y1: TOP, y2: H - BOTTOM, class: "pointer" }, svg);
      rule.style.display = "none";
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect();
        const step = (((event.clientX - box.left) / box.width) * W - LEFT) / (W - LEFT - RIGHT) * mostX;
        const told = [];
        let at = null;
        for (const series of panel.series) {
          const parts = [];
          for (const kind of ["train", "test"]) {
            if (!series[kind].length || hidden.has(series.label) || hidden.has(kind)) continue;
            const point = nearest(series[kind], step);
            at = at === null || kind === "test" ? point[0] : at;
            parts.push(`${kind === "train" ? data.train : data.test} ${point[1].toFixed(2)} %`);
          }
          if (parts.length) told.push(`${series.label}: ${parts.join(", ")}`);
        }
        if (at === null) return;
        rule.style.display = "";
        rule.setAttribute("x1", x(at));
        rule.setAttribute("x2", x(at));
        readout.textContent = `${panel.title ? panel.title + ", " : ""}iteration ${at.toLocaleString("en")}. ${told.join("; ")}.`;
      });
      svg.addEventListener("pointerleave", () => {
        rule.style.display = "none";
        readout.textContent = data.hint;
      });
    }
  }
  for (const figure of document.querySelectorAll(".curves")) draw(figure);
})();
