"use strict";
for (const details of document.querySelectorAll("details.table")) {
  const table = details.querySelector("table");
  if (!table) continue;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const filter = details.querySelector("input");
  const shown = details.querySelector(".shown");
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;

  // Missing values stay last in both directions, equal ones in the order of the table.
  const sort = (column, ascending) => {
    const numeric = heads[column].classList.contains("n");
    const compare = numeric
      ? (a, b) => Number(a) - Number(b)
      : (a, b) => a.localeCompare(b, "en", { numeric: true });
    const number = (text) => text.replace("inf", "Infinity");
    body.append(...[...rows].sort((first, second) => {
      const a = key(first, column), b = key(second, column);
      if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
      const order = numeric ? compare(number(a), number(b)) : compare(a, b);
      return (ascending ? order : -order) || 0;
    }));
  };

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(column, ascending);
    });
  });

  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = words.length ? `${count} of ${rows.length} rows` : "";
  });
}
