// The page can be read without this script. It sorts tables, and filters, searches and sorts the translations.
"use strict";

// ---------------------------------------------------------------- tables

const SCALE = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, s: 1, min: 60, h: 3600 };

// The number at the start of a cell's text (before marks and intervals) with its unit, null where there is none.
function numberOf(cell) {
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  const text = cell.firstChild ? cell.firstChild.textContent : "";
  const found = /^\s*([+\u2212-]?)([\d,]*\.?\d+(?:e[+-]?\d+)?)(?:\s?([kMGT]|(?:s|min|h)(?![a-z])))?/.exec(text);
  if (!found) return null;
  const value = Number(found[2].replaceAll(",", "")) * (SCALE[found[3]] || 1);
  return found[1] && found[1] !== "+" ? -value : value;
}

function compare(a, b) {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null && y !== null) return x - y;
  if (x !== null || y !== null) return x === null ? -1 : 1;
  return a.textContent.localeCompare(b.textContent);
}

// Missing values stay at the bottom in any order.
function missing(cell) {
  return cell.textContent.trim() === "\u2013" || cell.textContent.trim() === "";
}

function sortRows(table, column, order) {
  const body = table.tBodies[0];
  const rows = [...table.rowsAsMade];
  const last = table.classList.contains("total") ? rows.pop() : null;
  if (order !== "none") {
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      const [x, y] = [a.cells[column], b.cells[column]];
      return missing(x) - missing(y) || sign * compare(x, y);
    });
  }
  body.append(...rows, ...(last ? [last] : []));
}

// Headings become buttons: descending, ascending, first order. Names begin with ascending.
function makeSortable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length - table.classList.contains("total") < 2) return;
  table.rowsAsMade = rows;
  const corner = table.tHead.rows[0].cells[0];
  const last = [...table.tHead.rows[table.tHead.rows.length - 1].cells].filter((cell) => cell !== corner);
  [corner, ...last].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const numbers = rows.some((row) => row.cells[column] && numberOf(row.cells[column]) !== null);
    const turns = numbers && column ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    button.addEventListener("click", () => {
      const order = turns[(turns.indexOf(head.getAttribute("aria-sort") || "none") + 1) % 3];
      for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      sortRows(table, column, order);
      const how = order === "none" ? "in its first order" : `by ${button.textContent}, ${order}`;
      document.getElementById("said").textContent = `Table sorted ${how}`;
    });
  });
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);

// What is wider than its place says that it scrolls.
const sizes = new ResizeObserver((all) => requestAnimationFrame(() => {
  for (const { target } of all) target.classList.toggle("scrolls", target.scrollWidth > target.clientWidth + 1);
}));
for (const place of document.querySelectorAll(".scroll, .plot")) sizes.observe(place);

// ---------------------------------------------------------------- translations

// Words as the language writes them (Chinese has no spaces), with what is between them.
function parts(text, language) {
  if (!window.Intl?.Segmenter) return text.split(/([\p{L}\p{M}\p{N}]+)/u);
  return [...new Intl.Segmenter(language, { granularity: "word" }).segment(text)].map((one) => one.segment);
}

const folded = (word) => word.normalize("NFC").toLowerCase();

// Marks of the words of a text: `kind` gives the class of a word, empty for none. The text itself stays.
function markWords(element, kind) {
  const text = element.textContent;
  const pieces = parts(text, element.lang).map((word) => {
    const name = /[\p{L}\p{N}]/u.test(word) ? kind(folded(word)) : "";
    return name ? Object.assign(document.createElement("mark"), { className: name, textContent: word }) : word;
  });
  element.replaceChildren(...pieces);
}

// Words of A and B that the reference lacks, or that only one of them has in common with it.
function markItem(item, a, b) {
  const texts = new Map(item.terms.map((term) => [term.dataset.m, term.nextElementSibling]));
  const references = [...item.article.querySelectorAll("dt:not([data-m]) + dd")].slice(1);
  const words = (...all) => new Set(all.filter(Boolean).flatMap((one) => parts(one.textContent, one.lang)).map(folded));
  const [wanted, one, other] = [words(...references), words(texts.get(a)), words(texts.get(b))];
  for (const [name, text] of texts) {
    const rest = name === a ? other : one;
    if (name !== a && name !== b) text.replaceChildren(text.textContent);
    else markWords(text, (word) => (!wanted.has(word) ? "off" : a !== b && !rest.has(word) ? "only" : ""));
  }
  for (const text of references) markWords(text, (word) => (one.has(word) || other.has(word) ? "" : "only"));
}

const FEW = 100; // sentences: up to so many search results are shown at once, in all lists

function makeBrowser(form) {
  const groups = [...document.querySelectorAll("#translations details.group")].map((element) => ({
    element,
    count: element.querySelector(".count"),
    whole: element.querySelector(".count").textContent,
    items: [...element.querySelectorAll("article")].map((article) => ({
      article,
      terms: [...article.querySelectorAll("dt[data-m]")],
      scores: new Map([...article.querySelectorAll("dt[data-m]")].map((t) => [t.dataset.m, Number(t.dataset.c)])),
      texts: [...article.querySelectorAll("dd")].map((dd) => dd.textContent.normalize("NFC").toLowerCase()),
      flags: new Set([...article.querySelectorAll(".flag")].map((mark) => mark.dataset.f)),
    })),
  }));
  const fields = form.elements;

  function difference(item) {
    return item.scores.get(fields.b.value) - item.scores.get(fields.a.value);
  }

  function key(item) {
    const apart = difference(item);
    const keys = { b: -apart, a: apart, apart: -Math.abs(apart), worst: item.scores.get(fields.a.value) };
    const value = keys[fields.order.value];
    return value === undefined || Number.isNaN(value) ? Infinity : value;
  }

  function sortGroup(group) {
    const items = fields.order.value === "line" ? group.items : [...group.items].sort((x, y) => {
      const [p, q] = [key(x), key(y)];
      return p === q ? 0 : p - q;
    });
    group.element.append(...items.map((item) => item.article));
  }

  function showDifference(item, wanted) {
    const heading = item.article.querySelector("h3");
    let place = heading.querySelector(".apart");
    const apart = difference(item);
    if (!wanted || Number.isNaN(apart)) return void place?.remove();
    if (!place) heading.append(place = Object.assign(document.createElement("span"), { className: "apart" }));
    place.textContent = ` B \u2212 A: ${signed(apart)}`;
  }

  function signed(value) {
    const text = Math.abs(value).toFixed(1);
    return text === "0.0" ? text : (value < 0 ? "\u2212" : "+") + text;
  }

  // With "only A and B" the two are side by side if there is room (page.css).
  function arrange(item, only) {
    item.article.classList.toggle("two", Boolean(only));
    for (const term of item.terms) {
      const places = { a: only && only[0] === term.dataset.m, b: only && only[1] === term.dataset.m };
      for (const element of [term, term.nextElementSibling]) {
        element.hidden = Boolean(only && !only.includes(term.dataset.m));
        for (const [name, there] of Object.entries(places)) element.classList.toggle(name, Boolean(there));
      }
    }
  }

  function update() {
    const wanted = fields.search.value.trim().normalize("NFC").toLowerCase();
    const only = fields.two.checked ? [fields.a.value, fields.b.value] : null;
    const filtered = wanted || fields.flag.value || fields.test.value || fields.direction.value;
    const compared = fields.order.value !== "line" || only;
    const hits = [];
    for (const group of groups) {
      const { test, direction } = group.element.dataset;
      const here = [[fields.test, test], [fields.direction, direction]].every(([f, v]) => !f.value || f.value === v);
      let inside = 0;
      for (const item of here ? group.items : []) {
        const hit = (!wanted || item.texts.some((text) => text.includes(wanted)))
          && (!fields.flag.value || item.flags.has(fields.flag.value));
        item.article.hidden = !hit;
        if (!hit) continue;
        inside += 1;
        showDifference(item, compared);
        arrange(item, only);
      }
      const some = wanted || fields.flag.value;
      group.count.textContent = some ? `${inside} of the ${group.items.length} shown match` : group.whole;
      group.element.hidden = !here || (inside === 0 && Boolean(filtered));
      if (here) sortGroup(group);
      if (inside) hits.push([group, inside]);
    }
    const [shown, places] = [hits.reduce((sum, [, inside]) => sum + inside, 0), hits.length];
    const opened = wanted && shown <= FEW ? hits : hits.slice(0, filtered ? 1 : 0);
    for (const [group] of opened) group.element.open = true;
    document.getElementById("found").textContent =
      `${shown} sentence${shown === 1 ? "" : "s"} in ${places} list${places === 1 ? "" : "s"}.`;
  }

  function mark(group) {
    if (group.element.open) for (const item of group.items) markItem(item, fields.a.value, fields.b.value);
  }

  for (const group of groups) group.element.addEventListener("toggle", () => mark(group));
  for (const field of [fields.a, fields.b]) field.addEventListener("change", () => groups.forEach(mark));
  groups.forEach(mark);

  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(update, 150);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}

const form = document.getElementById("browse");
if (form) makeBrowser(form);
