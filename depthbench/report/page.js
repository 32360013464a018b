// What a reader can change on the page: which depths are drawn, which of two figures is seen, how a table is
// sorted. Without scripts all is shown, in the order of the report.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

const depths = document.getElementById("depths");
depths.hidden = all("input", depths).length < 2;
depths.addEventListener("change", () => {
  const hidden = all("input:not(:checked)", depths).map((box) => box.value);
  for (const part of all(".figure [class*=depth-]")) {
    part.style.display = hidden.some((depth) => part.classList.contains(depth)) ? "none" : "";
  }
});

for (const section of all(".choice")) {
  const figures = all("figure", section);
  if (figures.length < 2) continue;
  const box = document.createElement("fieldset");
  box.className = "choices";
  box.innerHTML = "<legend>Of the</legend>";
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

// of a list by seed ("0: +1.2, 1: ...") the first one's
const number = (text) => parseFloat(text.replace(/^\d+: /, "").replace(/[,<\s]/g, "").replace("\u2212", "-"));
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) {
    return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b, "en", { numeric: true });
  }
  return x - y;
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
      body.append(...[...body.rows].sort((a, b) => sign * compare(text(a), text(b))));
    });
  });
}
