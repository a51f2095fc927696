"use strict";

const find = (id) => document.getElementById(id);
const ROLES = {
  general: "general", source: "of the source", target: "of the target", base: "as the base has them", absent: "left out",
};
let offer;  // what /models says
let asked = 0;  // number of the last request: answers to earlier ones are not shown

function make(tag, content = "", properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...[content].flat());
  return element;
}

function direction(model, source, target) {
  return model.directions.find((one) => one.source === source && one.target === target);
}

function fill() {
  for (const id of ["source", "target"]) {
    find(id).append(...offer.languages.map((one) => make("option", one.name, { value: one.code })));
  }
  const first = offer.models.flatMap((model) => model.trained)[0] ?? offer.languages.slice(0, 2).map((one) => one.code);
  [find("source").value, find("target").value] = first;
  offer.models.forEach((model) => {
    const box = make("input", "", { type: "checkbox", value: model.name, checked: true });
    find("models").append(make("label", [box, ` ${model.name}`]));
  });
  find("models").hidden = offer.models.length < 2;
}

function written(id) {  // the direction in which a chosen language is written
  return offer.languages.find((one) => one.code === find(id).value).dir;
}

function update() {
  Object.assign(find("text"), { dir: written("source"), lang: find("source").value });
  for (const option of find("target").options) option.disabled = option.value === find("source").value;
  find("go").disabled = !find("text").value.trim() || find("source").value === find("target").value;
}

function number(value) {
  return String(Math.round(value * 1000) / 1000);
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}

function layerRow(layer) {
  const bar = make("div", layer.parts.filter((part) => part.role !== "absent").map((part) => {
    const piece = make("i", "", { className: part.role });
    piece.style.width = `${100 * part.share}%`;
    return piece;
  }), { className: "bar" });
  bar.setAttribute("aria-hidden", "true");
  const items = layer.parts.map((part) => make("li", [
    make("span", "", { className: `key ${part.role}` }),
    `${percent(part.share)} ${ROLES[part.role]}` + (part.factor === null || part.role === "base" ? "" : `, factor ${number(part.factor)}`),
  ]));
  return make("tr", [
    make("th", `Layer ${layer.layer}`, { scope: "row" }), make("td", [bar, make("ul", items, { className: "parts" })]),
  ]);
}

function routing(model, one) {
  if (!one.layers.length) return make("p", "No routing: the whole model runs in every direction.", { className: "facts" });
  const others = model.layers - one.layers.length;
  return make("details", [
    make("summary", "What the routing did"),
    make("table", [
      make("caption", "Share of the neurons of each chosen layer that this direction runs, and the factor of each group"),
      make("tbody", one.layers.map(layerRow)),
    ]),
    make("p", `The other ${others} layers are the base's.`),
  ], { open: true });
}

async function ask(model, body) {
  const began = performance.now();
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  try {
    const answer = await fetch("/translate", options);
    const content = await answer.json();
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    return answer.ok ? { text: content.translatedText, seconds } : { fault: content.error };
  } catch {
    return { fault: "The server does not answer." };
  }
}

function card(model, source, target) {
  const one = direction(model, source, target);
  const trained = model.trained.some((pair) => pair[0] === source && pair[1] === target);
  const facts = make("p", "…", { className: "facts" });
  const output = make("p", "", { className: "output", lang: target, dir: written("target") });
  const element = make("article", [make("header", [make("h2", model.name), facts]), output]);
  if (one) element.append(routing(model, one));
  const note = model.trained.length && one && !trained ? "not trained in this direction" : "";
  return { element, show(answer) {
    facts.textContent = [answer.seconds && `${answer.seconds} s`, note].filter(Boolean).join(", ");
    output.textContent = answer.fault ?? (answer.text.trim() ? answer.text : "(nothing)");
    if (answer.fault) Object.assign(output, { className: "output fault", dir: "ltr", lang: "en" });
  } };
}

async function translate(event) {
  event?.preventDefault();
  update();
  if (find("go").disabled) return;
  const [source, target, q] = [find("source").value, find("target").value, find("text").value];
  const chosen = new Set([...document.querySelectorAll("#models input:checked")].map((box) => box.value));
  const models = offer.models.filter((model) => chosen.has(model.name));
  const round = ++asked;
  const cards = models.map((model) => card(model, source, target));
  find("results").replaceChildren(...cards.map((one) => one.element));
  find("status").textContent = models.length ? "Translating…" : "Choose a model.";
  await Promise.all(models.map(async (model, place) => {
    const answer = await ask(model, { q, source, target, model: model.name });
    if (round === asked) cards[place].show(answer);
  }));
  if (round === asked && models.length) find("status").textContent = "Done.";
}

async function start() {
  try {
    offer = await (await fetch("/models")).json();
  } catch {
    find("status").textContent = "The server does not answer.";
    return;
  }
  fill();
  update();
  find("form").addEventListener("submit", translate);
  find("text").addEventListener("input", update);
  for (const id of ["source", "target"]) find(id).addEventListener("change", update);
  find("swap").addEventListener("click", () => {
    [find("source").value, find("target").value] = [find("target").value, find("source").value];
    update();
  });
  find("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate(event);
  });
}

start();
