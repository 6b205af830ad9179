// Draws series with uPlot: lines, and alerts as triangles; zooming, moving, and the point that is looked at.
"use strict";

const plotDraw = (() => {
  const DASHES = [[], [9, 5], [3, 4], [14, 4, 3, 4]];
  const COLOURS = 8;
  const NEAR_PX = 60;
  const FINGER_PX = 10;
  const REST_MS = 120;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lookOf = (number) => ({ colour: style(`--s${number % COLOURS}`), dash: DASHES[Math.floor(number / COLOURS) % DASHES.length] });

  // All series on one axis: a place without a value is null.
  function aligned(drawn) {
    const xs = Float64Array.from(new Set(drawn.flatMap((points) => Array.from(points.x)))).sort();
    const onto = (points, values) => {
      const row = new Array(xs.length).fill(null);
      for (let at = 0, place = 0; at < points.x.length; at++, place++) {
        while (xs[place] !== points.x[at]) place++;
        row[place] = values[at];
      }
      return row;
    };
    return { xs, onto };
  }

  // One scale for each unit; the first two have an axis.
  function scalesOf(drawn, choice, limitsOn) {
    const units = [...new Set(drawn.map((points) => points.series.measure.units))];
    const positive = drawn.every((points) => points.value.every((value) => value > 0));
    const log = choice.y_axis === "log" && positive;
    const range = (_plot, lowest, highest, scale) => {
      if (lowest === null || highest === null) return [0, 1];
      let low = lowest, high = highest;
      for (const limit of limitsOn(scale)) if (!log || limit > 0) [low, high] = [Math.min(low, limit), Math.max(high, limit)];
      if (log) return [low / 1.15, high * 1.15];
      const room = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
      return choice.y_axis === "linear" ? [Math.min(0, low - (low < 0 ? room : 0)), Math.max(0, high + room)] : [low - room, high + room];
    };
    const scales = Object.fromEntries(units.map((_unit, number) => [`y${number}`, { range, distr: log ? 3 : 1 }]));
    return { units, scales };
  }

  function axesOf(units, byDate) {
    const look = { stroke: style("--soft"), font: "12px system-ui, sans-serif", grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1 } };
    const versions = { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000], values: (_plot, splits) => splits.map((one) => (Number.isInteger(one) ? String(one) : "")) };
    const of = units.slice(0, 2).map((unit, number) => {
      const factored = (splits) => splits.map((one) => (one === null ? "" : plotData.inUnits(one, unit).replace(unit === "nanoseconds (ns)" ? "" : ` ${unit}`, "")));
      return { ...look, scale: `y${number}`, side: number ? 1 : 3, size: 76, grid: number ? { show: false } : look.grid, values: (_plot, splits) => factored(splits) };
    });
    return [{ ...look, ...(byDate ? {} : versions), size: 34 }, ...of];
  }

  class View {
    constructor(place, drawn, reports, choice, told) {
      Object.assign(this, { place, drawn, reports, choice, told, focus: null, plot: null });
      this.byDate = choice.x_axis === "date_time";
      this.hidden = new Set(choice.hidden ? choice.hidden.split(",").map(Number) : []);
      this.make();
    }

    make() {
      const { units, scales } = scalesOf(this.drawn, this.choice, (scale) => plotBands.limitsOn(this, scale));
      const { xs, onto } = aligned(this.drawn);
      const data = [xs], series = [{}];
      this.units = units;
      this.paint = Object.fromEntries(["ink", "panel", "bad"].map((name) => [name, style(`--${name}`)]));
      this.drawn.forEach((points, number) => {
        const { colour, dash } = lookOf(number);
        points.colour = colour;
        points.scale = `y${units.indexOf(points.series.measure.units)}`;
        data.push(onto(points, points.value));
        series.push({
          scale: points.scale, spanGaps: true, show: !this.hidden.has(number), stroke: colour, dash,
          points: { size: 6, fill: colour, show: () => this.isSparse(points) },
        });
        points.band = plotBands.bandOf(points, this.choice);
      });
      this.xs = xs;
      const only = xs.length === 1 || xs[0] === xs[xs.length - 1];
      const room = only ? (this.byDate ? 3600 : 0.5) : (xs[xs.length - 1] - xs[0]) * 0.02;
      this.all = [xs[0] - room, xs[xs.length - 1] + room];
      const from = this.choice.from === "" ? NaN : Number(this.choice.from), to = this.choice.to === "" ? NaN : Number(this.choice.to);
      this.window = from < to ? [from, to] : [...this.all];
      this.plot = new uPlot({
        ...this.size(), series, axes: axesOf(units, this.byDate), legend: { show: false }, padding: [12, 12, 0, 0],
        scales: { x: { time: this.byDate, range: () => this.window }, ...scales },
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, bind: { mousedown: (_plot, _on, usual) => (event) => (event.shiftKey ? this.dragFrom(event) : usual(event)), dblclick: () => () => this.look(...this.all) } },
        hooks: { setSelect: [() => this.pick()], setCursor: [(plot) => this.point(plot)], drawClear: [(plot) => { this.thin(plot); this.within(plot, (_ctx, ratio) => plotBands.draw(this, plot, ratio)); }], draw: [(plot) => this.mark(plot)] },
      }, data, this.place);
      this.plot.over.addEventListener("mousemove", () => { this.keyed = false; });
      this.plot.over.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      for (const name of ["touchstart", "touchend", "touchcancel"]) this.plot.over.addEventListener(name, ({ touches }) => this.grab(touches), { passive: true });
      this.plot.over.addEventListener("touchmove", ({ touches }) => this.pull(touches), { passive: true });
    }

    leave() {
      clearTimeout(this.moving);
      this.plot.destroy();
    }

    size() {
      return { width: Math.max(200, this.place.clientWidth), height: this.place.clientHeight };
    }

    isSparse({ x }) {
      const [first, last] = this.window.map((edge) => plotData.indexNear(x, edge));
      return (last - first + 1) * 9 < this.place.clientWidth;
    }

    // Lines between many points are thin: a browser without a graphics card draws them four times as fast.
    thin(plot) {
      this.drawn.forEach((points, number) => { plot.series[number + 1].width = this.isSparse(points) ? 1.6 : 1; });
    }

    // Looking at a part
    look(from, to) {
      const least = this.byDate ? 1 : 0.5, [first, last] = this.all;
      let span = Math.min(Math.max(to - from, least), last - first);
      const middle = (from + to) / 2;
      let start = Math.min(Math.max(middle - span / 2, first), last - span);
      if (span >= last - first) [start, span] = [first, last - first];
      this.window = [start, start + span];
      this.rest();
      this.plot.setScale("x", { min: this.window[0], max: this.window[1] });
      this.showFocus();
      this.told.window(span >= last - first ? null : this.window);
    }

    // While the plot moves under the pointer no other point is looked for: its text would be made anew for each frame.
    rest() {
      const pointed = this.plot.cursor.left >= 0;
      clearTimeout(this.moving);
      this.moving = setTimeout(() => { this.moving = 0; if (pointed) this.point(this.plot); }, REST_MS);
    }

    pick() {
      const { left, width } = this.plot.select;
      if (width > 3) this.look(this.plot.posToVal(left, "x"), this.plot.posToVal(left + width, "x"));
      this.plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    }

    zoom(factor, around) {
      const [from, to] = this.window, at = around ?? (from + to) / 2;
      this.look(at - (at - from) * factor, at + (to - at) * factor);
    }

    shift(part) {
      const step = (this.window[1] - this.window[0]) * part;
      this.look(this.window[0] + step, this.window[1] + step);
    }

    wheel(event) {
      event.preventDefault();
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      if (sideways) return this.shift(Math.sign(event.deltaX || event.deltaY) * 0.06);
      const left = event.clientX - this.plot.over.getBoundingClientRect().left;
      const factor = event.ctrlKey ? Math.exp(event.deltaY / 100) : event.deltaY < 0 ? 0.85 : 1 / 0.85;  // With Ctrl: two fingers on a touchpad.
      return this.zoom(factor, this.plot.posToVal(left, "x"));
    }

    // What is held stays under the finger: one moves the plot, two stretch it.
    grab(fingers) {
      const { left } = this.plot.over.getBoundingClientRect();
      this.held = Array.from(fingers).slice(0, 2).map(({ clientX }) => this.plot.posToVal(clientX - left, "x"));
    }

    pull(fingers) {
      const { left, width } = this.plot.over.getBoundingClientRect(), [from, to] = this.window;
      const [one, other] = this.held, [at, beside] = Array.from(fingers, ({ clientX }) => clientX - left);
      const apart = this.held.length === 2 ? beside - at : 0;
      const perPx = Math.abs(apart) > FINGER_PX ? Math.abs((other - one) / apart) : (to - from) / width;
      this.look(one - at * perPx, one + (width - at) * perPx);
    }

    dragFrom(start) {
      this.grab([start]);
      const move = (event) => this.pull([event]);
      document.addEventListener("mousemove", move);
      document.addEventListener("mouseup", () => document.removeEventListener("mousemove", move), { once: true });
    }

    // Looking at a point
    position(number, at) {
      const points = this.drawn[number];
      return [this.plot.valToPos(points.x[at], "x"), this.plot.valToPos(points.value[at], points.scale)];
    }

    point(plot) {
      const { left, top } = plot.cursor;
      if (this.moving || this.keyed) return undefined;
      if (left < 0) return this.setFocus(null);
      const x = plot.posToVal(left, "x");
      let best = null, least = NEAR_PX;
      this.drawn.forEach((points, number) => {
        if (this.hidden.has(number)) return;
        const middle = plotData.indexNear(points.x, x);
        for (let at = Math.max(0, middle - 4); at <= Math.min(points.x.length - 1, middle + 4); at++) {
          const [px, py] = this.position(number, at), away = Math.hypot(px - left, (py - top) * 0.5);
          if (away < least) [best, least] = [{ number, at }, away];
        }
      });
      return this.setFocus(best);
    }

    // Said: the keyboard has chosen it, which a pointer that rests does not change.
    setFocus(focus, said = false) {
      this.keyed = said;
      if (focus?.number === this.focus?.number && focus?.at === this.focus?.at && !said) return;
      this.focus = focus;
      this.told.point(focus && this.facts(), said);
      this.showFocus();
    }

    facts() {
      return plotData.factsOf(this.drawn[this.focus.number], this.focus.at, this.reports);
    }

    showFocus() {
      let at = null;
      if (this.focus) {
        const [left, top] = this.position(this.focus.number, this.focus.at), over = this.plot.over;
        if (left >= 0 && left <= over.clientWidth) at = [left + over.offsetLeft, top + over.offsetTop];
      }
      this.told.place(at);
    }

    step(by) {
      const seen = this.drawn.map((_points, number) => number).filter((number) => !this.hidden.has(number));
      if (!seen.length) return;
      const number = this.focus && seen.includes(this.focus.number) ? this.focus.number : seen[0];
      const { x } = this.drawn[number];
      let at = this.focus?.number === number ? this.focus.at + by : plotData.indexNear(x, by > 0 ? this.window[0] : this.window[1]);
      at = Math.min(Math.max(at, 0), x.length - 1);
      this.reveal(x[at]);
      this.setFocus({ number, at }, true);
    }

    turn(by) {
      const seen = this.drawn.map((_points, number) => number).filter((number) => !this.hidden.has(number));
      if (!seen.length) return;
      const now = seen.indexOf(this.focus?.number ?? -1);
      const number = seen[(now + by + seen.length) % seen.length];
      const x = this.focus ? this.drawn[this.focus.number].x[this.focus.at] : this.window[1];
      const at = plotData.indexNear(this.drawn[number].x, x);
      this.reveal(this.drawn[number].x[at]);
      this.setFocus({ number, at }, true);
    }

    reveal(x) {
      const [from, to] = this.window, half = (to - from) / 2;
      if (x < from || x > to) this.look(x - half, x + half);
    }

    toggle(number) {
      if (!this.hidden.delete(number)) this.hidden.add(number);
      this.plot.setSeries(number + 1, { show: !this.hidden.has(number) });
      if (this.focus?.number === number) this.setFocus(null);
    }

    // What uPlot does not draw: boundaries, alerts, and the report that a link leads to.
    within(plot, draw) {
      const { left, top, width, height } = plot.bbox;
      plot.ctx.save();
      plot.ctx.beginPath();
      plot.ctx.rect(left, top, width, height);
      plot.ctx.clip();
      draw(plot.ctx, devicePixelRatio);
      plot.ctx.restore();
    }

    mark(plot) {
      this.within(plot, (ctx, ratio) => { this.markReport(plot, ctx, ratio); this.markAlerts(plot, ctx, ratio); });
    }

    markReport(plot, ctx, ratio) {
      for (const x of this.marked()) {
        const left = plot.valToPos(x, "x", true);
        Object.assign(ctx, { strokeStyle: this.paint.ink, lineWidth: ratio });
        ctx.setLineDash([2 * ratio, 3 * ratio]);
        ctx.beginPath();
        ctx.moveTo(left, plot.bbox.top);
        ctx.lineTo(left, plot.bbox.top + plot.bbox.height);
        ctx.stroke();
      }
    }

    markAlerts(plot, ctx, ratio) {
      ctx.setLineDash([]);
      for (const { x, value, scale, limit, status } of this.alerts()) {
        const left = plot.valToPos(x, "x", true), top = plot.valToPos(value, scale, true);
        const size = 8 * ratio, way = limit === "upper" ? -1 : 1;
        ctx.beginPath();
        ctx.moveTo(left, top + way * size);
        ctx.lineTo(left - size, top - way * size * 0.7);
        ctx.lineTo(left + size, top - way * size * 0.7);
        ctx.closePath();
        Object.assign(ctx, { fillStyle: status === "active" ? this.paint.bad : this.paint.panel, strokeStyle: this.paint.bad, lineWidth: 1.6 * ratio });
        ctx.fill();
        ctx.stroke();
      }
    }

    * alerts() {
      for (const [number, points] of this.drawn.entries()) {
        if (this.hidden.has(number)) continue;
        points.alerted ??= Array.from(points.at.keys()).filter((at) => points.series.alerts[points.at[at]]);
        for (const at of points.alerted) {
          if (points.x[at] < this.window[0] || points.x[at] > this.window[1]) continue;
          const [limit, status] = points.series.alerts[points.at[at]];
          yield { x: points.x[at], value: points.value[at], scale: points.scale, limit, status };
        }
      }
    }

    marked() {
      const place = this.choice.report ? this.reports.findIndex(([uuid]) => uuid === this.choice.report) : -1;
      return place < 0 ? [] : [this.reports[place][this.byDate ? 1 : 3]];
    }
  }

  return { View, lookOf, style };
})();
