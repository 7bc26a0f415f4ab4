"use strict";
const rollouts = JSON.parse(document.getElementById("data").textContent);
const AT_ONCE = 20;
const form = document.getElementById("filters");
const list = document.getElementById("list");
const hint = document.getElementById("hint");
const more = document.getElementById("more");
let found = [];
let shown = 0;
const alone = rollouts.length === 1;

// The same scale as in the terminal: logarithmic from 1/3 to 3, blue for less than an even share, orange for more.
function colour(weight) {
  const position = Math.max(-1, Math.min(1, Math.log(Math.max(weight, 1e-6)) / Math.log(3)));
  const ink = position > 0 ? "214, 118, 22" : "38, 110, 200";
  return `rgba(${ink}, ${(0.65 * Math.abs(position)).toFixed(3)})`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function describe(span) {
  const measured = span.drop === null ? "" : `, ${span.measure} ${span.drop >= 0 ? "+" : ""}${span.drop.toFixed(3)}`;
  const importance = span.importance === null ? "" : `, importance ${span.importance.toFixed(2)}`;
  const weight = span.weight === null ? "" : `, weight ${span.weight.toFixed(2)}`;
  return `${span.kind}${measured}${importance}${weight}`;
}

function completion(rollout) {
  const box = element("div", "completion");
  rollout.tokens.forEach((token, t) => {
    const piece = element("span", "", token);
    piece.style.backgroundColor = colour(rollout.weights[t]);
    const span = rollout.spans.find((one) => one.start <= t && t < one.end);
    if (span) {
      piece.className = "in";
      piece.dataset.hint = describe(span);
    }
    box.append(piece);
  });
  return box;
}

function card(rollout) {
  const item = element("li");
  const head = element("div", "head");
  const verdict = rollout.right === null ? [] : [rollout.right ? "right" : "wrong"];
  const facts = [rollout.arm, ...(alone ? [] : [`step ${rollout.step}`]), ...verdict];
  if (rollout.reward !== null) facts.push(`reward ${rollout.reward}`);
  if (rollout.advantage !== null) facts.push(`advantage ${rollout.advantage.toFixed(2)}`);
  if (rollout.reason) facts.push(`every weight 1: ${rollout.reason.replaceAll("_", " ")}`);
  for (const fact of facts.filter(Boolean)) head.append(element("span", "", fact));
  item.append(head, element("div", "prompt", rollout.prompt.trim()), completion(rollout));
  return item;
}

function showMore() {
  const end = Math.min(found.length, shown + AT_ONCE);
  while (shown < end) list.append(card(found[shown++]));
  more.hidden = shown === found.length;
  document.getElementById("count").textContent = `${found.length} of ${rollouts.length} rollouts, ${shown} shown`;
}

function filter() {
  const asked = Object.fromEntries(new FormData(form));
  const from = asked.from === "" ? -Infinity : Number(asked.from);
  const to = asked.to === "" ? Infinity : Number(asked.to);
  found = rollouts.filter((one) =>
    (asked.arm === "" || one.arm === asked.arm) && from <= one.step && one.step <= to
    && (asked.right === "" || one.right === (asked.right === "right"))
    && (asked.reason === "" || (one.reason || "of its own") === asked.reason)
    && (one.prompt + one.tokens.join("")).toLowerCase().includes(asked.text.toLowerCase()));
  list.replaceChildren();
  shown = 0;
  showMore();
}

function options(name, values) {
  const select = form.elements[name];
  select.append(new Option("any", ""));
  for (const value of [...new Set(values)].sort()) select.append(new Option(value.replaceAll("_", " "), value));
}

for (const weight of [1 / 3, 0.5, 0.75, 1, 1.5, 2, 3]) {
  const sample = element("span", "", weight.toFixed(2));
  sample.style.backgroundColor = colour(weight);
  document.getElementById("legend").append(sample);
}
options("arm", rollouts.map((one) => one.arm));
form.elements.arm.parentElement.hidden = new Set(rollouts.map((one) => one.arm)).size < 2;
options("reason", rollouts.map((one) => one.reason || "of its own"));
if (alone) for (const id of ["filters", "count"]) document.getElementById(id).hidden = true;
if (alone) document.getElementById("heading").textContent = "Coloured by credit";
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", showMore);
document.addEventListener("mousemove", (event) => {
  const text = event.target.dataset ? event.target.dataset.hint : undefined;
  hint.hidden = !text;
  if (!text) return;
  hint.textContent = text;
  hint.style.left = `${Math.min(event.clientX + 12, window.innerWidth - hint.offsetWidth - 8)}px`;
  hint.style.top = `${event.clientY + 18}px`;
});
filter();
