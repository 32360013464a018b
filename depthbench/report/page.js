// Interactive parts of the page: chapters, depths, legends, points, figures with the same title, tables.
// Without scripts everything is shown, in the order of the report.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Chapters: the contents list shows the current one, a link opens its chapter, and printing opens all.
const chapters = all("main > [id]");
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const LINE = 100; // pixels from the top: the current chapter is the last one that begins above this line
const showCurrent = () => {
  const top = (part) => part.getBoundingClientRect().top;
  const isAtEnd = scrollY > 0 && innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const target = isAtEnd && chapters.find((part) => `#${part.id}` === location.hash && top(part) >= 0);
  const seen = chapters.filter((part) => top(part) < (isAtEnd ? innerHeight : LINE));
  const current = (target || seen.at(-1) || chapters[0]).id;
  for (const [id, link] of links) {
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
};
addEventListener("scroll", showCurrent, { passive: true });
for (const chapter of chapters) chapter.addEventListener("toggle", showCurrent);
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const chapter = target && target.closest("details");
  if (chapter) {
    chapter.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", openTarget);
for (const link of links.values()) link.addEventListener("click", () => setTimeout(openTarget));
addEventListener("beforeprint", () => all("details").forEach((chapter) => { chapter.open = true; }));
openTarget();
showCurrent();

// Boxes: a box that is narrower than its content says that it scrolls.
const sizes = new ResizeObserver((boxes) => boxes.forEach(({ target }) => {
  target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
}));
for (const box of all(".box")) sizes.observe(box);

// Depths: the switches hide all that shows a depth.
const depths = document.getElementById("depths");
const hidden = new Set();
depths.hidden = all("input", depths).length < 2;
depths.addEventListener("change", () => {
  hidden.clear();
  for (const box of all("input:not(:checked)", depths)) hidden.add(box.value);
  for (const part of all(".figure [class*=depth-]")) {
    part.classList.toggle("off", [...part.classList].some((name) => hidden.has(name)));
  }
});

// Legends: pointing at the entry of a network or depth dims all others, in every figure.
const kindOf = (name) => name.match(/^(network|depth)-/)?.[1];
const highlight = (name) => {
  const kind = name && kindOf(name);
  for (const part of all(".figure [class*=depth-], .figure [class*=network-]")) {
    const others = [...part.classList].filter((other) => kind && kindOf(other) === kind);
    part.classList.toggle("dim", others.length > 0 && !others.includes(name));
  }
};
for (const entry of all(".legend [class*=depth-], .legend [class*=network-]")) {
  const name = [...entry.classList].find(kindOf);
  entry.addEventListener("pointerenter", () => highlight(name));
  entry.addEventListener("pointerleave", () => highlight());
  if (!entry.querySelector("text")) continue;
  entry.setAttribute("tabindex", "0");
  entry.setAttribute("role", "button");
  entry.setAttribute("aria-label", `Highlight ${entry.textContent.trim()}`);
  entry.addEventListener("focus", () => highlight(name));
  entry.addEventListener("blur", () => highlight());
}

// Points: the nearest one to the pointer is described. The arrow keys go from point to point.
const NEAR = 14; // points (1/72 in) of the drawing
const tip = document.getElementById("tip");
const isShown = (series) => !series.classes.some((name) => hidden.has(name));
const describe = (series, [, , x, y]) => {
  const where = series.x ? `${series.x} ${x.toLocaleString?.("en", { maximumSignificantDigits: 6 }) ?? x}, ` : "";
  return `${series.name}\n${where}${[series.y, y, series.unit].filter((part) => part !== "").join(" ")}`;
};
const cellsOf = ({ left, top, columns, rows, values }) => rows.flatMap((row, r) => columns.map((column, c) => (
  [left[c], top[r], row + column, values[r * columns.length + c]]
))).filter((cell) => cell[3] !== null);
for (const box of all(".figure")) {
  const svg = box.querySelector("svg");
  const data = JSON.parse(box.querySelector("script").textContent).map((series) => ({
    ...series,
    points: series.points ?? cellsOf(series.grid),
    classes: series.id.replace("shows:", "").split("."),
  }));
  if (!data.length) continue;
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("r", "4");
  ring.setAttribute("class", "pointed");
  let chosen = null; // [series, point] by number
  const hide = () => { tip.hidden = true; ring.remove(); };
  const show = (s, p) => {
    chosen = [s, p];
    const point = data[s].points[p];
    ring.setAttribute("cx", point[0]);
    ring.setAttribute("cy", point[1]);
    svg.append(ring);
    tip.textContent = describe(data[s], point);
    tip.hidden = false;
    const at = new DOMPoint(point[0], point[1]).matrixTransform(svg.getScreenCTM());
    const size = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(at.x + 12, innerWidth - size.width - 4))}px`;
    tip.style.top = `${at.y + 12 + size.height < innerHeight ? at.y + 12 : at.y - 12 - size.height}px`;
  };
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = NEAR ** 2;
    let nearest = null;
    data.forEach((series, s) => {
      if (!isShown(series)) return;
      series.points.forEach(([x, y], p) => {
        const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
        if (distance < best) [best, nearest] = [distance, [s, p]];
      });
    });
    if (nearest) show(...nearest);
    else hide();
  });
  svg.addEventListener("pointerleave", hide);
  box.addEventListener("blur", hide);
  box.addEventListener("keydown", (event) => {
    if (event.target !== box) return;
    const shown = data.map((series, s) => s).filter((s) => isShown(data[s]));
    if (event.key === "Escape") hide();
    if (!shown.length || !/^Arrow/.test(event.key)) return;
    event.preventDefault();
    let [s, p] = chosen && isShown(data[chosen[0]]) ? chosen : [shown[0], -1];
    const step = /Right|Down/.test(event.key) ? 1 : -1;
    if (/Left|Right/.test(event.key)) {
      p += step;
      const at = shown.indexOf(s);
      if (p < 0 || p >= data[s].points.length) {
        s = shown[(at + step + shown.length) % shown.length];
        p = step > 0 ? 0 : data[s].points.length - 1;
      }
    } else {
      const x = p < 0 ? 0 : data[s].points[p][0];
      s = shown[(shown.indexOf(s) + step + shown.length) % shown.length];
      const gaps = data[s].points.map((point) => Math.abs(point[0] - x));
      p = gaps.indexOf(Math.min(...gaps));
    }
    show(s, p);
  });
}

for (const section of all(".choice")) {
  const figures = all("figure", section);
  if (figures.length < 2) continue;
  const box = document.createElement("fieldset");
  box.className = "choices";
  box.innerHTML = "<legend>Show</legend>";
  figures.forEach((figure, index) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: section.getAttribute("aria-labelledby"), checked: index === 0 });
    input.addEventListener("change", () => figures.forEach((other) => { other.hidden = other !== figure; }));
    label.append(input, ` ${figure.dataset.choice}`);
    box.append(label);
    figure.hidden = index > 0;
  });
  figures[0].before(box);
}

// The first number in "1,234", "< 0.05" or "+1.2 to 3.4"; in "0: 5.6" the number after the seed.
const number = (text) => parseFloat(text.replace(/^\d+: /, "").replace(/[<\s]|,(?=\d{3})/g, "").replace("\u2212", "-"));
const compareParts = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) {
    return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b, "en", { numeric: true });
  }
  return x - y;
};
const compare = (a, b) => {
  const [p, q] = [a.split(", "), b.split(", ")];
  const at = p.findIndex((part, i) => i >= q.length || compareParts(part, q[i]) !== 0);
  return at < 0 ? p.length - q.length : at < q.length ? compareParts(p[at], q[at]) : 1;
};

for (const table of all("table.sortable")) {
  const body = table.tBodies[0];
  all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const text = (row) => row.cells[column].textContent;
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => sign * compare(text(a), text(b)));
      body.append(...rows.filter(text), ...rows.filter((row) => !text(row)));
    });
  });
}
