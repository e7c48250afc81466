// Sorts the rows of a table by a column: numbers by their first number, other text as text.
"use strict";
(() => {
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = /^[<=≤\[\s]*([+-]?\d[\d.,]*(?:e[+-]?\d+)?)/i.exec(text);
    return { text, number: number ? Number(number[1].replace(/,/g, "")) : NaN };
  };

  const compare = (a, b) => {
    const numbers = [Number.isNaN(a.number), Number.isNaN(b.number)];
    if (numbers[0] !== numbers[1]) return numbers[0] ? 1 : -1;
    return numbers[0] ? a.text.localeCompare(b.text) : a.number - b.number;
  };

  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column));
      head.append(button);
    });
  }
})();
