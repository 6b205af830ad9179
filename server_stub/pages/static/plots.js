// The page of plots: the address is the choice. What is chosen goes there at once, and what stands there is drawn.
"use strict";

(() => {
  const root = document.getElementById("plots");
  if (!root) return;
  const ROWS_MAX = 1000;
  const KINDS = ["branches", "testbeds", "benchmarks", "measures"];
  const by = (id) => document.getElementById(id);
  const make = (name, text, attributes = {}) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const place = by("plot"), form = by("chooser");
  let choice = plotData.readChoice(location.search), view = null, shown = null, asked = 0, later = 0;

  if (!plotData.isComplete(choice)) {
    const first = JSON.parse(root.dataset.first);
    for (const kind of KINDS) if (!choice[kind].length) choice[kind] = first[kind];
    if (!location.search) choice.lower_boundary = choice.upper_boundary = true;
    keep();
  }

  function keep(entry = false) {
    history[entry ? "pushState" : "replaceState"](null, "", plotData.writeChoice(choice));
  }

  // A choice that draws other numbers begins anew with the whole of them.
  function choose(changes) {
    Object.assign(choice, changes, { from: "", to: "", hidden: "" });
    keep(true);
    load();
  }

  async function ask(path) {
    const answer = await fetch(`${root.dataset.base}/${path}`);
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.message?.split("\n")[0] ?? `the server answers ${answer.status}`);
    return body;
  }

  async function load() {
    const mine = ++asked;
    by("plot-problem").hidden = true;
    if (!plotData.isComplete(choice)) return say("Choose at least one branch, testbed, benchmark and measure.");
    root.setAttribute("aria-busy", "true");
    try {
      const found = await ask(`series${plotData.question(choice)}`);
      if (mine !== asked) return undefined;
      shown = found;
      draw();
    } catch (problem) {
      if (mine === asked) say(problem.message);
    } finally {
      if (mine === asked) root.removeAttribute("aria-busy");
    }
    return undefined;
  }

  function say(text) {
    by("plot-problem").textContent = text;
    by("plot-problem").hidden = false;
    setText(by("plot-title"), "Nothing is drawn");
    clear();
  }

  function clear() {
    view?.leave();
    view = null;
    by("plot-legend").replaceChildren();
    showPoint(null);
    placePoint(null);
    fillTable();
  }

  function draw() {
    if (!shown.series.length) return say("Nothing was measured for this choice. Widen the time, or choose another branch, testbed or measure.");
    const drawn = shown.series.map((series) => plotData.pointsOf(series, shown.reports, choice.x_axis === "date_time"));
    const { labels, title } = plotData.labelsOf(shown.series);
    clear();
    setText(by("plot-title"), title || root.dataset.project);
    view = new plotDraw.View(place, drawn, shown.reports, choice, { window: keepWindow, point: showPoint, place: placePoint });
    view.title = title || root.dataset.project;
    view.labels = labels;
    drawLegend(labels);
    fillTable();
    return undefined;
  }

  function keepWindow(window) {
    [choice.from, choice.to] = window ? window.map((one) => String(Number(one.toPrecision(12)))) : ["", ""];
    clearTimeout(later);
    later = setTimeout(() => { keep(); fillTable(); }, 200);
  }

  function drawLegend(labels) {
    by("plot-legend").replaceChildren(...labels.map((label, number) => {
      const { colour, dash } = plotDraw.lookOf(number);
      const button = make("button", undefined, { type: "button", "aria-pressed": String(!view.hidden.has(number)) });
      const sample = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(sample.namespaceURI, "path");
      for (const [key, value] of Object.entries({ d: "M0 6H30", stroke: colour, "stroke-width": "2.5", "stroke-dasharray": dash.join(" ") })) line.setAttribute(key, value);
      sample.setAttribute("viewBox", "0 0 30 12");
      sample.setAttribute("aria-hidden", "true");
      sample.append(line);
      button.append(sample, make("bdi", label));
      button.addEventListener("click", () => {
        view.toggle(number);
        button.setAttribute("aria-pressed", String(!view.hidden.has(number)));
        choice.hidden = [...view.hidden].sort((one, other) => one - other).join(",");
        keep();
        fillTable();
      });
      const item = make("li");
      item.append(button);
      return item;
    }));
  }

  // The point that is looked at
  const alertText = ({ alert }) => (alert ? `alert: ${alert.limit === "upper" ? "above the upper" : "below the lower"} boundary, ${alert.status}` : "");

  // How quiet the host was, and which image ran: asked for once a report, when one of its points is looked at for a while.
  const trusted = new Map();
  let rest = 0;
  function learn(facts, said) {
    clearTimeout(rest);
    if (!facts || trusted.has(facts.report)) return;
    rest = setTimeout(async () => {
      const trust = await ask(`trust/${facts.report}`).catch(() => ({ words: [], digest: null }));
      trusted.set(facts.report, trust);
      if (trust.digest && view?.focus && view.facts().report === facts.report) { showPoint(view.facts(), said); view.showFocus(); }
    }, 120);
  }

  function linesOf(facts) {
    const { words = [], digest = null } = trusted.get(facts.report) ?? {}, word = words[facts.iteration];
    const quiet = word && `${{ quiet: "✓", disturbed: "▲" }[word] ?? "?"} ${word}`;
    return [
      [`Version ${facts.version}${facts.hash ? ` · commit ${facts.hash.slice(0, 10)}` : ""}`],
      [`${day.format(new Date(facts.start * 1000))} · iteration ${facts.iteration}`],
      [boundaryTextOf(facts)],
      [quiet && `Host while measuring: ${quiet}`],
      [digest && `Image ${digest.replace("sha256:", "").slice(0, 12)}`],
      [alertText(facts), "loud"],
    ].filter(([text]) => text);
  }

  const boundaryTextOf = (facts) => { const text = plotData.boundaryText(facts); return text && `Boundary ${text}`; };

  function showPoint(facts, said) {
    const tip = by("plot-tip");
    size = null;
    tip.replaceChildren();
    learn(facts, said);
    if (!facts) return;
    tip.append(make("bdi", facts.name, { class: "long" }), make("strong", plotData.inUnits(facts.value, facts.units)));
    for (const [text, look] of linesOf(facts)) tip.append(make("div", text, look ? { class: look } : {}));
    if (said) setText(by("plot-said"), [facts.name, plotData.inUnits(facts.value, facts.units), ...linesOf(facts).map(([text]) => text)].join(". "));
  }

  // How large the tip is, is asked for once after its text has changed: an answer makes the browser lay out the page.
  let size = null;
  function placePoint(at) {
    const ring = by("plot-ring"), tip = by("plot-tip");
    ring.hidden = tip.hidden = !at;
    if (!at) return;
    size ??= tip.getBoundingClientRect();
    const [left, top] = at;
    const right = left + size.width + 18 <= place.clientWidth;
    const x = right ? left + 14 : Math.max(2, left - size.width - 14);
    const y = Math.min(Math.max(4, top - size.height - 10), place.clientHeight - size.height - 4);
    ring.style.transform = `translate(${left}px, ${top}px)`;
    tip.style.transform = `translate(${x}px, ${Math.max(0, y)}px)`;
  }

  function openReport() {
    if (view?.focus) location.assign(`/reports/${view.facts().report}`);
  }

  const KEYS = {
    ArrowLeft: () => view.step(-1), ArrowRight: () => view.step(1), ArrowUp: () => view.turn(-1), ArrowDown: () => view.turn(1),
    "+": () => view.zoom(0.7, centre()), "=": () => view.zoom(0.7, centre()), "-": () => view.zoom(1 / 0.7, centre()), 0: () => view.look(...view.all),
    Enter: openReport, Escape: () => view.setFocus(null),
  };
  const centre = () => (view.focus ? view.drawn[view.focus.number].x[view.focus.at] : undefined);
  place.addEventListener("keydown", (event) => {
    if (!view || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  place.addEventListener("dblclick", openReport);

  const TOOLS = { left: () => view.shift(-0.25), right: () => view.shift(0.25), in: () => view.zoom(0.6), out: () => view.zoom(1 / 0.6), all: () => view.look(...view.all) };
  root.addEventListener("click", (event) => {
    const tool = event.target.closest("[data-do]");
    if (tool && view) TOOLS[tool.dataset.do]();
  });

  // Files and the table
  const SAVES = {
    csv: () => plotFiles.save(plotData.csv(view.drawn, shown.reports), "perf.csv", "text/csv;charset=utf-8"),
    svg: () => plotFiles.save(plotFiles.svg(view, view.title, view.labels), "perf.svg", "image/svg+xml"),
    png: async () => plotFiles.save(await plotFiles.png(view, view.title, view.labels), "perf.png", "image/png"),
  };
  root.addEventListener("click", async (event) => {
    const kind = event.target.closest("[data-save]")?.dataset.save;
    if (!kind || !view) return;
    await SAVES[kind]();
    setText(by("plot-saved"), `Saved as perf.${kind}`);
  });
  by("plot-link").addEventListener("click", async () => {
    keep();
    await navigator.clipboard?.writeText(location.href);
    setText(by("plot-saved"), "The link is copied");
  });

  function fillTable() {
    const table = by("plot-table"), body = table.querySelector("tbody");
    body.replaceChildren();
    if (!view || !table.open) return;
    let seen = 0;
    for (const [number, points] of view.drawn.entries()) {
      if (view.hidden.has(number)) continue;
      for (let at = 0; at < points.x.length; at++) {
        if (points.x[at] < view.window[0] || points.x[at] > view.window[1] || ++seen > ROWS_MAX) continue;
        body.append(rowOf(plotData.factsOf(points, at, shown.reports), view.labels[number]));
      }
    }
    setText(by("plot-rows"), seen > ROWS_MAX ? `The first ${ROWS_MAX} of ${plotData.number.format(seen)} points in the range that is shown; the CSV has all.` : `${seen} points in the range that is shown.`);
  }

  function rowOf(facts, label) {
    const row = make("tr"), name = make("th", undefined, { scope: "row" }), version = make("td");
    name.append(make("bdi", label));
    version.append(make("a", facts.version, { href: `/reports/${facts.report}` }));
    row.append(name, version, make("td", facts.hash?.slice(0, 10) ?? "", { class: "mono" }), make("td", day.format(new Date(facts.start * 1000))),
      make("td", facts.iteration), make("td", plotData.inUnits(facts.value, facts.units), { class: "fig" }),
      make("td", plotData.boundaryText(facts), { class: "fig" }), make("td", alertText(facts)));
    return row;
  }
  by("plot-table").addEventListener("toggle", fillTable);

  // The chooser
  async function list(fieldset, search = "") {
    const { kind } = fieldset.dataset;
    const mine = (fieldset.asked = (fieldset.asked ?? 0) + 1);
    const query = new URLSearchParams({ uuids: choice[kind].join(",") });
    if (search) query.set("search", search);
    const { chosen, found, total } = await ask(`names/${kind}?${query}`);
    if (mine !== fieldset.asked) return;
    const known = new Set(chosen.map(({ uuid }) => uuid));
    const all = [...chosen, ...found.filter(({ uuid }) => !known.has(uuid))];
    fieldset.querySelector(".choices").replaceChildren(...all.map(({ uuid, name }) => {
      const label = make("label"), tick = make("input", undefined, { type: "checkbox", value: uuid });
      tick.checked = choice[kind].includes(uuid);
      label.append(tick, make("bdi", name));
      return label;
    }));
    const none = search && !found.length ? `No ${kind} with “${search}” in the name.` : "";
    setText(fieldset.querySelector("[data-more]"), none || (total > found.length ? `${found.length} of ${total}; search for the others.` : ""));
  }

  function tick(kind, uuid, wanted) {
    const at = choice[kind].indexOf(uuid), changes = { [kind]: wanted ? [...choice[kind], uuid] : choice[kind].filter((one) => one !== uuid) };
    // Heads and specs stand beside their branches and testbeds, by place.
    const beside = { branches: "heads", testbeds: "specs" }[kind];
    if (beside && !wanted && at >= 0) changes[beside] = choice[beside].filter((_one, place) => place !== at);
    choose(changes);
  }

  for (const fieldset of form.querySelectorAll("[data-kind]")) {
    let wait = 0;
    const search = fieldset.querySelector("[type=search]");
    search.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => list(fieldset, search.value.trim()), 180); });
    fieldset.querySelector(".choices").addEventListener("change", (event) => tick(fieldset.dataset.kind, event.target.value, event.target.checked));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const { name, value, checked } = event.target;
    if (name === "lower_boundary" || name === "upper_boundary") { choice[name] = checked; keep(); if (shown) draw(); }
    if (name === "y_axis") { choice.y_axis = value; keep(); if (shown) draw(); }
    if (name === "x_axis") { Object.assign(choice, { x_axis: value, from: "", to: "" }); keep(); if (shown) draw(); }
    if (name === "start_time" || name === "end_time") choose({ [name]: momentOf(name, value) });
  });

  const DAY_MS = 86400000;
  // A day that is named is included whole.
  function momentOf(name, value) {
    if (!value) return "";
    const midnight = new Date(`${value}T00:00:00`).getTime();
    return String(Math.max(0, name === "start_time" ? midnight : midnight + DAY_MS - 1000));
  }
  const dayOf = (ms) => { const at = new Date(Number(ms) - new Date(Number(ms)).getTimezoneOffset() * 60000); return Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(0, 10); };

  function fillForm() {
    for (const name of ["x_axis", "y_axis"]) form.elements[name].value = choice[name];
    for (const name of ["lower_boundary", "upper_boundary"]) form.elements[name].checked = choice[name];
    for (const name of ["start_time", "end_time"]) form.elements[name].value = choice[name] ? dayOf(choice[name]) : "";
    for (const fieldset of form.querySelectorAll("[data-kind]")) list(fieldset, fieldset.querySelector("[type=search]").value.trim());
  }

  const redraw = () => { if (shown?.series.length) draw(); };
  new ResizeObserver(() => { if (view) { view.plot.setSize(view.size()); view.showFocus(); } }).observe(place);
  document.addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("popstate", () => { choice = plotData.readChoice(location.search); fillForm(); load(); });
  fillForm();
  load();
})();
