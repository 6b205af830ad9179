// Boundaries as bands. uPlot's own bands are series with all their points, clipped by one another; these need the corners alone.
"use strict";

const plotBands = (() => {
  // The edges that a band lies between: the limits that are wanted; the baseline stands in for the one that is not there.
  function edgesOf(points, choice) {
    const lower = choice.lower_boundary ? points.lower : null, upper = choice.upper_boundary ? points.upper : null;
    return lower || upper ? { lower: lower ?? points.baseline, upper: upper ?? points.baseline, limits: [lower, upper] } : null;
  }

  // An edge with the corners alone: all iterations of a version share their limits, and a line needs the first and the last of them.
  function cornersOf(xs, values) {
    const x = [], y = [];
    for (let at = 0; at < xs.length; at++) {
      if (values[at] === null) continue;
      const last = y.length - 1;
      if (last > 0 && y[last] === values[at] && y[last - 1] === values[at]) x[last] = xs[at];
      else { x.push(xs[at]); y.push(values[at]); }
    }
    return { x, y };
  }

  // The lower and the upper edge of a series' band; an edge that is no limit bounds it without a line.
  function bandOf(points, choice) {
    const edges = edgesOf(points, choice);
    return edges && [edges.lower, edges.upper].map((values, side) => values && { ...cornersOf(points.x, values), isLimit: Boolean(edges.limits[side]) });
  }

  // The part of an edge that is seen, from the last corner before to the first one after; one corner for each pixel will do.
  function along(plot, window, { x, y }, scale) {
    const [from, to] = window, seen = [];
    let before = -Infinity;
    for (let at = Math.max(0, plotData.indexNear(x, from) - 1); at < x.length && !(x[at - 1] > to); at++) {
      const left = plot.valToPos(x[at], "x", true);
      if (left - before < 1 && at < x.length - 1) continue;
      before = left;
      seen.push([left, plot.valToPos(y[at], scale, true)]);
    }
    return seen;
  }

  function draw({ drawn, hidden, window }, plot, ratio) {
    const { ctx } = plot;
    for (const [number, { band, colour, scale }] of drawn.entries()) {
      if (!band || hidden.has(number)) continue;
      const [lower, upper] = band.map((edge) => (edge ? along(plot, window, edge, scale) : []));
      const trace = (corners) => corners.forEach(([left, top]) => ctx.lineTo(left, top));
      if (lower.length && upper.length) {
        ctx.beginPath();
        trace(lower);
        trace([...upper].reverse());
        ctx.fillStyle = `${colour}22`;
        ctx.fill();
      }
      Object.assign(ctx, { strokeStyle: `${colour}99`, lineWidth: ratio });
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      for (const [side, corners] of [lower, upper].entries()) {
        if (!band[side]?.isLimit) continue;
        ctx.beginPath();
        trace(corners);
        ctx.stroke();
      }
    }
  }

  // The limits that are seen: an axis has room for them.
  function* limitsOn({ drawn, hidden, window: [from, to] }, scale) {
    for (const [number, points] of drawn.entries()) {
      if (points.scale !== scale || hidden.has(number)) continue;
      for (const { x, y } of (points.band ?? []).filter(Boolean)) {
        for (let at = plotData.indexNear(x, from); x[at] <= to; at++) if (x[at] >= from) yield y[at];
      }
    }
  }

  return { edgesOf, bandOf, draw, limitsOn };
})();
