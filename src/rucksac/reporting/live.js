// Keeps the page up to date: asks every second for what is new, and stops and resumes runs where that is allowed.
// It follows page.js in one script.
const SECOND = 1000, MOST_POINTS = 1000;  // of a curve before it is fetched anew, thinned
const KINDS = ["evaluations", "episodes", "metrics"];
if (location.hash.startsWith("#token=")) {  // out of the address, where others could read it
  sessionStorage.setItem("token", location.hash.slice("#token=".length));
  history.replaceState(null, "", location.pathname);
}
const token = shown.control ? sessionStorage.getItem("token") : null;
let all = [], version = 0, mark = "", wake = () => {}, hurry = false;

const ago = (seconds) => seconds < 60 ? `${Math.max(0, Math.floor(seconds))} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min`
  : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;
const age = (run) => element("span", { class: "age" }, ago(Date.now() / 1000 - run.changed));

function sparkline(run) {
  const values = run.curve.filter((each) => each != null), low = Math.min(...values), span = Math.max(...values) - low || 1;
  if (values.length < 2) return "–";
  const points = values.map((value, place) => [2 + 86 * place / (values.length - 1), 20 - 16 * (value - low) / span]);
  const drawing = vector("svg", { viewBox: "0 0 90 24", class: "sparkline", role: "img", "aria-label": `from ${short(values[0])} to ${short(values.at(-1))}` });
  drawing.append(vector("polyline", { points: points.join(" ") }), vector("circle", { cx: points.at(-1)[0], cy: points.at(-1)[1], r: 2 }));
  return drawing;
}
COLUMNS.push(
  { head: "evaluations", cell: sparkline, key: (run) => run.curve.length, first: -1 },
  { head: "steps/s", cell: (run) => number(run.speed, 0), key: (run) => run.speed, first: -1 },
  { head: "changed", cell: (run) => age(run), key: (run) => run.changed, first: -1 });
const stateColumn = COLUMNS.find((each) => each.head === "state"), stateCell = stateColumn.cell;
stateColumn.cell = (run) => run.said ? element("div", {}, stateCell(run), element("div", { class: "said" }, run.said)) : stateCell(run);
if (token) COLUMNS.splice(1, 0, { head: "control", key: (run) => run.state, first: 1 });
sorted = { column: stateColumn, sign: 1 };
heads();

const search = element("input", { type: "search", placeholder: "name, environment, state ...", "aria-label": "Show only runs with these words" });
const status = element("output", { role: "status" }), note = element("p", { id: "note", role: "alert" });
byId("tools").append(search, status);
byId("tools").after(note);
document.head.append(element("link", { rel: "icon", href: "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M1 14C5 14 6 3 15 2' fill='none' stroke='%230072b2' stroke-width='3'/%3E%3C/svg%3E" }));

function sift() {  // hides what the words do not fit
  const words = search.value.toLowerCase().split(/\s+/);
  for (const { tr, run } of rows.values()) {
    const text = [run.run, run.state, run.environment, run.recipe].join(" ").toLowerCase();
    tr.hidden = !words.every((word) => text.includes(word));
  }
  paintRows();
}
search.addEventListener("input", sift);

function controls() {
  for (const each of rows.values()) {
    const { run } = each, action = { running: "stop", stopped: "resume" }[run.state];
    if (!each.button) {
      each.button = element("button", { type: "button" });
      each.button.addEventListener("click", () => act(each));
      each.head.after(element("td", { class: "kept" }, each.button));
    }
    if (each.acted && (each.acted !== run.state || run.said)) each.acted = null;
    each.button.hidden = !action;
    each.button.setAttribute("aria-disabled", Boolean(each.acted));  // disabled, it would lose the focus
    each.button.textContent = each.acted ? { running: "Stopping", stopped: "Starting" }[each.acted] : { stop: "Stop", resume: "Resume" }[action];
    each.button.setAttribute("aria-label", `${each.button.textContent} ${run.run}`);
    each.action = action;
  }
}
async function act(each) {
  if (each.acted) return;
  each.acted = each.run.state;
  note.textContent = "";
  controls();
  const answer = await fetch(each.action, { method: "POST", headers: { Authorization: `Bearer ${token}` }, body: each.run.run }).catch(() => null);
  if (answer?.ok) return;
  note.textContent = answer ? await answer.text() : "The dashboard does not answer.";
  each.acted = null;
  controls();
}

function takeRows(answer) {
  const known = new Map(all.map((run) => [run.run, run]));
  for (const run of answer.rows) known.set(run.run, run);
  all = answer.order ? answer.order.map((name) => known.get(name)) : all.map((run) => known.get(run.run));
  if (answer.rows.length || answer.order) {
    runsTable(all);
    if (token) controls();
    sift();
  }
  for (const { tr, run } of rows.values()) tr.querySelector(".age")?.replaceWith(age(run));
  const gone = seen().map((run) => run.run).filter((name) => !rows.has(name));
  if (gone.length) choose(gone, false);
  const running = all.filter((run) => run.state === "running").length;
  const told = answer.problem ?? `${number(all.length)} ${all.length === 1 ? "run" : "runs"}, ${running} running`;
  if (status.textContent !== told) status.textContent = told;
}

function takeCurves(answer) {
  let news = false;
  for (const told of answer.runs) {
    const place = placeOf(told.run), run = shown.runs[place];
    if (!run) continue;
    news = true;
    if (told.settings) { shown.runs[place] = told; continue; }
    Object.assign(run, { cursor: told.cursor, returns: told.returns });
    for (const kind of KINDS) for (const [name, values] of Object.entries(told[kind])) run[kind][name].push(...values);
    if (KINDS.some((kind) => run[kind].steps?.length > MOST_POINTS)) run.cursor = "";
  }
  if (answer.together) Object.assign(shown, answer.together);
  mark = answer.mark;
  if (news || answer.together) { rest(); draw(); }
}

load = async (video, url) => {  // as a whole, so that it can be wound back
  const answer = await fetch(url).catch(() => null);
  if (answer?.ok) video.src = URL.createObjectURL(await answer.blob());
};

function sections() {
  for (const each of document.querySelectorAll("main > section:not(:first-of-type)")) if (!["films", "estimated"].includes(each.id)) each.hidden = !seen().length;
  byId("hint").hidden = seen().length > 0;
}
byId("runs").parentElement.after(element("p", { id: "hint", class: "hint" }, "Choose runs in the table to see their curves."));
afterChoice = () => { sections(); hurry = true; wake(); };

async function news() {  // null where the dashboard does not answer
  const asked = new URLSearchParams({ version, mark });
  for (const run of seen()) { asked.append("run", run.run); asked.append("cursor", run.cursor ?? ""); }
  const answer = await fetch(`news?${asked}`, { signal: AbortSignal.timeout(10 * SECOND) }).catch(() => null);
  return answer?.ok ? answer.json() : null;
}
async function follow() {
  for (;;) {
    hurry = false;
    const answer = document.hidden ? null : await news();
    if (answer) { takeRows(answer); takeCurves(answer); version = answer.version; }
    else if (!document.hidden) status.textContent = "The dashboard does not answer; trying again.";
    if (!hurry) await new Promise((go) => { wake = go; setTimeout(go, SECOND); });
  }
}
document.addEventListener("visibilitychange", () => wake());
sections();
follow();
