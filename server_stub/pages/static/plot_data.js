// What is drawn, as numbers and words: the choice in the address, points from columns, the nearest point, CSV. No page here.
"use strict";

const plotData = (() => {
  const LISTS = ["branches", "heads", "testbeds", "specs", "benchmarks", "measures"];
  const WORDS = ["start_time", "end_time", "report", "x_axis", "y_axis", "from", "to", "hidden"];
  const TICKS = ["lower_boundary", "upper_boundary"];
  const ITERATION_SPAN = 0.8;

  // The choice, in the words of the links that clients print. Everything else in an address is left alone.
  function readChoice(search) {
    const given = new URLSearchParams(search);
    const choice = {};
    for (const name of LISTS) choice[name] = (given.get(name) ?? "").split(",");
    for (const name of ["branches", "testbeds", "benchmarks", "measures"]) choice[name] = choice[name].filter(Boolean);
    for (const name of WORDS) choice[name] = given.get(name) ?? "";
    for (const name of TICKS) choice[name] = given.get(name) === "true";
    choice.x_axis = choice.x_axis === "date_time" ? "date_time" : "version";
    choice.y_axis = ["linear", "log"].includes(choice.y_axis) ? choice.y_axis : "auto";
    return choice;
  }

  function writeChoice(choice) {
    const written = new URLSearchParams();
    for (const name of LISTS) if (choice[name].some(Boolean)) written.set(name, choice[name].join(","));
    for (const name of WORDS) if (choice[name] !== "") written.set(name, choice[name]);
    for (const name of TICKS) if (choice[name]) written.set(name, "true");
    return `?${written.toString().replaceAll("%2C", ",")}`;
  }

  // What the server is asked for: not the axes, and not which part is being looked at.
  function question(choice) {
    const asked = { ...choice, report: "", x_axis: "", y_axis: "", from: "", to: "", hidden: "", lower_boundary: false, upper_boundary: false };
    return writeChoice(asked);
  }

  const isComplete = (choice) => ["branches", "testbeds", "benchmarks", "measures"].every((name) => choice[name].length);

  // Points of a series in the order of the axis. Iterations of one version stand side by side, none hides another.
  function pointsOf(series, reports, byDate) {
    const count = series.value.length, x = new Float64Array(count), order = new Uint32Array(count);
    for (let first = 0, last; first < count; first = last) {
      const of = (at) => (byDate ? reports[series.report[at]][1] : reports[series.report[at]][3]);
      for (last = first + 1; last < count && of(last) === of(first); last++);
      const span = byDate ? 0.001 : ITERATION_SPAN / (last - first);
      for (let at = first; at < last; at++) x[at] = of(first) + (at - first) * span;
    }
    for (let at = 0; at < count; at++) order[at] = at;
    if (byDate) order.sort((one, other) => x[one] - x[other] || one - other);
    const column = (name) => (series[name] ? Array.from(order, (at) => series[name][at]) : null);
    return {
      series, x: Float64Array.from(order, (at) => x[at]), value: column("value"), lower: column("lower_limit"),
      upper: column("upper_limit"), baseline: column("baseline"), at: order,
    };
  }

  // A name may turn the direction of writing: alone it is isolated, among others these marks are taken out.
  const tame = ({ name }) => name.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
  const nameOf = ({ benchmark, measure, branch, testbed }) =>
    [benchmark, measure, branch, testbed].map(tame).join(" · ");

  // All that differs between the series; what they share stands in the title.
  function labelsOf(all) {
    const parts = ["benchmark", "measure", "branch", "testbed"];
    const differ = parts.filter((part) => new Set(all.map((one) => one[part].uuid)).size > 1);
    const shared = all.length ? parts.filter((part) => !differ.includes(part)).map((part) => tame(all[0][part])) : [];
    const labels = all.map((one) => (differ.length ? differ : ["benchmark"]).map((part) => tame(one[part])).join(" · "));
    return { labels, title: all.length === 1 ? nameOf(all[0]) : shared.join(" · ") };
  }

  function indexNear(xs, x) {
    let low = 0, high = xs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && x - xs[low - 1] <= xs[low] - x ? low - 1 : low;
  }

  const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
  const SCALES = { "nanoseconds (ns)": [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]] };
  function inUnits(value, units) {
    const scales = SCALES[units] ?? [[1, units]];
    const [factor, unit] = scales.find(([factor]) => Math.abs(value) >= factor) ?? scales.at(-1);
    return `${number.format(value / factor)} ${unit}`;
  }

  // Everything that is known of one point.
  function factsOf(points, at, reports) {
    const { series } = points, place = points.at[at];
    const [report, start, end, version, hash] = reports[series.report[place]];
    const alert = series.alerts[place];
    return {
      name: nameOf(series), value: series.value[place], units: series.measure.units, version, hash, report, start, end,
      iteration: series.iteration[place],
      lower: series.lower_limit?.[place] ?? null, upper: series.upper_limit?.[place] ?? null,
      baseline: series.baseline?.[place] ?? null, alert: alert ? { limit: alert[0], status: alert[1] } : null,
    };
  }

  function boundaryText({ lower, upper, units }) {
    if (lower === null && upper === null) return "";
    return `${lower === null ? "no lower" : inUnits(lower, units)} – ${upper === null ? "no upper" : inUnits(upper, units)}`;
  }

  // A cell that a spreadsheet would take for a formula is made text.
  function cell(value) {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function csv(drawn, reports) {
    const head = ["branch", "testbed", "benchmark", "measure", "units", "version", "hash", "report", "start_time", "end_time",
      "iteration", "value", "baseline", "lower_limit", "upper_limit", "alert", "alert_status"];
    const lines = [head.join(",")];
    for (const points of drawn) {
      const { branch, testbed, benchmark, measure } = points.series;
      for (let at = 0; at < points.x.length; at++) {
        const one = factsOf(points, at, reports);
        lines.push([branch.name, testbed.name, benchmark.name, measure.name, measure.units, one.version, one.hash, one.report,
          new Date(one.start * 1000).toISOString(), new Date(one.end * 1000).toISOString(), one.iteration, one.value, one.baseline,
          one.lower, one.upper, one.alert?.limit, one.alert?.status].map(cell).join(","));
      }
    }
    return `${lines.join("\r\n")}\r\n`;
  }

  return { readChoice, writeChoice, question, isComplete, pointsOf, labelsOf, indexNear, inUnits, factsOf, boundaryText, csv, number };
})();
