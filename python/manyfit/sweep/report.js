"use strict";
// A trial is lit wherever it is shown; heads of the table sort it.
const marks = new Map();
for (const element of document.querySelectorAll("[data-trial]")) {
  const trial = element.dataset.trial;
  if (!marks.has(trial)) marks.set(trial, []);
  marks.get(trial).push(element);
}
let lit = null;
function light(trial) {
  if (trial === lit) return;
  for (const element of marks.get(lit) ?? []) element.classList.remove("lit");
  lit = trial;
  for (const element of marks.get(lit) ?? []) {
    element.classList.add("lit");
    if (element.namespaceURI.endsWith("svg")) element.parentNode.append(element);
  }
}
document.addEventListener("pointerover", (event) => {
  light(event.target.closest?.("[data-trial]")?.dataset.trial ?? null);
});
for (const head of document.querySelectorAll("table.sortable thead button")) {
  head.addEventListener("click", () => {
    const cell = head.closest("th");
    const column = cell.cellIndex;
    const body = cell.closest("table").tBodies[0];
    const down = cell.getAttribute("aria-sort") === "ascending";
    for (const other of cell.parentNode.cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const text = row.cells[column].dataset.value ?? row.cells[column].textContent;
      const value = Number(text);
      return text === "" || Number.isNaN(value) ? text : value;
    };
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      const less = typeof x === typeof y ? x < y : typeof x === "number";
      return x === y ? 0 : less ? -1 : 1;
    });
    body.append(...(down ? rows.reverse() : rows));
  });
}
