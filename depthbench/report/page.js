// Interactive parts of the page: hide depths, switch between figures with the same title, sort tables.
// Without scripts everything is shown, in the order of the report.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

const depths = document.getElementById("depths");
depths.hidden = all("input", depths).length < 2;
depths.addEventListener("change", () => {
  const hidden = all("input:not(:checked)", depths).map((box) => box.value);
  for (const part of all(".figure [class*=depth-]")) {
    part.classList.toggle("off", hidden.some((depth) => part.classList.contains(depth)));
  }
});

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

for (const table of all("table")) {
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
