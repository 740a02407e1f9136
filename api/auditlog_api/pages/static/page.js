// What the pages do beyond reading: the drawer, keys, the chart's brush, local times, dark mode, copying.
// Without it every page can be read, filtered and paged.

const root = document.documentElement;
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

for (const element of all("[data-needs-script]")) element.hidden = false;

function say(text) {
  const place = find("#said");
  if (place) place.textContent = text;
}

// Times: the server writes UTC; the browser writes its own zone over it, and UTC back.

const zoneName = Intl.DateTimeFormat().resolvedOptions().timeZone || "Local";
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (number) => String(number).padStart(2, "0");

function timeText(iso, form, local) {
  const at = new Date(iso);
  const [year, month, day, hour, minute, second] = local
    ? [at.getFullYear(), at.getMonth(), at.getDate(), at.getHours(), at.getMinutes(), at.getSeconds()]
    : [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()];
  const date = `${year}-${two(month + 1)}-${two(day)}`;
  const clock = `${two(hour)}:${two(minute)}`;
  if (form === "time") return clock;
  if (form === "clock") return `${clock}:${two(second)}`;
  if (form === "day") return `${day} ${months[month]}`;
  if (form === "month") return `${months[month]} ${year}`;
  if (form === "minute") return `${date} ${clock}`;
  if (form === "second") return `${date} ${clock}:${two(second)}`;
  const fraction = (/\.\d+/.exec(iso) ?? [""])[0];
  return `${date} ${clock}:${two(second)}${fraction} ${local ? offsetText(at) : "UTC"}`;
}

function offsetText(at) {
  const minutes = -at.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

const isLocal = () => root.dataset.zone === "local";

function showTimes(within = document) {
  for (const time of all("time[data-form], [data-time]", within)) {
    time.textContent = timeText(time.dateTime ?? time.dataset.time, time.dataset.form, isLocal());
  }
  for (const name of all("[data-zone-name]", within)) name.textContent = isLocal() ? zoneName : "UTC";
}

function setZone(zone) {
  root.dataset.zone = zone;
  for (const button of all("[data-zone-button]")) {
    button.setAttribute("aria-pressed", String(button.dataset.zoneButton === zone));
  }
  const kept = (href) => {
    const url = new URL(href, location.href);
    if (zone === "local") url.searchParams.set("zone", "local");
    else url.searchParams.delete("zone");
    return url.href;
  };
  history.replaceState(history.state, "", kept(location.href));
  for (const link of all("a[href]")) {
    const href = link.getAttribute("href");
    if (href.startsWith("/accounts/")) link.setAttribute("href", kept(href));
  }
  for (const opener of all("[data-open]")) opener.dataset.open = kept(opener.dataset.open);
  const form = find("#find");
  if (form) {
    find("input[name=zone]", form)?.remove();
    if (zone === "local") form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "zone", value: zone }));
  }
  showTimes();
}

for (const button of all("[data-zone-button]")) {
  const zone = button.dataset.zoneButton;
  if (zone === "local") button.textContent = zoneName.split("/").pop().replaceAll("_", " ");
  button.title = zone === "local" ? `${zoneName}, ${offsetText(new Date())}` : "Coordinated Universal Time";
  button.addEventListener("click", () => {
    setZone(zone);
    say(`Times are in ${zone === "local" ? zoneName : "UTC"}`);
  });
}
if (isLocal()) showTimes();

// Dark mode: the system's, unless somebody chose.

const themeButton = find("[data-theme-button]");
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);
const showTheme = () => themeButton?.setAttribute("aria-pressed", String(isDark()));
themeButton?.addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  root.dataset.theme = theme;
  document.cookie = `auditlog_theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax`;
  showTheme();
});
systemIsDark.addEventListener("change", showTheme);
showTheme();

// Copying.

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
    return true;
  } catch {
    say(`${what} could not be copied`);
    return false;
  }
}

for (const code of all("code[data-copy]")) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "copy", title: `Copy ${code.title}` });
  button.dataset.copy = code.dataset.copy;
  button.append(...code.childNodes);
  button.setAttribute("aria-label", `Copy request ID ${code.textContent}`);
  code.replaceWith(button);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy], button[data-copy-link]");
  if (!button) return;
  const { copy: id, copyLink: link } = button.dataset;
  if (!(await copy(link ? new URL(link, location.href).href : id, link ? "Link" : "Request ID"))) return;
  if (button.textContent === "Copied") return;
  const was = [...button.childNodes];
  button.textContent = "Copied";
  setTimeout(() => button.replaceChildren(...was), 1200);
});

// The drawer. Its address is the page's own with an event in it, so it survives reloading and sharing.

const drawer = find("#drawer");
const rows = all("tbody tr[data-event]");
const opener = (row) => find(".open", row);
let asked = 0;

function rowOf(id) {
  return rows.find((row) => row.dataset.event === id);
}

function showDrawer() {
  const narrow = matchMedia("(max-width: 46rem)").matches;
  if (drawer.open && drawer.matches(":modal") === narrow) return;
  if (drawer.open) drawer.close();
  if (narrow) drawer.showModal();
  else drawer.show();
}

function hideDrawer() {
  const id = find(".is-open")?.dataset.event;
  asked += 1;
  if (drawer.open) drawer.close();
  for (const row of rows) row.classList.remove("is-open");
  if (id && rowOf(id)) opener(rowOf(id)).focus();
}

async function fillDrawer(row, focusInside) {
  const mine = (asked += 1);
  for (const other of rows) other.classList.toggle("is-open", other === row);
  const inside = find(".drawer-inside", drawer);
  const waiting = setTimeout(() => inside.replaceChildren(note("Loading …")), 200);
  let content;
  try {
    const answer = await fetch(opener(row).href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    content = find("#event", page) ?? note(find("h1", page)?.textContent ?? "This event cannot be shown now.");
  } catch {
    content = note("This event cannot be loaded now. Try again.");
  }
  clearTimeout(waiting);
  if (mine !== asked) return;
  for (const element of all("[data-needs-script]", content)) element.hidden = false;
  inside.replaceChildren(document.adoptNode(content));
  if (isLocal()) showTimes(inside);
  showDrawer();
  drawer.scrollTop = 0;
  if (focusInside) find("#event-title", inside)?.focus();
}

function note(text) {
  return Object.assign(document.createElement("p"), { textContent: text });
}

function openRow(row, focusInside = true) {
  const href = opener(row).dataset.open;
  if (drawer.open) history.replaceState({ drawer: true }, "", href);
  else history.pushState({ drawer: true }, "", href);
  return fillDrawer(row, focusInside);
}

function closeDrawer() {
  if (history.state?.drawer) history.back();
  else {
    history.replaceState(null, "", find("[data-drawer-close]").href);
    hideDrawer();
  }
}

if (drawer) {
  if (drawer.open) {
    drawer.removeAttribute("open");
    showDrawer();
  }
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const row = event.target.closest("tbody tr[data-event]");
    if (!row || event.target.closest("a:not(.open), button, summary") || String(getSelection())) return;
    event.preventDefault();
    openRow(row);
  });
  find("[data-drawer-close]").addEventListener("click", (event) => {
    event.preventDefault();
    closeDrawer();
  });
  drawer.addEventListener("cancel", (event) => {
    event.preventDefault();
    closeDrawer();
  });
  for (const button of all("[data-step]", drawer)) button.addEventListener("click", () => step(Number(button.dataset.step)));
  addEventListener("popstate", () => {
    const id = new URL(location.href).searchParams.get("event");
    const row = id && rowOf(id);
    if (row) fillDrawer(row, true);
    else if (id) location.reload();
    else hideDrawer();
  });
}

// Keys. They can be switched off: single keys are in the way of speech input.

const KEYS_OFF = "auditlog-keys-off";
const keysDialog = find("#keys");
const keysSwitch = find("[data-keys-switch], .switch input");
let keysOff = false;
try {
  keysOff = localStorage.getItem(KEYS_OFF) === "1";
} catch {
  // Storage may be forbidden; then the choice lasts as long as the page.
}
if (keysSwitch) {
  keysSwitch.checked = !keysOff;
  keysSwitch.addEventListener("change", () => {
    keysOff = !keysSwitch.checked;
    try {
      if (keysOff) localStorage.setItem(KEYS_OFF, "1");
      else localStorage.removeItem(KEYS_OFF);
    } catch {
      // As above.
    }
  });
}
find("[data-keys-button]")?.addEventListener("click", () => keysDialog.showModal());

function step(by) {
  if (!rows.length) return;
  const focused = document.activeElement?.closest?.("tr[data-event]");
  const current = drawer.open ? rowOf(find(".is-open")?.dataset.event) : focused;
  const index = current ? rows.indexOf(current) + by : by > 0 ? 0 : rows.length - 1;
  const row = rows[Math.min(rows.length - 1, Math.max(0, index))];
  row.scrollIntoView({ block: "nearest" });
  if (drawer.open) openRow(row, drawer.contains(document.activeElement));
  else opener(row).focus();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else if (drawer?.open && !keysDialog?.open) closeDrawer();
    return;
  }
  if (typing || keysOff || keysDialog?.open) return;
  if (event.key === "/" && find("#q") && !drawer?.matches(":modal")) {
    event.preventDefault();
    find("#q").select();
  } else if (event.key === "?" && keysDialog) {
    event.preventDefault();
    keysDialog.showModal();
  } else if ((event.key === "j" || event.key === "k") && drawer) {
    event.preventDefault();
    step(event.key === "j" ? 1 : -1);
  }
});

// The chart: one stop for the Tab key, arrows move, a drag or Shift with arrows chooses a range.

const chart = find("svg.bars");
if (chart) {
  const slots = all("[data-start]", chart);
  const links = slots.filter((slot) => slot.matches("a"));
  const brush = find(".brush", chart);
  const chartNote = find("[data-chart-note]");
  const quiet = chartNote.textContent;
  const plural = (count) => `${count.toLocaleString("en")} event${count === 1 ? "" : "s"}`;
  let from = -1;
  let to = -1;

  const words = (first, last) => {
    const events = slots.slice(first, last + 1).reduce((sum, slot) => sum + Number(slot.dataset.events), 0);
    const [since, until] = [slots[first].dataset.start, slots[last].dataset.end].map((iso) => timeText(iso, "minute", isLocal()));
    return `${since} – ${until}: ${plural(events)}`;
  };
  const choose = (first, last) => {
    [from, to] = first <= last ? [first, last] : [last, first];
    slots.forEach((slot, index) => slot.classList.toggle("is-chosen", from >= 0 && index >= from && index <= to));
    chartNote.textContent = from < 0 ? quiet : words(from, to);
  };
  // The server's link to a range, with this range in it.
  const zoom = (first, last) => {
    const until = new Date(new Date(slots[last].dataset.end) - 1000).toISOString().replace(".000", "");
    const url = new URL(chart.dataset.zoom, location.href);
    const search = url.searchParams.get("q").replace("1970-01-01T00:00:01Z..1970-01-01T00:00:02Z", `${slots[first].dataset.start}..${until}`);
    url.searchParams.set("q", search);
    location.assign(url);
  };
  const slotAt = (clientX) => {
    const box = chart.getBoundingClientRect();
    const share = (clientX - box.left) / box.width;
    return Math.min(slots.length - 1, Math.max(0, Math.floor(share * slots.length)));
  };

  links.forEach((link, index) => {
    link.tabIndex = index ? -1 : 0;
    link.addEventListener("focus", () => {
      for (const other of links) other.tabIndex = other === link ? 0 : -1;
      if (from < 0 || to === from) choose(slots.indexOf(link), slots.indexOf(link));
    });
    link.addEventListener("dragstart", (event) => event.preventDefault());
  });
  let anchor = -1;
  chart.addEventListener("keydown", (event) => {
    const here = links.indexOf(document.activeElement);
    if (here < 0) return;
    const moves = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: links.length - 1 };
    if (event.key in moves) {
      event.preventDefault();
      const next = links[Math.min(links.length - 1, Math.max(0, moves[event.key]))];
      const start = event.shiftKey ? (anchor < 0 ? slots.indexOf(links[here]) : anchor) : -1;
      anchor = start;
      next.focus();
      choose(start < 0 ? slots.indexOf(next) : start, slots.indexOf(next));
      if (start >= 0) say(words(from, to));
    } else if (event.key === "Enter" && anchor >= 0 && from !== to) {
      event.preventDefault();
      zoom(from, to);
    } else if (event.key === "Escape") {
      anchor = -1;
      choose(-1, -1);
    }
  });
  chart.addEventListener("focusout", (event) => {
    if (!chart.contains(event.relatedTarget)) {
      anchor = -1;
      choose(-1, -1);
    }
  });

  let pressed = null;
  let dragged = false;
  chart.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pressed = { x: event.clientX, slot: slotAt(event.clientX) };
    dragged = false;
  });
  chart.addEventListener("pointermove", (event) => {
    const slot = slotAt(event.clientX);
    if (!pressed) {
      if (event.pointerType === "mouse") choose(slot, slot);
      return;
    }
    if (!dragged && Math.abs(event.clientX - pressed.x) < 5) return;
    if (!dragged) chart.setPointerCapture(event.pointerId);
    dragged = true;
    choose(pressed.slot, slot);
    brush.setAttribute("x", `${(from * 100) / slots.length}%`);
    brush.setAttribute("width", `${((to - from + 1) * 100) / slots.length}%`);
  });
  const release = (event) => {
    if (pressed && dragged && event.type === "pointerup") zoom(from, to);
    pressed = null;
    brush.setAttribute("width", "0");
  };
  chart.addEventListener("pointerup", release);
  chart.addEventListener("pointercancel", release);
  chart.addEventListener("pointerleave", () => !pressed && choose(-1, -1));
  chart.addEventListener("click", (event) => {
    if (dragged) event.preventDefault();
  }, true);
}

// Filters are folded where there is no room for them beside the table.

const facets = find("details.facets");
const noRoom = matchMedia("(max-width: 60rem)");
const foldFacets = () => {
  if (facets) facets.open = !noRoom.matches;
};
noRoom.addEventListener("change", foldFacets);
foldFacets();

// An export that has not ended: its state is asked for again and again, and put in the place of the old one.

async function followExport() {
  const shown = find("#export");
  if (!shown?.dataset.refresh) return;
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(shown.dataset.refresh)));
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const news = find("#export", page);
    // No export any more: it was deleted, or the session has ended. The page of that says so.
    if (!news) return location.reload();
    const hadFocus = shown.contains(document.activeElement);
    const state = find(".kind", news).textContent;
    if (state !== find(".kind", shown).textContent) say(state);
    shown.replaceWith(document.adoptNode(news));
    if (hadFocus) find("a, button", news).focus();
  } catch {
    // Away for a moment: asked again.
  }
  followExport();
}
followExport();
