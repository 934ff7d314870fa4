"use strict";
// Draws the view that stands in the page as JSON, and what is added to it. Text reaches the page by textContent alone.
const shown = JSON.parse(document.getElementById("data").textContent);
const COLOURS = {  // Okabe and Ito's; the darker ones stand out from white, the lighter ones from black
  light: ["#0072b2", "#c04f00", "#007a5a", "#a8437f", "#8a6100", "#3d6f99"],
  dark: ["#56b4e9", "#f08a4b", "#2fc99b", "#e29bc3", "#e6b422", "#a9d6f5"],
};
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const INSIDE = [
  ["alpha", "Temperature alpha"], ["entropy", "Entropy and its target (nats)"], ["q", "Mean Q"],
  ["td_error", "Mean target minus mean Q"], ["critic_loss", "Critic loss"], ["policy_loss", "Policy loss"],
  ["temperature_loss", "Temperature loss"], ["speed", "Gradient steps per second"],
];
const byId = (id) => document.getElementById(id);
const number = (value, digits = 1) =>
  value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
const short = (value) => value == null ? "–" : Math.abs(value) >= 1000 ? number(value, 0) : String(+value.toPrecision(4));
const hidden = new Set(), rows = new Map();  // places in shown.runs; what the table of runs is made of, by their names
let axis = "steps", centre = "mean", charts = [], drawn = "", listed = [], sorted = null, afterChoice = () => {};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((each) => each instanceof Node ? each : String(each)));
  return made;
}
const theme = () => document.documentElement.dataset.theme;
const colour = (index) => COLOURS[theme()][index % 6];
const dash = (index) => DASHES[Math.floor(index / 6) % 4];
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function table(id, heads, rows) {
  const head = element("tr", {}, ...heads.map((each) => element("th", { scope: "col" }, each)));
  byId(id).replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}
function row(first, cells) {
  return element("tr", {}, element("th", { scope: "row" }, first), ...cells.map((each) => element("td", {}, each)));
}

const progress = (run) => {
  const made = element("span", { class: "progress" }, `${number(run.env_steps, 0)} of ${number(run.steps, 0)}`);
  made.style.setProperty("--done", `${Math.min(100, 100 * run.env_steps / run.steps)}%`);
  return made;
};
const COLUMNS = [  // of the table of runs: what a cell shows, what it is sorted by, and which end comes first
  { head: "run", key: (run) => run.run, first: 1 },
  { head: "state", cell: (run) => element("span", { class: `state ${run.state}` }, run.state),
    key: (run) => ["running", "stopped", "finished", "broken"].indexOf(run.state), first: 1 },
  { head: "environment", cell: (run) => run.environment ?? "own environment", key: (run) => run.environment, first: 1 },
  { head: "recipe", cell: (run) => run.recipe, key: (run) => run.recipe, first: 1 },
  { head: "seed", cell: (run) => run.seed, key: (run) => run.seed, first: 1 },
  { head: "steps", cell: progress, key: (run) => run.problem ? null : run.env_steps, first: -1 },
  { head: "best", cell: (run) => number(run.best), key: (run) => run.best, first: -1 },
  { head: "last", cell: (run) => number(run.last), key: (run) => run.last, first: -1 },
];
const seen = () => shown.runs.filter((_, place) => !hidden.has(place));
const placeOf = (name) => shown.runs.findIndex((run) => run.run === name);

function choose(names, on) {  // shows runs or hides them; one that is new takes the place of one that is hidden
  for (const name of names) {
    let place = placeOf(name);
    if (place < 0 && on) {
      place = shown.runs.findIndex((_, each) => hidden.has(each));
      if (place < 0) place = shown.runs.length;
      shown.runs[place] = { run: name, evaluations: {}, episodes: {}, metrics: {}, returns: [], settings: {}, fresh: true };
    }
    hidden[on ? "delete" : "add"](place);
  }
  paintRows();
  rest();
  draw();
  afterChoice();
}

function heads() {
  const all = element("input", { type: "checkbox", id: "all", "aria-label": "Show all runs of the table" });
  all.addEventListener("change", () => choose(listed.filter((run) => !rows.get(run.run).tr.hidden).map((run) => run.run), all.checked));
  const cells = COLUMNS.map((column, place) => {
    const button = element("button", { type: "button" }, column.head), head = element("th", { scope: "col" }, button);
    if (place === 0) head.prepend(all);
    if (sorted?.column === column) head.setAttribute("aria-sort", sorted.sign > 0 ? "ascending" : "descending");
    button.addEventListener("click", () => {
      sorted = { column, sign: sorted?.column === column ? -sorted.sign : column.first };
      for (const each of cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sorted.sign > 0 ? "ascending" : "descending");
      sortRows();
    });
    return head;
  });
  byId("runs").replaceChildren(element("thead", {}, element("tr", {}, ...cells)), element("tbody"));
}

function runsTable(runs) {  // lists these runs, and leaves alone what is as it was, above all what has the focus
  const names = new Set(runs.map((run) => run.run));
  for (const [name, each] of rows) if (!names.has(name)) { each.tr.remove(); rows.delete(name); }
  listed = runs;
  for (const run of runs) {
    if (!rows.has(run.run)) {
      const box = element("input", { type: "checkbox" }), swatch = element("span", { class: "swatch", "aria-hidden": "true" });
      box.addEventListener("change", () => choose([run.run], box.checked));
      const head = element("th", { scope: "row" }, element("label", {}, box, " ", swatch, run.run));
      rows.set(run.run, { tr: element("tr", {}, head), head, box, swatch, run: null });
    }
    const each = rows.get(run.run);
    if (each.run === run) continue;
    each.run = run;
    for (const cell of each.tr.querySelectorAll("td:not(.kept)")) cell.remove();
    const cells = COLUMNS.slice(1).filter((column) => column.cell).map((column) => element("td", {}, column.cell(run) ?? "–"));
    if (run.problem) cells.splice(1, cells.length, element("td", { class: "problem", colspan: cells.length - 1 }, run.problem));
    each.tr.append(...cells);
  }
  paintRows();
  sortRows();
}

function sortRows() {
  const order = [...listed];
  if (sorted) order.sort((one, other) => {
    const [a, b] = [one, other].map(sorted.column.key);
    if (a == null || b == null) return (a == null) - (b == null);
    return sorted.sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  });
  const body = byId("runs").tBodies[0], wanted = order.map((run) => rows.get(run.run).tr), focused = document.activeElement;
  if (wanted.every((tr, place) => body.rows[place] === tr)) return;
  body.append(...wanted);
  if (body.contains(focused)) focused.focus();
}

function paintRows() {
  for (const [name, { box, swatch }] of rows) {
    const place = placeOf(name);
    box.checked = place >= 0 && !hidden.has(place);
    swatch.style.borderTopColor = box.checked ? colour(place) : "transparent";
    swatch.style.borderTopStyle = ["solid", "dashed", "dotted", "dashed"][Math.floor(Math.max(place, 0) / 6) % 4];
  }
  const boxes = [...rows.values()].filter((each) => !each.tr.hidden).map((each) => each.box.checked);
  byId("all").checked = boxes.length > 0 && boxes.every(Boolean);
  byId("all").indeterminate = boxes.some(Boolean) && !byId("all").checked;
}

function interpolated(xs, ys, at) {  // the value of a curve between its points, null outside of them
  let left = -1;
  for (let i = 0; i < xs.length && xs[i] <= at; i++) if (ys[i] != null) left = i;
  let right = left;
  for (let i = Math.max(left, 0); i < xs.length; i++) if (ys[i] != null && xs[i] >= at) { right = i; break; }
  if (left < 0 || xs[right] < at) return null;
  return right === left ? ys[left] : ys[left] + (ys[right] - ys[left]) * (at - xs[left]) / (xs[right] - xs[left]);
}

const withValues = (curves) => curves.filter((each) => each.ys.some((y) => y != null));

function chart(place, title, curves) {  // returns the chart, which takes further points of the same curves
  const output = element("output"), frame = element("div", { class: "frame", tabindex: "0", role: "img" });
  byId(place).append(element("div", { class: "chart" }, element("h3", {}, title), frame, output));
  let told;
  const take = (curves) => {
    told = withValues(curves);
    frame.setAttribute("aria-label", `${title}, by ${axis}. ` + (told.slice(0, 10).map((each) =>
      `${each.name} ends at ${short(each.ys.findLast((y) => y != null))}`).join("; ") || "No values yet"));
    return told.length ? uPlot.join(told.map((each) => [each.xs, each.ys])) : [[]];
  };
  const data = take(curves);
  if (!told.length) {
    output.textContent = "No values yet, or every run with values is hidden.";
    return { frame, update: () => {}, destroy: () => {}, fit: () => {} };
  }
  const bands = told.flatMap((each, place) => each.bound !== "high" ? [] : [{  // its lower bound stands before it
    series: [place + 1, place], fill: `${each.colour}33`,
  }]);
  const look = { stroke: style("--quiet"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line") } };
  const say = (u) => {
    if (u.cursor.idx == null) { output.textContent = ""; return; }
    const at = u.data[0][u.cursor.idx], y = u.posToVal(u.cursor.top, "y");
    const near = told.map((each) => [each.name, interpolated(each.xs, each.ys, at)]).filter((each) => each[1] != null);
    near.sort((one, other) => Math.abs(one[1] - y) - Math.abs(other[1] - y));
    output.textContent = `${number(at, axis === "steps" ? 0 : 2)} ${axis}: ` +
      near.slice(0, 4).map(([name, value]) => `${name} ${short(value)}`).join("; ");
  };
  const plot = new uPlot({
    width: frame.clientWidth || 320, height: place === "curves" ? 340 : 220, legend: { show: false },
    scales: { x: { time: false } }, cursor: { drag: { x: true, y: false } }, bands,
    axes: [{ ...look, label: axis === "steps" ? "environment steps" : "minutes of training", labelSize: 22 },
      { ...look, size: 64, values: (_, all) => all.map((value) => value == null ? "" : +value.toPrecision(6)).map((value) => value.toLocaleString("en", { maximumSignificantDigits: 6 })) }],
    series: [{}, ...told.map((each) => ({
      label: each.name, stroke: each.colour, width: each.width ?? 1.5, dash: each.dash, spanGaps: true,
      points: { show: (u) => u.data[0].length < 2 }, alpha: each.alpha ?? 1,
    }))],
    hooks: { setCursor: [say] },
  }, data, frame);
  const zoom = (factor) => {
    const { min, max } = plot.scales.x, at = plot.cursor.idx, middle = at == null ? (min + max) / 2 : plot.data[0][at];
    plot.setScale("x", { min: middle - (middle - min) * factor, max: middle + (max - middle) * factor });
  };
  frame.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1 }, last = plot.data[0].length - 1;
    if (event.key in moves) {
      const from = plot.cursor.idx ?? (event.key === "ArrowRight" ? -1 : last + 1);
      const index = Math.min(last, Math.max(0, from + moves[event.key]));
      plot.setCursor({ left: plot.valToPos(plot.data[0][index], "x"), top: plot.cursor.top > 0 ? plot.cursor.top : 20 });
    } else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else return;
    event.preventDefault();
  });
  const update = (curves) => {
    const { min, max } = plot.scales.x, before = plot.data[0], zoomed = min > before[0] || max < before.at(-1);
    plot.setData(take(curves), !zoomed);
    if (zoomed) plot.setScale("x", { min, max });
  };
  const fit = () => plot.setSize({ width: frame.clientWidth, height: plot.height });
  return { frame, update, destroy: () => plot.destroy(), fit };
}

function curvesOf(kind, column) {
  return shown.runs.flatMap((run, index) => hidden.has(index) || !run[kind][column] ? [] : [{
    name: run.run, xs: run[kind][axis], ys: run[kind][column], colour: colour(index), dash: dash(index),
    alpha: run.group && kind === "evaluations" ? 0.45 : 1, index,
  }]).filter((each) => each.xs.every((x) => x != null));
}

function wanted() {  // every chart there is to draw: where, its title, its curves
  const evaluated = curvesOf("evaluations", "return");
  for (const group of axis === "steps" ? shown.groups : []) {
    const index = shown.runs.findIndex((run) => run.group === group.name);
    if (seen().every((run) => run.group !== group.name)) continue;
    const common = { xs: group.steps, colour: colour(index) };
    evaluated.push({ ...common, name: `${centre === "mean" ? "mean" : "IQM"} of ${group.name}`, ys: group[centre], width: 3 });
    if (centre === "mean") for (const bound of ["low", "high"])
      evaluated.push({ ...common, bound, name: `95 % interval of ${group.name}, ${bound}`, ys: group[bound], width: 0.5 });
  }
  const inside = INSIDE.map(([column, title]) => {
    const curves = curvesOf("metrics", column);
    if (column === "entropy") for (const each of [...curves]) {
      const target = shown.runs[each.index].target_entropy;
      if (target != null) curves.push({ ...each, name: `target of ${each.name}`, ys: each.xs.map(() => target), dash: [2, 4], width: 1 });
    }
    return ["inside", title, curves];
  });
  return [["curves", "Return of evaluations, mean over episodes", evaluated],
    ["curves", "Return of training episodes, running mean of 10", curvesOf("episodes", "return")],
    ...inside.filter((each) => each[2].length)];
}

function draw(anew = false) {  // where the same curves only have further points, charts stay as people look at them
  const all = wanted(), look = (each) => [each.name, each.colour];
  const shape = JSON.stringify(all.map(([, title, curves]) => [title, withValues(curves).map(look)]));
  if (!anew && shape === drawn) { all.forEach(([, , curves], place) => charts[place].update(curves)); return; }
  drawn = shape;
  for (const each of charts) each.destroy();
  byId("curves").replaceChildren();
  byId("inside").replaceChildren();
  charts = all.map((each) => chart(...each));
}

function vector(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
function scatter(run) {  // a dot per episode; on the line the critics were right
  const { estimated, obtained } = run.estimates, all = [...estimated, ...obtained].filter((each) => each != null);
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
  const x = (value) => 60 + 220 * (value - low) / span, y = (value) => 240 - 220 * (value - low) / span;
  const svg = vector("svg", { viewBox: "0 0 300 285", class: "scatter", role: "img",
    "aria-label": `Expected and obtained at the starts of ${estimated.length} episodes of ${run.run}` });
  svg.append(vector("path", { d: "M60 20V240H280", class: "axes" }), vector("path", { d: "M60 240L280 20", class: "equal" }));
  for (const [index, value] of estimated.entries())
    svg.append(vector("circle", { cx: x(value), cy: y(obtained[index]), r: 4 }));
  for (const value of [low, high]) svg.append(
    vector("text", { x: x(value), y: 257, "text-anchor": value === low ? "start" : "end" }, short(value)),
    vector("text", { x: 55, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  svg.append(vector("text", { x: 170, y: 276, "text-anchor": "middle" }, "expected"),
    vector("text", { x: 14, y: 130, "text-anchor": "middle", transform: "rotate(-90 14 130)" }, "obtained"));
  return element("div", { class: "chart" }, element("h3", {}, run.run), svg);
}

let load = (video, url) => { video.src = url; };
function showFilms(runs) {
  const section = byId("films"), urls = JSON.stringify(runs.map((run) => run.video.url));
  if (section.dataset.urls === urls) return;  // a film that is put back into the page stops
  section.dataset.urls = urls;
  section.hidden = !runs.length;
  for (const video of section.querySelectorAll("video")) URL.revokeObjectURL(video.src);
  section.replaceChildren(byId("films-title"), ...runs.flatMap((run) => {
    const video = element("video", { controls: "", loop: "", muted: "", playsinline: "", "aria-label": `The agent of ${run.run}` });
    load(video, run.video.url);
    return [element("p", {}, `${run.run}: ${run.video.file}`), video];
  }));
}

function rest() {
  const runs = seen().filter((run) => !run.fresh);
  byId("centre").hidden = !shown.groups.length;
  table("returns", ["run", "episodes", "lowest", "median", "highest", "each"], runs.map((run) => {
    const sorted = run.returns.filter((each) => each != null).sort((a, b) => a - b), n = sorted.length;
    const median = n ? (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2 : null;
    return row(run.run, [n, number(sorted[0]), number(median), number(sorted[n - 1]),
      sorted.slice(0, 20).map((each) => number(each)).join("  ") + (n > 20 ? " ..." : "")]);
  }));
  const played = runs.filter((run) => run.estimates);
  byId("estimated").hidden = !played.length;
  const mean = (values) => values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
  table("estimates", ["run", "episodes", "expected", "obtained", "difference"], played.map((run) => {
    const { estimated, obtained, problem } = run.estimates, expects = mean(estimated), gets = mean(obtained);
    const made = row(run.run, [estimated.length, number(expects), number(gets),
      expects == null ? "–" : number(expects - gets)]);
    if (problem) made.append(element("td", { class: "problem" }, problem));
    return made;
  }));
  byId("scatters").replaceChildren(...played.filter((run) => run.estimates.estimated.length).map(scatter));
  showFilms(runs.filter((run) => run.video));
  const settings = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))];
  const read = runs.filter((run) => Object.keys(run.settings).length);
  const value = (run, name) => name in run.settings ? JSON.stringify(run.settings[name]) : "–";
  const equal = (name) => read.every((run) => value(run, name) === value(read[0], name));
  settings.sort((one, other) => shown.differences.includes(other) - shown.differences.includes(one));
  const unequal = settings.filter((name) => !equal(name));
  byId("unequal").hidden = !unequal.length;
  table("unequal", ["setting", ...read.map((run) => run.run)], unequal.map((name) => {
    const differs = shown.differences.includes(name);
    const made = row(name + (differs ? " (differs)" : ""), read.map((run) => value(run, name)));
    if (differs) made.className = "differs";
    return made;
  }));
  table("settings", ["setting", read.length > 1 ? "in all runs" : "value"],
    settings.filter(equal).map((name) => row(name, [value(read[0], name)])));
  const words = (values) => Object.entries(values ?? {}).map(([name, value]) => `${name} ${value}`).join(", ") || "not recorded";
  const shares = (phases) => Object.entries(phases).sort((one, other) => other[1] - one[1])
    .map(([name, share]) => `${name} ${(100 * share).toFixed(1)} %`).join(", ");
  byId("made").replaceChildren(...runs.flatMap((run) => [element("h3", {}, run.run),
    element("pre", {}, run.command ?? "No single command makes this run again."),
    element("p", {}, `Versions: ${words(run.versions)}. Machine: ${words(run.machine)}.`),
    ...(Object.keys(run.phases ?? {}).length ? [element("p", {}, `Wall time: ${shares(run.phases)}.`)] : []),
    ...(run.warnings ? [element("h4", {}, "Warnings"), element("pre", {}, run.warnings)] : [])]));
}

function paint(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light colours" : "Dark colours";
  paintRows();
  draw(true);
}
const system = matchMedia("(prefers-color-scheme: dark)");
const environments = [...new Set(shown.runs.map((run) => run.problem ? null : run.environment ?? "own environment"))];
byId("title").textContent = shown.title ?? (environments.filter(Boolean).join(", ") || "Report");
document.title = `${byId("title").textContent} - rucksac`;
heads();
paint(system.matches ? "dark" : "light");
runsTable(shown.runs);
rest();
system.addEventListener("change", () => paint(system.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => paint(theme() === "dark" ? "light" : "dark"));
byId("whole").addEventListener("click", () => draw(true));
for (const each of document.querySelectorAll("input[name=axis]")) each.addEventListener("change", () => { axis = each.value; draw(true); });
for (const each of document.querySelectorAll("input[name=centre]")) each.addEventListener("change", () => { centre = each.value; draw(true); });
addEventListener("resize", () => { for (const each of charts) each.fit(); });
