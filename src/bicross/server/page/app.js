"use strict";
const PAUSE = 250; // milliseconds after the last key
const MOST_FACETS = 8;
const $ = id => document.getElementById(id);

let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
let say = WORDS[language];
let answer = null;      // the last one, to say it again in another language
let facets = [];        // {field, type, values}
const wanted = new Map(); // field -> value
let chosen = -1;        // the hit under the keyboard
let asking = null;      // to give up what was asked before
let timer = 0;

// ---- elements ----------------------------------------------------------------------------------------------------

function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

// ---- talking to the server ---------------------------------------------------------------------------------------

class Failed extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function call(path, options = {}) {
  const headers = {...(options.body ? {"Content-Type": "application/json"} : {})};
  const key = sessionStorage.getItem("key");
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(0, say.away);
  }
  if (response.ok) return response;
  if (response.status === 401) {
    await askKey();
    return call(path, options);
  }
  let message = response.statusText;
  try { message = (await response.json()).message || message; } catch { /* no JSON: the status says it */ }
  throw new Failed(response.status, message);
}

function askKey() {
  const dialog = $("ask-key");
  if (!dialog.open) dialog.showModal();
  return new Promise(resolve => {
    $("key-form").addEventListener("submit", event => {
      event.preventDefault();
      sessionStorage.setItem("key", $("key").value.trim());
      dialog.close();
      resolve();
    }, {once: true});
  });
}

/** Server-sent events of a response, one after the other. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [name, data] = text.slice(0, end).split("\n").map(line => line.slice(line.indexOf(":") + 2));
      text = text.slice(end + 2);
      yield {name, value: JSON.parse(data)};
    }
  }
}

// ---- searching ---------------------------------------------------------------------------------------------------

function filterOf() {
  const parts = [];
  for (const [field, value] of wanted) {
    parts.push(`${field} == ${typeof value === "string" ? JSON.stringify(value) : value}`);
  }
  return parts.length ? parts.join(" and ") : null;
}

async function search() {
  clearTimeout(timer);
  asking?.abort();
  const query = $("query").value.trim();
  remember(query);
  if (!query) {
    answer = null;
    show();
    status("");
    return;
  }
  const mine = asking = new AbortController();
  const rerank = $("rerank").checked;
  const least = $("least").value;
  const body = {query, mode: $("mode").value, rerank, filter: filterOf(), highlight: true, stream: true};
  if (rerank && least) body.min_relevance = Number(least);
  status(say.searching);
  try {
    const response = await call("/search", {method: "POST", body: JSON.stringify(body), signal: mine.signal});
    for await (const event of events(response)) {
      if (mine.signal.aborted) return;
      if (event.name === "error") throw new Failed(500, event.value.message);
      answer = {...event.value, done: event.name === "result", rerank};
      chosen = -1;
      show();
    }
  } catch (error) {
    if (error.name === "AbortError" || mine.signal.aborted) return;
    answer = null;
    show();
    status(error.status === 429 ? say.busy : error.message, true);
    if (error.status === 429) timer = setTimeout(search, 1500);
  }
}

function remember(query) {
  const url = new URL(location);
  if (query) url.searchParams.set("q", query); else url.searchParams.delete("q");
  history.replaceState(null, "", url);
}

function status(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", failed);
}

// ---- showing -----------------------------------------------------------------------------------------------------

function show() {
  $("columns").hidden = $("cost").hidden = !answer;
  if (!answer) return;
  const {hits, retrieved, done, rerank} = answer;
  $("columns").classList.toggle("two", rerank && done);
  $("first").hidden = !(rerank && done);
  $("second-title").textContent = rerank && done ? say.second_stage : rerank ? say.first_stage : say.only_first;
  const titles = new Map(hits.map(hit => [hit.document_id, hit.title || hit.document_id]));
  $("retrieved").replaceChildren(...retrieved.slice(0, 20).map((id, place) =>
    make("li", {"data-id": id}, make("span", {class: "place"}, `${place + 1}`),
      make("span", {class: "name", title: id}, titles.get(id) || id))));
  $("hits").replaceChildren(...hits.map((hit, place) => card(hit, place)));
  showCost();
  if (done) status(hits.length ? say.found(hits.length, Math.round(answer.milliseconds)) : $("least").value ? say.none_left : say.none);
}

function card(hit, place) {
  const {retrieved, done, rerank} = answer;
  const before = retrieved.indexOf(hit.document_id);
  let moved = null;
  if (rerank && done) {
    const by = before - place;
    const [mark, text, kind] = before < 0 ? ["", say.newcomer, ""] : by > 0 ? ["▲ ", say.up(by), "up"]
      : by < 0 ? ["▼ ", say.down(-by), "down"] : ["", say.same, ""];
    moved = make("span", {class: `moved ${kind}`}, mark + text);
  }
  const facts = make("div", {class: "facts"});
  if (hit.relevance !== null) {
    const percent = Math.round(100 * hit.relevance);
    const bar = make("span");
    bar.style.width = `${percent}%`;
    facts.append(make("span", {class: "meter", "aria-hidden": "true"}, bar), make("span", {}, say.relevance(percent)));
  } else if (rerank && done) facts.append(make("span", {}, say.unread));
  if (hit.page !== null) facts.append(make("span", {}, say.page(hit.page)));
  if (hit.truncated) facts.append(make("span", {}, say.truncated));
  facts.append(make("span", {class: "id"}, hit.document_id));
  const rows = Object.entries(hit.scores).map(([stage, {score, rank}]) =>
    make("tr", {}, make("th", {scope: "row"}, say.stages[stage] || stage), make("td", {}, score.toFixed(3)), make("td", {}, `${rank}`)));
  const why = make("details", {}, make("summary", {}, say.why), make("table", {},
    make("thead", {}, make("tr", {}, ...["stage", "score", "rank"].map(name => make("th", {scope: "col"}, say[name])))),
    make("tbody", {}, ...rows)));
  const title = make("button", {type: "button", class: "title", onclick: () => openDocument(hit)}, hit.title || hit.document_id);
  return make("li", {class: "hit", "data-id": hit.document_id, onmouseenter: () => point(hit.document_id)},
    make("div", {class: "bar"}, title, moved), make("p", {}, ...marked(hit.text, hit.matches)), facts, why);
}

/** A text with its matches marked; places count code points, as the server does. */
function marked(text, matches) {
  const points = Array.from(text);
  const parts = [];
  let end = 0;
  for (const [start, stop] of matches || []) {
    parts.push(points.slice(end, start).join(""), make("mark", {}, points.slice(start, stop).join("")));
    end = stop;
  }
  parts.push(points.slice(end).join(""));
  return parts;
}

function showCost() {
  const {stages, milliseconds, reading} = answer;
  const bar = make("div", {class: "stages", "aria-hidden": "true"});
  const legend = make("div", {class: "legend"});
  stages.forEach((stage, n) => {
    const part = make("span", {class: `c${n % 4}`});
    part.style.width = `${(100 * stage.milliseconds) / Math.max(milliseconds, 0.001)}%`;
    bar.append(part);
    legend.append(make("span", {}, make("i", {class: `c${n % 4}`}), `${say.costs[stage.stage] || stage.stage} ${stage.milliseconds.toFixed(1)} ms`));
  });
  if (reading) legend.append(make("span", {}, say.reading[reading.stopped](reading.read, reading.candidates)));
  $("cost").replaceChildren(bar, legend);
}

function point(id) {
  for (const row of $("retrieved").children) row.classList.toggle("chosen", row.dataset.id === id);
}

// ---- documents ---------------------------------------------------------------------------------------------------

async function openDocument(hit) {
  try {
    const found = await (await call(`/documents/${encodeURIComponent(hit.document_id)}`)).json();
    $("document-title").textContent = found.title || found.id;
    $("document-metadata").replaceChildren(...Object.entries(found.metadata).flatMap(([name, value]) =>
      [make("dt", {}, `${name}:`), make("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value))]));
    $("document-text").replaceChildren(...found.chunks.map(chunk => chunk.chunk_id === hit.chunk_id
      ? make("p", {class: "found"}, ...marked(chunk.text, hit.matches)) : make("p", {}, chunk.text)));
    $("document").showModal();
    $("document-text").querySelector(".found")?.scrollIntoView({block: "center"});
  } catch (error) {
    status(error.message, true);
  }
}

// ---- filters -----------------------------------------------------------------------------------------------------

async function loadFacets() {
  const fields = await (await call("/fields")).json();
  facets = [];
  for (const [field, type] of Object.entries(fields)) {
    if (!["text", "integer", "boolean"].includes(type) || facets.length === MOST_FACETS) continue;
    if (!/^[A-Za-z_][A-Za-z0-9_.]*$/.test(field)) continue;
    const values = await (await call(`/facets?field=${encodeURIComponent(field)}&limit=9`)).json();
    if (values.length > 1 && values[0].documents > 1) facets.push({field, values: values.slice(0, 8)});
  }
  showFacets();
}

function showFacets() {
  $("facets").replaceChildren(...facets.map(({field, values}) => make("div", {class: "facet"}, make("b", {}, field),
    ...values.map(({value, documents}) => make("button", {
      type: "button", "aria-pressed": `${wanted.get(field) === value}`,
      onclick: () => {
        if (wanted.get(field) === value) wanted.delete(field); else wanted.set(field, value);
        showFacets();
        search();
      },
    }, `${typeof value === "boolean" ? say[value] : value} (${documents})`)))));
}

// ---- language, theme, keys -----------------------------------------------------------------------------------------

function speak() {
  say = WORDS[language];
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say[element.dataset.say];
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say[element.dataset.sayLabel]);
    if (element.tagName === "BUTTON") element.title = say[element.dataset.sayLabel];
  }
  $("query").placeholder = say.placeholder;
  $("language").textContent = language === "en" ? "中文" : "English";
  $("language").lang = language === "en" ? "zh" : "en";
  status("");
  showFacets();
  show();
  hold();
}

let held = null;
async function hold() {
  held ??= await (await call("/ready")).json();
  $("holds").textContent = say.holds(held.documents.toLocaleString(language), held.chunks.toLocaleString(language));
}

function choose(step) {
  const cards = [...$("hits").children];
  if (!cards.length) return;
  chosen = Math.min(cards.length - 1, Math.max(0, chosen + step));
  cards.forEach((element, n) => element.classList.toggle("chosen", n === chosen));
  cards[chosen].querySelector(".title").focus({preventScroll: true});
  cards[chosen].scrollIntoView({block: "nearest"});
  point(cards[chosen].dataset.id);
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input[type=search], input[type=password], select");
  if (event.key === "ArrowDown" && !event.target.matches("select")) choose(1);
  else if (event.key === "ArrowUp" && !event.target.matches("select")) choose(-1);
  else if (event.key === "/" && !typing) $("query").select();
  else if (event.key === "Escape" && !typing) $("query").focus();
  else if (event.key === "r" && !typing) $("rerank").click();
  else return;
  event.preventDefault();
});

$("language").addEventListener("click", () => {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem("language", language);
  speak();
});
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
$("close").addEventListener("click", () => $("document").close());
$("document").addEventListener("click", event => { if (event.target === $("document")) $("document").close(); });
$("form").addEventListener("submit", event => { event.preventDefault(); search(); });
$("query").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, PAUSE); });
for (const id of ["rerank", "mode", "least"]) $(id).addEventListener("change", search);

if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
$("query").value = new URL(location).searchParams.get("q") || "";
speak();
loadFacets().catch(error => status(error.message, true)).then(() => { if ($("query").value) search(); });
