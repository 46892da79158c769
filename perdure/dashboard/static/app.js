// The page. Everything that comes from a database is put in as text, never as markup: `el` knows no other way.

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const live = document.getElementById("live");

let overview = null;   // what /api/overview said last
let drawn = 0;         // number of the view that is being drawn: an older one that arrives late is dropped
let owed = false;      // whether a view must be drawn even if somebody is typing: it was asked for and has not come yet
let shown = "";        // JSON of what the current view shows: nothing is drawn anew when nothing has changed
let pages = 1;         // how many pages of the list are shown
let chosen = "";       // id of the row that the keyboard stands on
let whole = false;     // whether a long time line is shown to its end
let drawnHash = null;  // where what is shown belongs

// ---- building

function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const state = (name) => el("span", { class: `state ${name}` }, name.replaceAll("_", " "));
const link = (id) => el("a", { href: `#/run/${encodeURIComponent(id)}`, class: "id" }, id);
const card = (title, ...children) => el("section", { class: "card" }, title && el("h2", {}, title), ...children);
const empty = (text) => el("p", { class: "empty" }, text);

function when(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return el("time", { datetime: iso, title: iso }, at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }));
}

function span(from, to) {
  const seconds = Math.max(0, (new Date(to) - new Date(from)) / 1000);
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

function value(shown) {
  if (!shown) return el("p", { class: "quiet" }, "nothing");
  const text = el("pre", { tabindex: "0" }, shown.text);
  return shown.cut ? el("div", {}, text, el("p", { class: "quiet" }, `cut: ${shown.length} characters in all`)) : text;
}

// What is opened is built then: a run may have a thousand results, and nobody looks at all of them.
function details(summary, build) {
  const node = el("details", { ontoggle: () => { if (node.open && node.childElementCount === 1) node.append(build()); } }, el("summary", {}, summary));
  return node;
}

function table(heads, rows, label) {
  const head = heads.map(([text, kind]) => el("th", { class: kind, scope: "col" }, text));
  return el("div", { class: "scroll" }, el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

const cell = (content, kind) => el("td", { class: kind }, content ?? "");

let hiding;
function say(text, bad = false) {
  notice.textContent = text;
  notice.className = bad ? "bad" : "";
  notice.hidden = false;
  notice.hidePopover?.();
  notice.showPopover?.();  // above a dialog
  clearTimeout(hiding);
  hiding = setTimeout(() => { notice.hidden = true; notice.hidePopover?.(); }, bad ? 12000 : 5000);
}

// ---- asking

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(path, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, text]) => text));
  return answered(await fetch(`api/${path}?${asked}`));
}

async function send(path, body) {
  const headers = { "content-type": "application/json", "x-perdure-csrf": overview?.csrf ?? "" };
  return answered(await fetch(`api/${path}`, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error?.message ?? `the server answered ${response.status}`);
  return body;
}

async function act(body, done) {
  try {
    const answer = await send("act", body);
    say(done);
    if (answer.run && (body.verb === "start" || body.verb === "fork")) location.hash = `#/run/${encodeURIComponent(answer.run)}`;
    else await refresh(true);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

// ---- forms

function formFields(form) {
  const inputs = form.fields.map((field) => ({ field, input: input(field) }));
  const labels = inputs.map(({ field, input }) => el("label", {}, `${field.name || "payload"}${field.kind === "json" ? " (JSON)" : ""}${field.required ? "" : ", optional"}`, input));
  const read = () => {
    if (form.whole) return readOne(inputs[0]) ?? null;
    const values = inputs.map((one) => [one.field.name, readOne(one)]).filter(([, read]) => read !== undefined);
    return Object.fromEntries(values);
  };
  return { labels, read };
}

function input(field) {
  const required = field.required && field.kind !== "boolean";
  const text = field.default === null || field.default === undefined ? "" : typeof field.default === "object" ? JSON.stringify(field.default) : String(field.default);
  switch (field.kind) {
    case "boolean": return el("input", { type: "checkbox", checked: field.default === true });
    case "choice": return el("select", { required }, !required && el("option", { value: "" }, "–"), field.choices.map((choice, index) => el("option", { value: String(index), selected: choice === field.default }, String(choice))));
    case "json": return el("textarea", { spellcheck: "false", required }, text);
    case "integer": return el("input", { type: "number", step: "1", required, value: text });
    case "number": return el("input", { type: "number", step: "any", required, value: text });
    case "date": return el("input", { type: "date", required, value: text });
    case "moment": return el("input", { type: "datetime-local", step: "1", required });
    default: return el("input", { type: "text", required, value: text });
  }
}

function readOne({ field, input }) {
  if (field.kind === "boolean") return input.checked;
  if (input.value === "" && !(field.kind === "text" && field.required)) return undefined;
  switch (field.kind) {
    case "choice": return field.choices[Number(input.value)];
    case "integer": case "number": return Number(input.value);
    case "moment": return new Date(input.value).toISOString();
    case "json":
      try { return JSON.parse(input.value); } catch (error) { throw new Error(`${field.name || "payload"} is not JSON: ${error.message}`); }
    default: return input.value;
  }
}

function signalForm(run, gate) {
  const { labels, read } = formFields(gate.form);
  const button = el("button", { class: "main", type: "submit" }, `Send ${gate.event}`);
  const submit = async (event) => {
    event.preventDefault();
    let payload;
    try { payload = read(); } catch (error) { say(error.message, true); return; }
    button.disabled = true;
    if (!await act({ verb: "signal", id: run, event: gate.event, payload }, `${gate.event} was sent to ${run}`)) button.disabled = false;
  };
  return el("form", { class: "fields", onsubmit: submit, "aria-label": `Signal ${gate.event}` }, labels, el("div", {}, button));
}

// Asks, and sends what was said; a refusal leaves it open, with nothing lost.
function dialog(title, fields, confirm, danger, send) {
  const close = () => { box.close(); box.remove(); };
  const button = el("button", { class: danger ? "danger" : "main", type: "submit" }, confirm);
  const submit = async (event) => {
    event.preventDefault();
    let answer;
    try { answer = Object.fromEntries(fields.map((field) => [field.name, field.read()]).filter(([, read]) => read !== undefined)); }
    catch (error) { say(error.message, true); return; }
    button.disabled = true;
    if (await send(answer)) close();
    button.disabled = false;
  };
  const form = el("form", { class: "fields", onsubmit: submit }, fields.map((field) => field.label),
    el("div", { class: "buttons" }, button, el("button", { type: "button", onclick: close }, "Back")));
  const box = el("dialog", { "aria-label": title, oncancel: (event) => { event.preventDefault(); close(); } }, el("h2", {}, title), form);
  document.body.append(box);
  box.showModal();
}

// With `unless`, a text that was left as it is counts as nothing said.
function textField(name, label, { json = false, required = false, text = "", unless = null } = {}) {
  const node = el(json ? "textarea" : "input", { required, spellcheck: "false" });
  node.value = text;
  const read = () => {
    if (node.value === "" || node.value === unless) return undefined;
    if (!json) return node.value;
    try { return JSON.parse(node.value); } catch (error) { throw new Error(`${label} is not JSON: ${error.message}`); }
  };
  return { name, label: el("label", {}, label, node), read };
}

function choiceField(name, label, choices, none = null) {
  const node = el("select", {}, none && el("option", { value: "" }, none), choices.map((choice) => el("option", { value: choice }, choice)));
  return { name, label: el("label", {}, label, node), read: () => node.value || undefined };
}

function boxField(name, label, checked) {
  const node = el("input", { type: "checkbox", checked });
  return { name, label: el("label", {}, label, node), read: () => node.checked };
}

const reason = () => textField("reason", "Reason, optional");
const VERBS = {
  cancel: ["Cancel", () => [boxField("compensate", "Undo what was completed", true), reason()], true],
  pause: ["Pause", () => [reason()]],
  resume: ["Resume", () => [reason()]],
  retry: ["Retry", () => [reason()]],
  skip: ["Skip step", (run) => [stepField(run), textField("result", "Result to go on with (JSON)", { json: true }), reason()]],
  complete_step: ["Complete step", (run) => [stepField(run), textField("result", "Result it had (JSON)", { json: true }), reason()]],
  resolve: ["Resolve", (run) => [choiceField("how", "How", ["retry", "skip", "complete", "fail"]), stepField(run, true), textField("result", "Result (JSON)", { json: true }), reason()]],
  fork: ["Fork", (run) => [choiceField("at", "Begin at", stepsOf(run), "where it failed or stands"), inputField(run), reason()]],
  terminate: ["Terminate", () => [reason()], true],
};

const stepsOf = (run) => [...new Set(run.history.filter((one) => one.kind === "step").map((one) => one.step))];

function inputField(run) {
  const text = run.input.cut ? "" : run.input.text;
  return textField("input", "Input (JSON), of the new run", { json: true, text, unless: text });
}

function stepField(run, optional = false) {
  const open = run.history.filter((one) => one.kind === "step" && one.outcome !== "completed").map((one) => one.step);
  return textField("step", optional ? "Step, if there are several" : "Step", { required: !optional, text: open.at(-1) ?? "" });
}

function steer(run, verb) {
  const [label, fields, danger] = VERBS[verb];
  dialog(`${label}: ${run.id}`, fields(run), label, danger, (answer) => act({ verb, id: run.id, ...answer }, `${label}: done`));
}

// ---- views: each loads what it shows, and draws it

const views = {
  runs: {
    title: "Runs",
    load: loadRuns,
    draw: drawRuns,
  },
  run: { load: (id) => ask("run", { id }), draw: drawRun },
  inbox: { title: "Inbox", load: () => ask("inbox"), draw: drawInbox },
  workflows: { title: "Workflows", load: () => ask("definitions"), draw: drawWorkflows },
  schedules: { title: "Schedules", load: () => ask("schedules"), draw: drawSchedules },
  figures: { title: "Figures", load: () => ask("figures"), draw: drawFigures },
};

async function loadRuns(_, query) {
  const loaded = [await ask("runs", query)];
  while (loaded.length < pages && loaded.at(-1).next) loaded.push(await ask("runs", { ...query, after: loaded.at(-1).next }));
  return { runs: loaded.flatMap((page) => page.runs), next: loaded.at(-1).next };
}

function drawRuns(found, _, query) {
  const filter = (name, label, node) => { node.name = name; node.value = query[name] ?? ""; return el("label", {}, label, node); };
  const options = (all, names) => el("select", {}, el("option", { value: "" }, all), names.map((name) => el("option", { value: name }, name)));
  const search = (event) => {
    event?.preventDefault();
    const asked = new URLSearchParams([...new FormData(form)].filter(([, text]) => text));
    location.hash = `#/runs?${asked}`;
  };
  const text = (name, label) => filter(name, label, el("input", { type: "search", autocomplete: "off", spellcheck: "false" }));
  const form = el("form", { class: "row", onsubmit: search, onchange: search, role: "search", "data-keep": "search" },
    filter("workflow", "Workflow", options("all", overview.workflows)), filter("state", "State", options("all", overview.states)),
    text("id", "Id"), text("business_key", "Business key"), text("error", "Error text"), el("button", { type: "submit" }, "Find"));
  const rows = found.runs.map((run) => el("tr", { "data-id": run.id, class: run.id === chosen && "chosen" },
    cell(link(run.id)), cell(run.workflow), cell(state(run.state)), cell(when(run.created_at), "wide"),
    cell(run.error ? `${run.error.step ?? ""} ${run.error.type}: ${run.error.message}` : run.waiting_for.map((gate) => gate.what).join(", "), "wide quiet")));
  const load = () => { pages += 1; refresh(true); };
  const counts = overview.states.filter((name) => overview.counts[name]).map((name) => [name, overview.counts[name]]).map(([name, count]) => el("a", { class: "tile", href: `#/runs?state=${name}` }, el("b", {}, String(count)), el("span", { class: name }, name)));
  return [el("h1", {}, "Runs"), el("div", { class: "tiles row" }, counts), form,
    card(null, rows.length ? table([["Id"], ["Workflow"], ["State"], ["Started", "wide"], ["Waits for, or failed with", "wide"]], rows, "Runs") : empty("No run is like that."),
      found.next && el("p", {}, el("button", { onclick: load }, "Show more")))];
}

function drawRun(run) {
  const buttons = overview.read_only ? [] : run.verbs.map((verb) => el("button", { class: VERBS[verb][2] && "danger", onclick: () => steer(run, verb) }, VERBS[verb][0]));
  const facts = [["Workflow", run.workflow + (run.version ? ` (${run.version})` : "")], ["Started", when(run.created_at)], ["Ended", when(run.finished_at)],
    ["Rollback", run.rollback], ["Part of", run.parent && link(run.parent)]].filter(([, fact]) => fact);
  return [
    el("div", { class: "row spread" }, el("h1", {}, run.id, " ", state(run.state)), el("div", { class: "buttons" }, buttons)),
    run.error && card("Why it failed", errorShown(run.error)),
    run.incidents.length > 0 && card("Waits for an operator", run.incidents.map((one) => incident(one, run))),
    run.gates.length > 0 && card("Waits for", run.waiting_for.map(gateShown), overview.read_only ? null : run.gates.map((gate) => signalForm(run.id, gate))),
    el("div", { class: "two" },
      card("Facts", el("dl", { class: "facts" }, facts.map(([name, fact]) => [el("dt", {}, name), el("dd", {}, fact)]))),
      card("Input", value(run.input)), run.result && card("Result", value(run.result)), run.tags && card("Tags", value(run.tags)),
      Object.keys(run.signals).length > 0 && card("Signals", Object.entries(run.signals).map(([name, payload]) => [el("h3", {}, name), value(payload)]))),
    card("Timeline", timeline(run)),
    run.has_graph && card("Graph", el("img", { class: "graph", loading: "lazy", src: `api/run/graph?id=${encodeURIComponent(run.id)}&at=${run.history.length}-${run.state}-${run.history.at(-1)?.ended_at ?? ""}`, alt: `Graph of ${run.workflow} with this run painted on` })),
    run.audit.length > 0 && card("What operators did", table([["When"], ["What"], ["Step"], ["Who"], ["Why"]],
      run.audit.map((one) => el("tr", {}, cell(when(one.at)), cell(one.verb), cell(one.step), cell(one.by), cell(one.reason))), "Audit trail")),
  ];
}

function gateShown(gate) {
  return el("p", {}, el("b", {}, gate.what), " since ", when(gate.since), gate.deadline ? [", until ", when(gate.deadline)] : ", without a limit");
}

function errorShown(error, step = null) {
  return el("div", {}, el("p", { class: "error" }, error.step && error.step !== step ? el("b", {}, `${error.step}: `) : null, `${error.type}: ${error.message}`),
    error.traceback && details("Traceback", () => el("pre", {}, error.traceback)),
    (error.causes ?? []).map((cause) => errorShown(cause)));
}

const SHOWN_FIRST = 30, SHOWN_LAST = 120;  // of a long time line: how it began, and where it stands

function timeline(run) {
  if (!run.history.length) return empty("Nothing has begun yet.");
  const now = new Date().toISOString();
  const begin = Math.min(...run.history.map((one) => new Date(one.started_at)));
  const end = Math.max(...run.history.map((one) => new Date(one.ended_at ?? now)), begin + 1);
  const percent = (iso) => `${(100 * (new Date(iso) - begin)) / (end - begin)}%`;
  const row = (one) => {
    const bar = el("span", { class: `bar ${one.kind === "compensation" ? "compensation" : one.outcome}` });
    bar.style.left = percent(one.started_at);
    bar.style.width = `${(100 * (new Date(one.ended_at ?? now) - new Date(one.started_at))) / (end - begin)}%`;
    const told = one.error ? errorShown(one.error, one.step) : one.result && one.result.text !== "null" ? details("result", () => value(one.result)) : "";
    const name = `${one.kind === "compensation" ? "undo " : ""}${one.step.replace(/^__waitFor:/, "wait for ")}${one.turn.length ? ` (turn ${one.turn.join(".")})` : ""}${one.attempt > 1 ? ` · attempt ${one.attempt}` : ""}`;
    return el("tr", {}, cell(name), cell(state(one.outcome)), cell(el("div", { class: "track" }, bar), "wide"),
      cell(one.ended_at ? span(one.started_at, one.ended_at) : "…", "num"), cell(told));
  };
  const hidden = whole ? 0 : Math.max(0, run.history.length - SHOWN_FIRST - SHOWN_LAST);
  const show = () => { whole = true; refresh(true); };
  const rows = hidden === 0 ? run.history.map(row) : [
    run.history.slice(0, SHOWN_FIRST).map(row),
    el("tr", {}, el("td", { colspan: "5", class: "empty" }, el("button", { onclick: show }, `Show the ${hidden} between`))),
    run.history.slice(-SHOWN_LAST).map(row)];
  return table([["Step"], ["Outcome"], ["", "wide"], ["Took", "num"], ["What came of it"]], rows, "Timeline");
}

function incident(one, run) {
  const open = () => steer(run ?? { id: one.run, history: [{ kind: "step", outcome: "failed", step: one.step }] }, "resolve");
  return el("div", { class: "row spread" }, el("p", {}, run ? null : [link(one.run), " · ", one.workflow, " · "], el("b", {}, one.compensation ? `undo of ${one.step}` : one.step),
    ` after ${one.attempts === 1 ? "1 attempt" : `${one.attempts} attempts`}, since `, when(one.since), el("br"), el("span", { class: "error" }, one.error ?? "")),
    !overview.read_only && el("button", { class: "main", onclick: open }, "Resolve"));
}

function drawInbox(found) {
  const gates = found.gates.map((gate) => card(null, el("div", { class: "two" },
    el("div", {}, el("h2", {}, gate.event), el("p", {}, link(gate.id), " · ", gate.workflow), gate.waiting_for.filter((one) => one.event === gate.event).map(gateShown), el("h3", {}, "Input"), value(gate.input)),
    overview.read_only ? null : signalForm(gate.id, gate))));
  return [el("h1", {}, "Inbox"), found.more && el("p", { class: "quiet" }, `The newest ${found.gates.length} are shown.`), found.incidents.length > 0 && card("Incidents", found.incidents.map((one) => incident(one))),
    gates.length || found.incidents.length ? gates : empty("Nobody waits for a person.")];
}

const titled = (one) => one.name + (one.version ? ` (${one.version})` : "");

function drawWorkflows(found) {
  if (!found.length) return [el("h1", {}, "Workflows"), empty("No workflow is known here: start the page with the modules that define them.")];
  const start = (one) => {
    const { labels, read } = formFields(one.form);
    const id = el("input", { spellcheck: "false" });
    const submit = (event) => {
      event.preventDefault();
      try { act({ verb: "start", workflow: one.name, version: one.version, input: read(), id: id.value }, `${one.name} was started`); } catch (error) { say(error.message, true); }
    };
    return el("details", {}, el("summary", {}, "Start a run"), el("form", { class: "fields", onsubmit: submit, "aria-label": `Start ${titled(one)}` }, labels, el("label", {}, "Id, optional", id), el("div", {}, el("button", { class: "main" }, "Start"))));
  };
  return [el("h1", {}, "Workflows"), found.map((one) => card(titled(one),
    el("p", {}, el("a", { href: `#/runs?workflow=${encodeURIComponent(one.name)}` }, `${one.runs} runs`)),
    overview.read_only || !(one.latest || one.version) ? null : start(one), one.findings.map((text) => el("p", { class: "quiet" }, text)),
    el("img", { class: "graph", loading: "lazy", src: `api/definition/graph?name=${encodeURIComponent(one.name)}&version=${encodeURIComponent(one.version ?? "")}`, alt: `Graph of ${titled(one)}` })))];
}

function drawSchedules(found) {
  const button = (one, verb, label, done) => el("button", { onclick: () => act({ verb, name: one.name }, `${one.name} ${done}`) }, label);
  const forget = (one) => dialog(`Unschedule: ${one.name}`, [], "Unschedule", true, () => act({ verb: "unschedule", name: one.name }, `${one.name} is unscheduled`));
  const buttons = (one) => el("div", { class: "buttons" },
    one.paused ? button(one, "resume_schedule", "Resume", "is resumed") : button(one, "pause_schedule", "Pause", "is paused"),
    button(one, "trigger", "Run now", "was triggered"), el("button", { class: "danger", onclick: () => forget(one) }, "Unschedule"));
  const next = (one) => one.paused ? state("paused") : one.next.map((at, index) => el("div", { class: index > 0 && "quiet" }, when(at)));
  const rows = found.map((one) => el("tr", {}, cell(one.name), cell(one.workflow, "wide"), cell(el("code", {}, one.when + (one.tz ? ` ${one.tz}` : "")), "wide"), cell(next(one)),
    cell(String(one.runs), "num wide"), cell(one.last_run && link(one.last_run), "wide"), cell(overview.read_only ? "" : buttons(one))));
  return [el("h1", {}, "Schedules"), card(null, rows.length ? table([["Name"], ["Workflow", "wide"], ["When", "wide"], ["Next"], ["Runs", "num wide"], ["Last run", "wide"], [""]], rows, "Schedules") : empty("There are no schedules."))];
}

function drawFigures(figures) {
  const tile = (name, number) => el("div", { class: "tile" }, el("b", {}, String(number)), name);
  const ms = (seconds) => seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
  const rows = figures.steps.map((one) => el("tr", {}, cell(one.workflow), cell(one.step), cell(String(one.count), "num"), cell(String(one.failed), "num"), cell(String(one.retries), "num"), cell(ms(one.median), "num"), cell(ms(one.p95), "num")));
  return [el("h1", {}, "Figures"), el("div", { class: "tiles row" }, tile("running", figures.running), tile("waiting", figures.waiting), tile("started a second", figures.started_per_second.toFixed(2)), tile("overdue timers", figures.overdue)),
    card("Steps of the newest runs", rows.length ? table([["Workflow"], ["Step"], ["Count", "num"], ["Failed", "num"], ["Retries", "num"], ["p50", "num"], ["p95", "num"]], rows, "Steps") : empty("No step has ended yet."))];
}

// ---- going about

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name: name in views ? name : "runs", argument: decodeURIComponent(rest.join("/")), query: Object.fromEntries(new URLSearchParams(query)) };
}

function drawNav(current) {
  const nav = document.getElementById("nav");
  for (const [name, count] of [["runs"], ["inbox", overview.inbox], ["workflows"], ["schedules"], ["figures"]]) {
    const link = nav.querySelector(`[href="#/${name}"]`) ?? nav.appendChild(el("a", { href: `#/${name}` }));  // one may have the focus
    link.ariaCurrent = name === current ? "page" : null;
    link.replaceChildren(views[name].title, count ? el("span", { class: "count" }, count) : "");
  }
}

let released = Promise.resolve();  // nothing is drawn while something is pressed: what is put in its place would not be clicked
addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  released = new Promise((go) => ["pointerup", "pointercancel", "blur"].forEach((end) => addEventListener(end, () => setTimeout(go), { once: true })));
});

function isBusy() {  // somebody is filling something in: a redraw would take it away
  return main.querySelector("form.fields :is(input, textarea, select):focus") !== null || document.querySelector("dialog[open]") !== null ||
    [...main.querySelectorAll("form.fields textarea, form.fields input:not([type=checkbox])")].some((node) => node.value !== node.defaultValue);
}

// Puts what was drawn in the place of what is shown; a form to find by stays as it is, with what is being typed in it.
function replace(drawing) {
  const kept = drawnHash === location.hash ? main.querySelector(":scope > [data-keep]") : null;
  const at = drawing.findIndex((node) => node.dataset.keep);
  drawnHash = location.hash;
  if (!kept || at < 0) { main.replaceChildren(...drawing); return; }
  while (kept.previousSibling) kept.previousSibling.remove();
  while (kept.nextSibling) kept.nextSibling.remove();
  kept.before(...drawing.slice(0, at));
  kept.after(...drawing.slice(at + 1));
}

async function refresh(always = false) {
  const { name, argument, query } = route();
  const number = ++drawn;
  owed ||= always;  // the refresh that draws may be a later one than the one that was asked for
  try {
    const [head, found] = await Promise.all([ask("overview"), views[name].load(argument, query)]);
    await released;
    if (number !== drawn) return;
    overview = head;
    drawNav(name);
    if (!owed && isBusy()) return;
    const look = JSON.stringify([location.hash, head.counts, head.read_only, found]);
    if (look === shown && !owed) return;
    shown = look;
    owed = false;
    const open = [...main.querySelectorAll("details")].map((node) => node.open);
    const focused = document.activeElement?.getAttribute("name");
    replace(views[name].draw(found, argument, query).flat().filter(Boolean));
    main.querySelectorAll("details").forEach((node, index) => { if (open[index]) node.open = true; });
    if (focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
    performance.mark("drawn");
    document.body.dataset.drawn = location.hash;
    document.title = `${argument || views[name].title} · perdure`;
  } catch (error) {
    if (number !== drawn) return;
    drawnHash = null;
    if (error.status === 401) drawLogin();
    else if (owed || !main.childElementCount || error.status === 404) main.replaceChildren(el("h1", {}, "That did not work"), card(null, el("p", { class: "error" }, error.message), el("p", {}, el("a", { href: "#/runs" }, "All runs"))));
  }
}

function drawLogin() {
  const token = el("input", { type: "password", name: "token", autocomplete: "current-password", required: true });
  const submit = async (event) => {
    event.preventDefault();
    try { await send("login", { token: token.value }); shown = ""; watch(); await refresh(true); } catch (error) { say(error.message, true); }
  };
  main.replaceChildren(card("This page needs its token", el("form", { class: "fields", onsubmit: submit }, el("label", {}, "Token", token), el("div", {}, el("button", { class: "main" }, "Open")))));
  token.focus();
}

let looking = false, news = false;
async function look() {  // one after the other: on a busy database there is news all the time
  news = true;
  if (looking || document.hidden) return;
  looking = true;
  while (news) {
    await new Promise((done) => setTimeout(done, 200));
    news = false;
    await refresh();
  }
  looking = false;
}
document.addEventListener("visibilitychange", () => { if (news) look(); });

let source;
function watch() {
  source?.close();
  source = new EventSource("api/live");
  source.addEventListener("hello", () => { live.textContent = "live"; live.className = "live on"; look(); });
  source.addEventListener("change", look);
  source.onerror = () => { live.textContent = "not connected"; live.className = "live off"; };
}

addEventListener("hashchange", () => { pages = 1; shown = chosen = ""; whole = false; refresh(true).then(() => main.focus({ preventScroll: true })); });

addEventListener("keydown", (event) => {
  if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const rows = [...main.querySelectorAll("tr[data-id]")];
  const at = rows.findIndex((row) => row.classList.contains("chosen"));
  const choose = (index) => { chosen = rows[index]?.dataset.id ?? ""; rows[at]?.classList.remove("chosen"); rows[index]?.classList.add("chosen"); rows[index]?.scrollIntoView({ block: "nearest" }); };
  const keys = {
    "/": () => { (main.querySelector("input[type=search]") ?? {}).focus?.(); },
    j: () => choose(Math.min(at + 1, rows.length - 1)),
    k: () => choose(Math.max(at - 1, 0)),
    Enter: () => { if (at >= 0) location.hash = `#/run/${encodeURIComponent(rows[at].dataset.id)}`; else return false; },
    r: () => { location.hash = "#/runs"; },
    i: () => { location.hash = "#/inbox"; },
    "?": () => say("/ find · j, k choose a run · Enter open it · r runs · i inbox"),
  };
  if (keys[event.key] && keys[event.key]() !== false) event.preventDefault();
});

watch();
refresh(true);
