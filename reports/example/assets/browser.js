// The sample browser. Whatever a model or a data set said is set as text, never as markup.
"use strict";
const harnessReport = (() => {
  const ROW_PX = 64;
  const SPARE_ROWS = 6;
  const WORDS = { r: "right", w: "wrong", u: "unscored", "-": "not asked", s: "scored" };
  const SIGNS = { r: "✓", w: "✗", u: "?", "-": "–" };
  const byId = (id) => document.getElementById(id);

  let index = null;
  let all = []; // {task, place}: every sample in order
  let shown = []; // positions in `all` that the filters leave
  let current = -1; // position in `all` of the open sample
  let turn = 0; // counts filterings, so that a late one is dropped
  const chunks = new Map(); // "task-chunk" -> {rows, texts, waiting, promise}

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") made.className = value;
      else made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // data

  function chunk(task, number, rows) {
    const held = chunks.get(`${task}-${number}`);
    if (held) held.waiting(rows);
  }

  function load(task, number) {
    const key = `${task}-${number}`;
    if (!chunks.has(key)) {
      const held = { rows: null, texts: null };
      held.promise = new Promise((resolve, reject) => {
        held.waiting = (rows) => {
          held.rows = rows;
          resolve(held);
        };
        const script = element("script", { src: `data/${key}.js` });
        script.addEventListener("error", () => {
          chunks.delete(key);
          reject(new Error(`data/${key}.js is missing; pass the folder on as a whole`));
        });
        document.head.append(script);
      });
      chunks.set(key, held);
    }
    return chunks.get(key).promise;
  }

  function textsOf(held, task, number) {
    if (!held.texts) {
      const ids = index.tasks[task].ids;
      held.texts = held.rows.map((row, at) =>
        [
          ids[number * index.chunk + at], row.question, row.hint, ...(row.choices || []), ...(row.references || []),
          ...Object.values(row.metadata || {}),
          ...row.answers.flatMap((a) => (a ? [a.text, a.extracted, a.failure, a.detail] : [])),
        ].filter(Boolean).join("\n").toLowerCase(),
      );
    }
    return held.texts;
  }

  async function readAll(task, stillWanted) {
    const count = Math.ceil(index.tasks[task].ids.length / index.chunk);
    for (let number = 0; number < count && stillWanted(); number += 4) {
      const numbers = [0, 1, 2, 3].map((n) => number + n).filter((n) => n < count);
      await Promise.all(numbers.map((n) => load(task, n).then((held) => textsOf(held, task, n))));
    }
  }

  // filters

  function wanted() {
    const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
    return {
      task: number("task"), category: byId("category").value, only: number("only"), rule: number("rule"),
      disagree: byId("disagree").checked, unscored: byId("unscored").checked,
      words: byId("search").value.toLowerCase().split(/\s+/).filter(Boolean),
    };
  }

  function passes(filter, { task, place }) {
    const held = index.tasks[task];
    if (filter.task !== null && filter.task !== task) return false;
    if (filter.category && !held.fields[place].some((f) => held.categories[f] === filter.category)) return false;
    if (filter.only !== null && held.best[place] !== filter.only) return false;
    if (filter.rule !== null && !held.rules[place].includes(filter.rule)) return false;
    if (filter.disagree && held.disagree[place] !== "1") return false;
    if (filter.unscored && !held.verdicts[place].includes("u")) return false;
    if (filter.words.length) {
      const number = Math.floor(place / index.chunk);
      const text = chunks.get(`${task}-${number}`).texts[place % index.chunk];
      return filter.words.every((word) => text.includes(word));
    }
    return true;
  }

  async function filter() {
    const mine = ++turn;
    const chosen = wanted();
    if (chosen.words.length) {
      const tasks = index.tasks.map((_, number) => number).filter((n) => chosen.task === null || chosen.task === n);
      byId("count").textContent = "Reading the texts …";
      try {
        for (const task of tasks) await readAll(task, () => mine === turn);
      } catch (error) {
        byId("count").textContent = error.message;
        return;
      }
      if (mine !== turn) return;
    }
    shown = [];
    all.forEach((sample, position) => {
      if (passes(chosen, sample)) shown.push(position);
    });
    byId("count").textContent = `${shown.length} of ${all.length} samples`;
    byId("rows").style.height = `${shown.length * ROW_PX}px`;
    const row = shown.indexOf(current);
    byId("list").scrollTop = row < 0 ? 0 : Math.max(0, (row - 1) * ROW_PX);
    drawRows(true);
  }

  function categoriesOf(task) {
    const tasks = task === null ? index.tasks : [index.tasks[task]];
    return [...new Set(tasks.flatMap((t) => t.categories))].sort();
  }

  function fill(id, entries) {
    const select = byId(id);
    const before = select.value;
    select.replaceChildren(select.options[0]);
    for (const [value, text] of entries) {
      const option = element("option", {}, text);
      option.value = value;
      select.append(option);
    }
    select.value = before;
    if (select.selectedIndex < 0) select.value = "";
    select.disabled = entries.length === 0;
  }

  // the list: only rows in sight exist

  let firstDrawn = -1;
  let lastDrawn = -1;

  function drawRows(force = false) {
    const list = byId("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_PX) + SPARE_ROWS);
    if (!force && first === firstDrawn && last === lastDrawn) return;
    [firstDrawn, lastDrawn] = [first, last];
    const rows = [];
    for (let row = first; row < last; row += 1) rows.push(drawRow(row));
    byId("rows").replaceChildren(...rows);
    const open = shown.indexOf(current);
    if (open >= first && open < last) list.setAttribute("aria-activedescendant", `row-${open}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function verdictText(task, place, model) {
    const letter = task.verdicts[place][model];
    return letter === "s" ? String(task.values[place][model]) : SIGNS[letter];
  }

  function drawRow(row) {
    const position = shown[row];
    const { task: number, place } = all[position];
    const task = index.tasks[number];
    const marks = index.models.map((model, at) => {
      const letter = task.verdicts[place][at];
      const value = letter === "s" ? Number(task.values[place][at]).toFixed(2).replace(/^0/, "") : SIGNS[letter];
      const mark = element("span", { class: `mark ${letter === "-" ? "n" : letter}`, "aria-hidden": "true" }, value);
      mark.title = `${model}: ${WORDS[letter]}`;
      return mark;
    });
    const spoken = index.models.map((model, at) => `${model} ${WORDS[task.verdicts[place][at]]}`).join(", ");
    const made = element(
      "div",
      {
        class: "row", role: "option", id: `row-${row}`, "aria-selected": String(position === current),
        "aria-posinset": row + 1, "aria-setsize": shown.length,
        "aria-label": `${task.name} ${task.ids[place]}: ${task.titles[place]}. ${spoken}`,
      },
      element("div", { class: "title" }, task.titles[place] || "(no question)"),
      element(
        "div", { class: "under" }, element("span", { class: "id" }, `${task.name} · ${task.ids[place]}`),
        element("span", { class: "marks" }, ...marks),
      ),
    );
    made.style.top = `${row * ROW_PX}px`;
    made.addEventListener("click", () => open(position));
    return made;
  }

  function bringIntoSight(row) {
    const list = byId("list");
    const top = row * ROW_PX;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX - list.clientHeight;
  }

  function go(row) {
    if (shown.length) open(shown[Math.max(0, Math.min(shown.length - 1, row))]);
  }

  function move(by) {
    const row = shown.indexOf(current);
    if (row >= 0) return go(row + by);
    const next = shown.findIndex((position) => position > current); // the open sample is filtered out
    return go(next < 0 ? shown.length - 1 : by > 0 ? next : next - 1);
  }

  // one sample

  const link = ({ task, place }) =>
    `#${encodeURIComponent(index.tasks[task].name)}/${encodeURIComponent(index.tasks[task].ids[place])}`;

  async function open(position) {
    current = position;
    const sample = all[position];
    if (location.hash !== link(sample)) history.replaceState(null, "", link(sample));
    const row = shown.indexOf(position);
    if (row >= 0) bringIntoSight(row);
    drawRows(true);
    const number = Math.floor(sample.place / index.chunk);
    try {
      const held = await load(sample.task, number);
      if (current === position) draw(sample, held.rows[sample.place % index.chunk]);
    } catch (error) {
      byId("detail").replaceChildren(element("p", { class: "absent" }, error.message));
    }
  }

  function fact(list, name, value) {
    if (value === undefined || value === null || value === "") return;
    list.append(element("dt", {}, name), element("dd", {}, value instanceof Node ? value : String(value)));
  }

  function listOf(values, letters = false) {
    return element(letters ? "ol" : "ul", letters ? { class: "letters" } : {}, ...values.map((v) => element("li", {}, v)));
  }

  function draw(sample, row) {
    const task = index.tasks[sample.task];
    const id = task.ids[sample.place];
    const steps = element("span", { class: "steps" });
    for (const [text, by, name] of [["←", -1, "previous sample"], ["→", 1, "next sample"]]) {
      const button = element("button", { type: "button", "aria-label": name }, text);
      button.addEventListener("click", () => move(by));
      steps.append(button);
    }
    const place = element(
      "p", { class: "place" }, element("span", {}, `${task.name} (${task.dataset})`),
      element("a", { href: link(sample) }, id), steps,
    );
    const facts = element("dl", { class: "facts" });
    fact(facts, "hint", row.hint);
    if (row.choices) fact(facts, "options", listOf(row.choices, true));
    if (row.references) fact(facts, row.references.length > 1 ? "references" : "reference",
      row.references.length > 1 ? listOf(row.references) : row.references[0]);
    (row.formulas || []).forEach((file) => fact(facts, "drawn", drawFormula(file, "the reference")));
    for (const [name, value] of Object.entries(row.metadata || {})) fact(facts, name, value);
    fact(facts, "group", row.group);
    if (row.base) {
      const base = `#${encodeURIComponent(task.name)}/${encodeURIComponent(row.base)}`;
      fact(facts, "scored with", element("a", { href: base }, row.base));
    }
    fact(facts, "problem", row.problem);
    if (row.audio) fact(facts, "recording", `${row.audio.join(", ")} (not in this report)`);
    const top = element("div", { class: "top" }, drawPictures(row), facts);
    const answers = element("section", { class: "answers", "aria-label": "Answers" });
    index.models.forEach((model, at) => answers.append(drawAnswer(task, sample.place, model, at, row)));
    const prompts = element("details", {}, element("summary", {}, row.prompts && row.prompts.length > 1 ? "Prompts" : "Prompt"));
    (row.prompts || []).forEach((prompt, number) => {
      if (row.prompts.length > 1) {
        const asked = index.models.filter((_, at) => row.answers[at] && (row.answers[at].prompt || 0) === number);
        prompts.append(element("p", { class: "soft" }, asked.join(", ")));
      }
      prompts.append(element("pre", {}, prompt));
    });
    byId("detail").replaceChildren(
      place, element("h2", {}, row.question || "(no question)"), top, answers, ...(row.prompts ? [prompts] : []),
    );
    byId("detail").scrollTop = 0;
    document.title = `${id}: ${task.name}`;
  }

  function drawFormula(file, what) {
    return element("img", { class: "formula", src: `images/${file}`, loading: "lazy", alt: `${what}, drawn as a formula` });
  }

  function drawPictures(row) {
    const pictures = element("div", { class: "pictures" });
    (row.images || []).forEach(([file, name], number) => {
      if (!file) {
        pictures.append(element("p", { class: "absent" }, `Image ${number + 1} is not shown. ${name}`));
        return;
      }
      const image = element("img", {
        src: `images/${file}`, loading: "lazy", decoding: "async", alt: `image ${number + 1} of this sample, ${name}`,
      });
      pictures.append(element("figure", {}, image, element("figcaption", {}, name)));
    });
    return pictures;
  }

  function drawAnswer(task, place, model, at, row) {
    const answer = row.answers[at];
    const letter = task.verdicts[place][at];
    const verdict = letter === "s" ? verdictText(task, place, at) : `${SIGNS[letter]} ${WORDS[letter]}`;
    const made = element(
      "section", { class: "answer" },
      element("h3", {}, element("span", {}, model), element("span", { class: `mark ${letter === "-" ? "n" : letter}` }, verdict)),
    );
    if (!answer) {
      made.append(element("p", { class: "said empty" }, "This run did not ask this sample."));
      return made;
    }
    if (answer.text === undefined) made.append(element("p", { class: "said empty" }, `no answer (${answer.failure || "unknown"})`));
    else if (answer.text === "") made.append(element("p", { class: "said empty" }, "empty answer"));
    else made.append(element("pre", { class: "said" }, answer.text));
    if (answer.formula) made.append(drawFormula(answer.formula, "the answer"));
    const facts = element("dl", { class: "facts" });
    const rule = index.rules[task.rules[place][at]];
    fact(facts, "read as", answer.extracted ?? (rule && answer.text !== undefined && !row.base ? "the same text" : null));
    fact(facts, "rule", rule);
    fact(facts, "met", answer.reference);
    fact(facts, "why", answer.detail);
    if (answer.unscored !== answer.failure) fact(facts, "unscored", answer.unscored);
    made.append(facts);
    if (answer.others) {
      const others = element("dl", { class: "facts" });
      answer.others.forEach((value, number) => fact(others, task.further[number], value));
      made.append(element("details", {}, element("summary", {}, "further metrics"), others));
    }
    if (answer.steps) {
      const written = answer.steps.flatMap(([name, text]) => [element("p", { class: "soft" }, name), element("pre", {}, text)]);
      made.append(element("details", {}, element("summary", {}, "on the way"), ...written));
    }
    return made;
  }

  // address and keys

  function fromAddress() {
    const [name, id] = location.hash.slice(1).split("/").map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part; // not written by this page
      }
    });
    const task = index.tasks.findIndex((t) => t.name === name);
    if (task < 0) return false;
    if (id === undefined) {
      byId("task").value = String(task);
      byId("task").dispatchEvent(new Event("change"));
      return false;
    }
    const position = all.findIndex((s) => s.task === task && index.tasks[task].ids[s.place] === id);
    if (position < 0) {
      byId("detail").replaceChildren(element("p", { class: "absent" }, `There is no sample ${id} in ${name}.`));
      return true;
    }
    open(position);
    return true;
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (typing) {
      if (event.key === "Escape") byId("list").focus();
      return;
    }
    const toggle = (id) => {
      byId(id).checked = !byId(id).checked;
      filter();
    };
    const inDetail = byId("detail").contains(event.target);
    const keys = {
      j: () => move(1), k: () => move(-1), "/": () => byId("search").select(), "?": () => byId("help").showModal(),
      d: () => toggle("disagree"), u: () => toggle("unscored"),
      ...(inDetail ? {} : { ArrowDown: () => move(1), ArrowUp: () => move(-1) }),
      ...(document.activeElement === byId("list") ? { Home: () => go(0), End: () => go(shown.length - 1) } : {}),
    };
    if (Object.hasOwn(keys, event.key)) {
      event.preventDefault();
      keys[event.key]();
    }
  }

  function start() {
    index.tasks.forEach((task, number) => task.ids.forEach((_, place) => all.push({ task: number, place })));
    fill("task", index.tasks.map((task, number) => [number, `${task.name} (${task.ids.length})`]));
    fill("category", categoriesOf(null).map((label) => [label, label]));
    fill("only", index.models.map((model, number) => [number, model]));
    fill("rule", index.rules.map((rule, number) => [number, rule]));
    if (matchMedia("(max-width: 760px)").matches) byId("more-filters").open = false;
    byId("task").addEventListener("change", () => {
      const task = byId("task").value;
      fill("category", categoriesOf(task === "" ? null : Number(task)).map((label) => [label, label]));
    });
    byId("filters").addEventListener("change", (event) => {
      if (event.target.id !== "search") filter();
    });
    let typed = 0;
    byId("search").addEventListener("input", () => {
      clearTimeout(typed);
      typed = setTimeout(filter, 120);
    });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("reset", () => setTimeout(() => {
      byId("task").dispatchEvent(new Event("change"));
      filter();
    }));
    byId("help-button").addEventListener("click", () => byId("help").showModal());
    let waiting = false;
    byId("list").addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        drawRows();
      });
    });
    addEventListener("resize", () => drawRows(true));
    addEventListener("hashchange", fromAddress);
    document.addEventListener("keydown", onKey);
    const opened = fromAddress();
    filter().then(() => {
      if (!opened) go(0);
    });
  }

  return { index: (data) => { index = data; }, chunk, start };
})();
