// <audit-log item="license/lic_42" token="…">: one item's audit log on a host's page. docs/pages.md describes it.
//
// Text of events becomes text nodes and never markup; characters that cannot be seen are written out.

const base = new URL(import.meta.url).href.replace(/\/embed\/[^/]*$/, "");
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const ROWS = 20;
const FRESH_SECONDS = 45;
const FOLD_CHARACTERS = 480;
const ACTORS = { platform_user: "User", api_key: "API key", customer: "Customer", system: "System" };
const COLUMNS = ["Timestamp", "Action", "Entity", "Changes", "Actor", "Request ID"];

const style = new CSSStyleSheet();
style.replaceSync(`
:host {
  /* Names of its own: a host that sets ours from a --text of its own must not run in a circle. */
  --al-text: var(--audit-log-text, light-dark(#1c1d20, #e9e9e6));
  --al-muted: var(--audit-log-muted, light-dark(#5c5f66, #a3a6ae));
  --al-line: var(--audit-log-line, light-dark(#e3e3df, #2c2e33));
  --al-surface: var(--audit-log-surface, light-dark(#ffffff, #1a1b1e));
  --al-hover: var(--audit-log-hover, light-dark(#f4f4f1, #222429));
  --al-accent: var(--audit-log-accent, light-dark(#3450c4, #93a5ff));
  --al-good: var(--audit-log-good, light-dark(#17723f, #63c58c));
  --al-bad: var(--audit-log-bad, light-dark(#b3261e, #ff9a8f));
  --al-radius: var(--audit-log-radius, 10px);
  --al-mono: var(--audit-log-font-mono, ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace);
  display: block; container-type: inline-size; color: var(--al-text);
  font: 400 var(--audit-log-font-size, 0.8125rem)/1.5 var(--audit-log-font, inherit); font-variant-numeric: tabular-nums;
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
h2, h3, h4, p, dl, dd, pre { margin: 0; }
.frame { border: 1px solid var(--al-line); border-radius: var(--al-radius); background: var(--al-surface); overflow: hidden; }
header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 1em; padding: 0.75em 1em; border-bottom: 1px solid var(--al-line); }
h2 { font-size: 1.15em; font-weight: 650; }
h3 { margin: 1em 0 0.25em; font-size: 1em; font-weight: 650; }
.muted, .none { color: var(--al-muted); }
.small { font-size: 0.92em; }
code, pre { font-family: var(--al-mono); font-size: 0.92em; }
.esc { color: var(--al-bad); }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
th { padding: 0.5em 0.75em; color: var(--al-muted); font-size: 0.92em; font-weight: 600; text-align: left; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 1em; }
th:nth-child(1) { width: 12.5em; } th:nth-child(2) { width: 22%; } th:nth-child(4) { width: 18%; } th:nth-child(5) { width: 17%; } th:nth-child(6) { width: 7.5em; }
td { padding: 0.4em 0.75em; border-top: 1px solid var(--al-line); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; unicode-bidi: isolate; }
tr.row:hover td { background: var(--al-hover); }
button { font: inherit; color: inherit; cursor: pointer; }
button:focus-visible, pre:focus-visible, summary:focus-visible { outline: 2px solid var(--al-accent); outline-offset: 2px; border-radius: 3px; }
.open { min-height: 24px; padding: 0; border: 0; background: none; text-align: left; }
.open::before { content: "▸"; display: inline-block; width: 1.1em; color: var(--al-muted); }
.open[aria-expanded="true"]::before { content: "▾"; }
.copy { min-height: 24px; padding: 0; border: 0; background: none; font-family: var(--al-mono); font-size: 0.92em; cursor: copy; }
.copy:hover { color: var(--al-accent); }
.details > td { padding: 0 1em 1em 2.1em; white-space: normal; overflow-wrap: anywhere; border-top: 0; }
.sentence { font-size: 1.08em; font-weight: 600; }
.sides { display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr); gap: 0.5em; align-items: start; }
.sides > span { color: var(--al-muted); padding-top: 0.35em; }
pre { padding: 0.35em 0.6em; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24em; overflow: auto; background: var(--al-hover); }
.before pre { background: color-mix(in srgb, var(--al-bad) 10%, var(--al-surface)); }
.after pre { background: color-mix(in srgb, var(--al-good) 11%, var(--al-surface)); }
summary { cursor: pointer; color: var(--al-accent); }
summary code { color: var(--al-text); }
dl > div { display: grid; grid-template-columns: 9em minmax(0, 1fr); gap: 0 1em; padding: 0.1em 0; }
dt { color: var(--al-muted); }
footer { display: flex; align-items: center; justify-content: space-between; gap: 1em; min-height: 3em; padding: 0.5em 1em; border-top: 1px solid var(--al-line); }
.more { min-height: 2.25em; padding: 0 1em; border: 1px solid var(--al-line); border-radius: 7px; background: none; font-weight: 550; }
.more:hover { border-color: var(--al-muted); }
.message { padding: 2em 1em; text-align: center; color: var(--al-muted); }
.message.wrong { color: var(--al-bad); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@container (max-width: 46rem) {
  table, tbody, tr, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr.row { padding: 0.6em 1em; border-top: 1px solid var(--al-line); }
  tr.row:first-child { border-top: 0; }
  td, td:first-child { padding: 0; border: 0; white-space: normal; overflow-wrap: anywhere; }
  td:has(.none) { display: none; }
  tr.row:hover td { background: none; }
  .details > td { padding: 0 1em 1em; }
  .sides, dl > div { grid-template-columns: minmax(0, 1fr); gap: 0.25em; }
  .sides > span { display: none; }
}
`);

function make(name, options = {}, ...children) {
  const { part, ...rest } = options;
  const element = Object.assign(document.createElement(name), rest);
  if (part) element.setAttribute("part", part);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const hidden = (text) => make("span", { className: "hidden" }, text);
const none = () => make("span", { className: "none" }, make("span", { ariaHidden: "true" }, "–"), hidden("none"));

export function escaped(character) {
  const code = character.codePointAt(0);
  const short = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
  if (short) return short;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
}

export const inert = (text) => text.replace(UNSEEN, escaped);

// Nodes for a text, what cannot be seen marked as written out.
function shown(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(UNSEEN)) {
    if (found.index > end) nodes.push(text.slice(end, found.index));
    nodes.push(make("span", { className: "esc" }, escaped(found[0])));
    end = found.index + found[0].length;
  }
  nodes.push(text.slice(end));
  return nodes;
}

// JSON text with line breaks; its values keep every digit. Text that is no JSON stays as it is.
export function indented(text) {
  try {
    JSON.parse(text);
  } catch {
    return [text];
  }
  const lines = [""];
  let depth = 0;
  let before = "";
  for (const sign of text.match(/"(?:[^"\\]|\\.)*"|[^\s"[\]{},:]+|[[\]{},:]/gs) ?? []) {
    const closing = sign === "]" || sign === "}";
    const opened = before === "[" || before === "{";
    if (closing) depth -= 1;
    if (opened ? !closing : closing || before === ",") lines.push("  ".repeat(depth));
    lines[lines.length - 1] += sign === ":" ? ": " : sign;
    if (sign === "[" || sign === "{") depth += 1;
    before = sign;
  }
  return lines;
}

const kindOf = (change) =>
  change.before === undefined ? (change.after === undefined ? "touched" : "set") : change.after === undefined ? "removed" : "changed";

function inShort(changes) {
  const counts = new Map();
  for (const change of changes) counts.set(kindOf(change), (counts.get(kindOf(change)) ?? 0) + 1);
  const kinds = [...counts].sort((one, other) => other[1] - one[1]).map(([kind, count]) => `${count} ${kind}`);
  const names = changes.slice(0, 3).map((change) => change.field);
  if (changes.length > 3) names.push(`+${changes.length - 3} more`);
  return [kinds.join(", "), names.join(", ")];
}

function timeText(iso, local) {
  const at = new Date(iso);
  const two = (number) => String(number).padStart(2, "0");
  if (!local) return at.toISOString().slice(0, 19).replace("T", " ");
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function claims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (character) => character.charCodeAt(0))));
  } catch {
    return {};
  }
}

class AuditLog extends HTMLElement {
  static observedAttributes = ["item", "token", "account", "api", "zone", "heading", "limit"];

  // A function from an item to a fresh token, or to a promise of one; used instead of the event.
  getToken = null;
  #root = this.attachShadow({ mode: "open" });
  #events = [];
  #cursor = null;
  #state = "idle";
  #problem = "";
  #generation = 0;
  #timer = 0;
  #asking = null;
  #starting = false;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [style];
  }

  get token() {
    return this.getAttribute("token") ?? "";
  }

  set token(token) {
    this.setAttribute("token", token);
  }

  connectedCallback() {
    this.#start();
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
    this.#generation += 1;
  }

  attributeChangedCallback(name, before, after) {
    if (!this.isConnected || before === after) return;
    if (name === "token") {
      this.#watchToken();
      if (this.#state === "ended" && after) this.reload();
    } else if (name === "zone" || name === "heading") this.#render();
    else this.#start();
  }

  // Load the newest events again.
  reload() {
    this.#generation += 1;
    this.#events = [];
    this.#cursor = null;
    this.#watchToken();
    return this.#load();
  }

  // Several attributes that change together make one start.
  #start() {
    if (this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      if (this.isConnected) this.reload();
    });
  }

  #secondsLeft() {
    const { exp } = claims(this.token);
    return typeof exp === "number" ? exp - Date.now() / 1000 : this.token ? Infinity : 0;
  }

  // A token is replaced before it expires, so that nobody ever waits for it.
  #watchToken() {
    clearTimeout(this.#timer);
    const seconds = this.#secondsLeft();
    if (!Number.isFinite(seconds) || seconds <= 0) return;
    const wait = Math.max(seconds - FRESH_SECONDS, seconds / 2, 0.5);
    this.#timer = setTimeout(() => this.#freshToken().catch(() => {}), wait * 1000);
  }

  async #freshToken() {
    this.#asking ??= this.#askHost().finally(() => {
      this.#asking = null;
    });
    const token = await this.#asking;
    if (typeof token !== "string" || !token) throw new Error("the host gave no token");
    this.token = token;
  }

  #askHost() {
    const item = this.getAttribute("item") ?? "";
    if (this.getToken) return Promise.resolve().then(() => this.getToken(item));
    let answer = null;
    const respond = (token) => {
      answer = Promise.resolve(token);
    };
    this.dispatchEvent(new CustomEvent("audit-log-token", { bubbles: true, composed: true, detail: { item, respond } }));
    return answer ?? Promise.reject(new Error("nobody answered the event audit-log-token"));
  }

  #address() {
    const item = this.getAttribute("item") ?? "";
    const cut = item.indexOf("/");
    const account = this.getAttribute("account") ?? claims(this.token).account;
    if (cut < 1 || cut === item.length - 1) throw new Error('the attribute item must be TYPE/ID, for example "license/lic_42"');
    if (!account) throw new Error("the token names no account: it is no viewer token, so set the attribute account");
    const path = ["v1", "accounts", account, "items", item.slice(0, cut), item.slice(cut + 1), "events"];
    const url = new URL(`${this.getAttribute("api") ?? base}/${path.map(encodeURIComponent).join("/")}`);
    url.searchParams.set("limit", this.getAttribute("limit") ?? ROWS);
    url.searchParams.set("sentences", "true");
    if (this.#cursor) url.searchParams.set("cursor", this.#cursor);
    return url;
  }

  async #load() {
    const mine = this.#generation;
    this.#state = "loading";
    this.#render();
    try {
      const page = await this.#fetch();
      if (mine !== this.#generation) return;
      this.#events.push(...page.events);
      this.#cursor = page.next_cursor;
      this.#state = "ready";
    } catch (error) {
      if (mine !== this.#generation) return;
      this.#problem = error.message;
      this.#state = error.ended ? "ended" : "failed";
      this.dispatchEvent(new CustomEvent("audit-log-error", { bubbles: true, composed: true, detail: { message: error.message } }));
    }
    this.#render();
  }

  async #fetch() {
    if (this.#secondsLeft() <= 1) await this.#freshOrEnded();
    let answer = await this.#ask();
    if (answer.status === 401) {
      await this.#freshOrEnded();
      answer = await this.#ask();
    }
    if (answer.ok) return answer.json();
    const problem = await answer.json().catch(() => ({}));
    const error = new Error(answer.status === 404 ? "this log cannot be shown here" : (problem.detail ?? `the server answered ${answer.status}`));
    error.ended = answer.status === 401;
    throw error;
  }

  #ask() {
    const headers = { Authorization: `Bearer ${this.token}`, Accept: "application/json" };
    return fetch(this.#address(), { headers, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" });
  }

  async #freshOrEnded() {
    try {
      await this.#freshToken();
    } catch {
      const error = new Error("this session has ended; reload the page");
      error.ended = true;
      throw error;
    }
  }

  #render() {
    const heading = this.getAttribute("heading") ?? "Audit log";
    const zone = this.getAttribute("zone") === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : "UTC";
    const focused = this.#root.activeElement?.dataset.key;
    const open = new Set([...this.#root.querySelectorAll(".open[aria-expanded=true]")].map((button) => button.dataset.key));
    this.#root.replaceChildren(
      make(
        "section",
        { className: "frame", part: "frame", ariaLabel: heading },
        make("header", { part: "header" }, make("h2", { part: "heading" }, heading), make("p", { className: "muted small" }, `Times in ${zone}`)),
        this.#events.length ? this.#table(zone, open) : null,
        this.#message(),
        this.#footer(),
      ),
    );
    if (focused) [...this.#root.querySelectorAll("[data-key]")].find((element) => element.dataset.key === focused)?.focus();
  }

  #message() {
    const say = (text, wrong, ...more) =>
      make("p", { className: wrong ? "message wrong" : "message", part: wrong ? "error" : "message", role: "status" }, text, ...more);
    if (this.#state === "ready") return this.#events.length ? null : say("Nothing has happened to this item yet.", false);
    if (this.#state === "loading") return this.#events.length ? null : say("Loading …", false);
    if (this.#state === "idle") return null;
    const again = make("button", { type: "button", className: "more", part: "button" }, "Try again");
    again.addEventListener("click", () => (this.#events.length ? this.#load() : this.reload()));
    return say(`The log cannot be loaded: ${inert(this.#problem)}. `, true, again);
  }

  #footer() {
    if (!this.#events.length) return null;
    const count = `${this.#events.length} event${this.#events.length === 1 ? "" : "s"}${this.#cursor ? ", newest first" : ", all of them"}`;
    const footer = make("footer", { part: "footer" }, make("span", { className: "muted", role: "status" }, count));
    if (this.#cursor && this.#state !== "failed" && this.#state !== "ended") {
      const loading = this.#state === "loading";
      const more = make("button", { type: "button", className: "more", part: "button" }, loading ? "Loading …" : "Load more");
      more.dataset.key = "more";
      more.addEventListener("click", () => this.#state === "ready" && this.#load());
      footer.append(more);
    }
    return footer;
  }

  #table(zone, open) {
    const head = COLUMNS.map((name, index) =>
      make("th", { scope: "col", role: "columnheader" }, name, index ? null : make("span", { className: "muted" }, ` ${zone}`)),
    );
    const body = make("tbody", { role: "rowgroup" });
    for (const event of this.#events) body.append(...this.#row(event, open.has(event.event_id)));
    return make("table", { part: "table", role: "table" }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, head)), body);
  }

  #row(event, isOpen) {
    const time = make("time", { dateTime: event.occurred_at }, timeText(event.occurred_at, this.getAttribute("zone") === "local"));
    const button = make("button", { type: "button", className: "open", part: "time" }, time);
    button.dataset.key = event.event_id;
    const [kinds, fields] = inShort(event.changes ?? []);
    const cell = (part, ...content) => make("td", { role: "cell", part: `cell ${part}` }, ...content);
    const { actor, entity } = event;
    const row = make(
      "tr",
      { className: "row", part: "row", role: "row" },
      cell("when", button),
      cell("action", make("code", {}, shown(event.action))),
      cell("entity", shown(entity.name ?? entity.id), " ", make("span", { className: "muted small" }, shown(entity.type))),
      cell("changes", kinds ? [kinds, make("span", { className: "muted small" }, " · ", shown(fields))] : none()),
      cell("actor", shown(actor.name ?? actor.id), " ", make("span", { className: "muted small" }, ACTORS[actor.type] ?? actor.type)),
      cell("request", this.#requestId(event.context?.request_id)),
    );
    const details = make("tr", { className: "details", part: "details", role: "row", hidden: !isOpen });
    const fill = () => details.hasChildNodes() || details.append(this.#details(event));
    if (isOpen) fill();
    button.setAttribute("aria-expanded", String(isOpen));
    button.addEventListener("click", () => {
      details.hidden = !details.hidden;
      button.setAttribute("aria-expanded", String(!details.hidden));
      fill();
    });
    return [row, details];
  }

  #requestId(id) {
    if (!id) return none();
    const short = inert(id.slice(0, 8));
    const button = make("button", { type: "button", className: "copy", title: inert(id), ariaLabel: `Copy request ID ${short}` }, short);
    button.addEventListener("click", async () => {
      const copied = await navigator.clipboard.writeText(id).then(() => true, () => false);
      button.textContent = copied ? "Copied" : "Not copied";
      setTimeout(() => button.replaceChildren(short), 1200);
    });
    return button;
  }

  #details(event) {
    const { sentence, ...raw } = event;
    const cell = make("td", { colSpan: COLUMNS.length, role: "cell" });
    cell.append(make("p", { className: "sentence", part: "sentence" }, shown(sentence ?? event.action)));
    for (const change of event.changes ?? []) {
      cell.append(
        make("h3", {}, make("code", {}, shown(change.field)), " ", make("span", { className: "muted small" }, kindOf(change))),
        make(
          "div",
          { className: "sides" },
          make("div", { className: "before" }, this.#side(change.before, "Before")),
          make("span", { ariaHidden: "true" }, "→"),
          make("div", { className: "after" }, this.#side(change.after, "After")),
        ),
      );
    }
    cell.append(make("h3", {}, "Context"), this.#facts(event));
    const json = make("pre", { tabIndex: 0, ariaLabel: "Raw JSON" }, make("code", {}, JSON.stringify(raw, null, 2).split("\n").map(inert).join("\n")));
    cell.append(make("details", {}, make("summary", {}, "Raw JSON"), json));
    return cell;
  }

  #side(text, word) {
    if (text === undefined) return make("p", { className: "muted" }, hidden(`${word}: `), "not there");
    const lines = indented(text).flatMap((line, index) => (index ? ["\n", ...shown(line)] : shown(line)));
    const whole = make("pre", { tabIndex: 0, ariaLabel: word }, make("code", {}, lines));
    if (text.length <= FOLD_CHARACTERS) return whole;
    const size = `${(new TextEncoder().encode(text).length / 1024).toFixed(1)} KiB`;
    return make("details", {}, make("summary", {}, make("code", {}, shown(`${text.slice(0, 160)}…`)), ` Show all, ${size}`), whole);
  }

  #facts(event) {
    const { actor, context = {}, related = [], metadata = {} } = event;
    const facts = [
      ["Actor", [actor.name, actor.id, actor.email].filter(Boolean).join(", ")],
      ["Impersonated by", actor.impersonator_id],
      ["Entity", `${event.entity.type}/${event.entity.id}`],
      ["Related", related.map((item) => `${item.type}/${item.id}`).join(", ")],
      ["IP address", context.ip],
      ["Request ID", context.request_id],
      ["User agent", context.user_agent],
      ...Object.entries(metadata),
      ["Event ID", event.event_id],
    ];
    const rows = facts.filter(([, value]) => value).map(([name, value]) => make("div", {}, make("dt", {}, shown(name)), make("dd", {}, shown(value))));
    return make("dl", {}, rows);
  }
}

if (!customElements.get("audit-log")) customElements.define("audit-log", AuditLog);
