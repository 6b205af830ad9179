// The picture that is looked at, as files: SVG drawn anew, PNG from the canvas with its title and legend around it.
"use strict";

const plotFiles = (() => {
  const LEFT = 84, RIGHT = 24, TOP = 58, BELOW = 40, ROW = 22;
  const escape = (text) => String(text).replace(/[^\x20-\ud7ff\ue000-\uffff\n]|[\ufffe\uffff]/gu, (one) => (one.codePointAt(0) > 0xffff ? one : " "))
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
  const at = (value) => Math.round(value * 10) / 10;

  function ticks(low, high, about) {
    const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => power * factor >= raw * 0.999999);
    const found = [];
    for (let number = Math.ceil(low / step); number * step <= high; number++) found.push(number * step);
    return found;
  }

  function svg(view, title, labels) {
    const { plot } = view, width = plot.over.clientWidth, height = plot.over.clientHeight;
    const shown = view.drawn.map((points, number) => ({ points, number })).filter(({ number }) => !view.hidden.has(number));
    const whole = [width + LEFT + RIGHT, height + TOP + BELOW + shown.length * ROW + 12];
    const style = plotDraw.style, out = [];
    const text = (x, y, said, more = "") => out.push(`<text x="${at(x)}" y="${at(y)}" fill="${style("--ink")}" ${more}>${escape(said)}</text>`);
    const path = (points, values) => {
      const pieces = [];
      for (let one = 0; one < points.x.length; one++) {
        if (values[one] !== null) pieces.push(`${at(plot.valToPos(points.x[one], "x"))} ${at(plot.valToPos(values[one], points.scale))}`);
      }
      return pieces;
    };
    out.push(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${whole.join(" ")}" width="${whole[0]}" height="${whole[1]}" font-family="system-ui, sans-serif" font-size="13">`);
    out.push(`<title>${escape(title)}</title><rect width="100%" height="100%" fill="${style("--panel")}"/>`);
    text(LEFT, 32, title, 'font-size="17" font-weight="600"');
    out.push(`<clipPath id="area"><rect width="${width}" height="${height}"/></clipPath><g transform="translate(${LEFT} ${TOP})">`);
    const [low, high] = [plot.scales.y0.min, plot.scales.y0.max];
    for (const value of ticks(low, high, 6)) {
      const y = plot.valToPos(value, "y0");
      out.push(`<path d="M0 ${at(y)}H${width}" stroke="${style("--line")}"/>`);
      text(-8, y + 4, plotData.inUnits(value, view.units[0]).slice(0, 14), 'text-anchor="end" font-size="11"');
    }
    for (const x of ticks(...view.window, 8)) {
      if (!view.byDate && !Number.isInteger(x)) continue;
      text(plot.valToPos(x, "x"), height + 20, view.byDate ? new Date(x * 1000).toISOString().slice(0, 10) : x, 'text-anchor="middle" font-size="11"');
    }
    out.push('<g clip-path="url(#area)" fill="none">');
    for (const { points, number } of shown) drawSeries(out, view, points, plotDraw.lookOf(number), path);
    for (const { x, value, scale, limit, status } of view.alerts()) {
      const way = limit === "upper" ? -1 : 1, left = at(plot.valToPos(x, "x")), top = at(plot.valToPos(value, scale));
      out.push(`<path d="M${left} ${top + way * 8}l-8 ${-way * 13.6}h16z" fill="${status === "active" ? style("--bad") : style("--panel")}" stroke="${style("--bad")}" stroke-width="1.6"><title>alert: ${escape(limit)}, ${escape(status)}</title></path>`);
    }
    out.push("</g></g>");
    shown.forEach(({ number }, row) => {
      const { colour, dash } = plotDraw.lookOf(number), y = TOP + height + BELOW + row * ROW + 8;
      out.push(`<path d="M${LEFT} ${y - 4}h34" stroke="${colour}" stroke-width="2.5" stroke-dasharray="${dash.join(" ")}"/>`);
      text(LEFT + 44, y, labels[number]);
    });
    out.push("</svg>");
    return out.join("\n");
  }

  function drawSeries(out, view, points, { colour, dash }, path) {
    const edges = plotBands.edgesOf(points, view.choice);
    if (edges?.lower && edges.upper) out.push(`<path d="M${[...path(points, edges.upper), ...path(points, edges.lower).reverse()].join("L")}Z" fill="${colour}" fill-opacity="0.13"/>`);
    for (const limit of edges?.limits ?? []) if (limit) out.push(`<path d="M${path(points, limit).join("L")}" stroke="${colour}" stroke-opacity="0.6" stroke-dasharray="4 4"/>`);
    out.push(`<path d="M${path(points, points.value).join("L")}" stroke="${colour}" stroke-width="1.6" stroke-dasharray="${dash.join(" ")}"/>`);
  }

  function png(view, title, labels) {
    const from = view.plot.ctx.canvas, ratio = from.width / view.plot.width;
    const shown = labels.map((label, number) => ({ label, number })).filter(({ number }) => !view.hidden.has(number));
    const canvas = document.createElement("canvas"), ctx = canvas.getContext("2d");
    canvas.width = from.width;
    canvas.height = Math.round(from.height + (54 + shown.length * ROW + 14) * ratio);
    Object.assign(ctx, { fillStyle: plotDraw.style("--panel") });
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    ctx.drawImage(from, 0, 44 * ratio);
    ctx.scale(ratio, ratio);
    Object.assign(ctx, { fillStyle: plotDraw.style("--ink"), font: "600 17px system-ui, sans-serif" });
    ctx.fillText(title, 12, 28, view.plot.width - 24);
    ctx.font = "13px system-ui, sans-serif";
    shown.forEach(({ label, number }, row) => {
      const { colour, dash } = plotDraw.lookOf(number), y = view.plot.height + 62 + row * ROW;
      Object.assign(ctx, { strokeStyle: colour, lineWidth: 2.5 });
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(12, y - 4);
      ctx.lineTo(46, y - 4);
      ctx.stroke();
      ctx.fillText(label, 56, y, view.plot.width - 68);
    });
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  function save(content, name, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  return { svg, png, save };
})();
