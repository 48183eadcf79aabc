// The time charts by uPlot: one time axis for all, dragged to zoom, clicked to go there.
const HATCH_PX = 5;

function hatch(ground, line) {
  const cell = document.createElement("canvas");
  const scale = window.devicePixelRatio || 1;
  cell.width = cell.height = HATCH_PX * scale;
  const pen = cell.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = ground;
  pen.fillRect(0, 0, HATCH_PX, HATCH_PX);
  pen.strokeStyle = line;
  pen.lineWidth = 1.4;
  for (const at of [-HATCH_PX, 0, HATCH_PX]) {
    pen.moveTo(at, 0);
    pen.lineTo(at + HATCH_PX, HATCH_PX);
  }
  pen.stroke();
  return pen.createPattern(cell, "repeat");
}

function makeCharts(seek) {
  const low = data.t[0];
  const high = endOf();
  const times = [...data.t, high];
  const step = uPlot.paths.stepped({ align: 1 });
  const bar = uPlot.paths.bars({ size: [0.86, Infinity], align: 1, gap: 0 });
  const add = (a, b) => a.map((value, i) => (value == null ? null : value + (b[i] ?? 0)));
  const held = (values) => [...values, values[values.length - 1]];
  const ended = (values) => [...values, null];
  const most = (values) => values.reduce((top, value) => Math.max(top, value ?? 0), 0);
  const charge = columnOf("charge_frac").map((value) => (value == null ? null : 100 * value));
  const drawn = columnOf("energy_j");
  const budget = columnOf("budget_j").map((value) => (value == null ? null : Math.max(value, 0)));
  const harvest = columnOf("harvest_j");
  const load = columnOf("load_j");
  const done = columnOf("admitted_tile");
  const byLogarithm = Math.max(most(harvest), most(budget)) > 20 * most(drawn) && most(drawn) > 0;
  const positive = (values) => values.map((value) => (value > 0 ? value : null));
  const line = (name, width, dash) => ({ stroke: () => colour(name), width, dash, points: { show: false } });
  const bars = (fill, edge) => ({ fill, stroke: edge ?? fill, width: 0, paths: bar, points: { show: false } });
  const steps = (name, width, dash) => ({ ...line(name, width, dash), paths: step });
  const plain = (name) => () => colour(name);
  let shedHatch;

  const kinds = {
    lanes: () => ({ series: [{ paths: () => null, points: { show: false } }], columns: [ended(columnOf("slot"))], range: [0, 1], lanes: true }),
    battery: () => ({ series: [line("--blue", 2.2)], columns: [ended(charge)], unit: "%", rule: data.reserve == null ? null : 100 * data.reserve, cap: 100 }),
    joules: () =>
      byLogarithm
        ? {
            series: [steps("--strong", 1.8, [9, 3]), steps("--blue", 3), steps("--harvest", 2), steps("--ink", 1.6, [2, 3])],
            columns: [load, drawn, harvest, budget].map((values) => held(positive(values))),
            log: 0.01 * most(drawn),
          }
        : {
            series: [bars(plain("--bus")), bars(plain("--blue")), steps("--harvest", 2), steps("--ink", 1.6, [2, 3])],
            columns: [ended(add(drawn, load)), ended(drawn), held(harvest), held(budget)],
            zero: true,
          },
    tiles: () => ({
      series: [bars(() => shedHatch, plain("--shed")), bars(plain("--blue")), steps("--ink", 1.4), steps("--quiet", 1.6, [3, 3])],
      columns: [ended(add(done, columnOf("shed_tile"))), ended(done), held(columnOf("arrived_tile")), held(columnOf("queued_tile"))],
      zero: true,
    }),
    heat: () => ({ series: [line("--m4", 2.2)], columns: [ended(columnOf("temperature_c"))], unit: "°C", rule: data.limit_c }),
    products: () => ({
      series: [bars(plain("--blue")), steps("--ink", 1.5, [6, 3])],
      columns: [ended(columnOf("sent_product")), held(columnOf("backlog_product"))],
      zero: true,
    }),
  };

  const charts = [];
  let busy = false;
  let marked = [0, low];

  function shade(u) {
    const { ctx, bbox } = u;
    ctx.save(); // uPlot remembers what it set last
    const strip = ([from, to], style) => {
      const left = Math.max(u.valToPos(from, "x", true), bbox.left);
      const right = Math.min(u.valToPos(to, "x", true), bbox.left + bbox.width);
      ctx.fillStyle = style;
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    };
    ctx.fillStyle = colour("--sea");
    ctx.fillRect(bbox.left, bbox.top, bbox.width, bbox.height);
    for (const night of data.nights) strip(night, colour("--night"));
    for (const [, from, to] of data.passes) strip([from, to], colour("--contact"));
    ctx.restore();
  }

  function level(u, value) {
    const { ctx, bbox } = u;
    const y = u.valToPos(value, "y", true);
    ctx.save();
    ctx.strokeStyle = colour("--alarm");
    ctx.lineWidth = 1.8 * devicePixelRatio;
    ctx.setLineDash([7 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  // The lanes of the printed drawing, with its words, on the zoomed axis.
  function lanes(u, words) {
    const { ctx, bbox } = u;
    const px = devicePixelRatio;
    const tall = bbox.height / words.length;
    const names = Object.keys(data.looks);
    const cell = (row, from, to, style, edge) => {
      const left = Math.max(u.valToPos(from, "x", true), bbox.left);
      const right = Math.min(u.valToPos(to, "x", true), bbox.left + bbox.width);
      if (right <= left) return;
      ctx.fillStyle = style;
      ctx.fillRect(left, bbox.top + row * tall + 17 * px, Math.max(right - left, 1), 14 * px);
      if (!edge) return;
      ctx.strokeStyle = edge;
      ctx.strokeRect(left, bbox.top + row * tall + 17 * px, right - left, 14 * px);
    };
    ctx.save();
    ctx.lineWidth = 1.5 * px;
    ctx.globalAlpha = 0.45;
    words.forEach((_, row) => cell(row, low, high, colour("--rule")));
    ctx.globalAlpha = 1;
    cell(0, low, high, colour("--sun"));
    for (const [from, to] of data.nights) cell(0, from, to, colour("--dusk"));
    const pass = hatch(colour("--pass-ground"), colour("--pass"));
    data.passes.forEach(([, from, to]) => cell(1, from, to, pass, colour("--pass")));
    const models = columnOf("model");
    const overruled = columnOf("overruled");
    const gap = data.t.length > 400 ? 0 : 0.04;
    const inks = Object.fromEntries(names.map((name) => [name, inkOf(data.looks[name][0])]));
    data.t.forEach((t, i) => {
      cell(2 + names.indexOf(models[i]), t + gap * data.slot_s, t + (1 - gap) * data.slot_s, inks[models[i]]);
      if (!overruled[i]) return;
      const x = u.valToPos(t + data.slot_s / 2, "x", true);
      if (x >= bbox.left && x <= bbox.left + bbox.width) drawSymbol(ctx, "s-down", x, bbox.top + (words.length - 1) * tall + 24 * px, 4.6 * px, colour("--alarm"));
    });
    const note = (text, x, y, weight, style) => {
      ctx.font = `${weight} ${12.5 * px}px system-ui, sans-serif`;
      ctx.fillStyle = style;
      ctx.fillText(text, x, y);
      return ctx.measureText(text).width;
    };
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    words.forEach(([name, more], row) => {
      const y = bbox.top + row * tall + 12 * px;
      const look = data.looks[name];
      ctx.lineWidth = px;
      if (look) drawSymbol(ctx, look[1], bbox.left + 6 * px, y - 4 * px, 4.2 * px, look[0] === "m-idle" ? colour("--paper") : inkOf(look[0]), look[0] === "m-idle" ? inkOf(look[0]) : null);
      const x = bbox.left + (look ? 17 : 0) * px;
      const wide = note(name, x, y, 550, colour("--ink"));
      note(more, x + wide + 8 * px, y, 400, colour("--quiet"));
    });
    ctx.textAlign = "center";
    data.passes.forEach(([, from, to], number) => {
      const x = u.valToPos((from + to) / 2, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width || data.passes.length > 60) return;
      ctx.font = `700 ${12 * px}px system-ui, sans-serif`;
      ctx.lineWidth = 3.5 * px;
      ctx.strokeStyle = colour("--paper");
      ctx.lineJoin = "round";
      ctx.strokeText(number + 1, x, bbox.top + tall + 28.5 * px);
      ctx.fillStyle = colour("--ink");
      ctx.fillText(number + 1, x, bbox.top + tall + 28.5 * px);
    });
    ctx.restore();
  }

  const short = (value) => {
    const [factor, prefix] = PREFIXES.slice(0, 3).find(([least]) => Math.abs(value) >= least) ?? [1, ""];
    return `${+(value / factor).toPrecision(4)}${prefix}`;
  };
  function hours(u, splits) {
    const wide = u.scales.x.max - u.scales.x.min;
    if (wide < 130_000) return splits.map((t) => clock(t, wide < 600));
    const whole = splits.every((t) => t % 86400 === 0);
    return splits.map((t) => (whole ? day(t) : `${day(t)} ${clock(t)}`));
  }

  function vertical(kind) {
    if (kind.range) return { range: kind.range };
    if (kind.log) return { distr: 3, range: (u, min, max) => [10 ** Math.floor(Math.log10(kind.log)), 10 ** Math.ceil(Math.log10(max ?? 10))] };
    return {
      range(u, min, max) {
        if (min == null) return [0, 1];
        const bottom = kind.zero ? Math.min(0, min) : Math.min(min, kind.rule ?? min);
        const top = Math.max(max, kind.zero ? 0 : kind.rule ?? max) || (kind.zero ? 1 : 0);
        const room = 0.06 * (top - bottom || 1);
        return [kind.zero ? bottom : bottom - room, Math.min(top + room, kind.cap == null ? Infinity : kind.cap + room)];
      },
    };
  }

  function build(holder) {
    const kind = kinds[holder.dataset.chart]();
    const words = kind.lanes && all(".lane-name", holder.parentNode).map((text) => [text.firstChild.textContent, all("tspan", text).map((part) => part.textContent).join("")]);
    const axis = { stroke: colour("--quiet"), font: "12px system-ui, sans-serif", ticks: { show: false } };
    const options = {
      width: Math.max(holder.clientWidth, 120),
      height: Number(holder.dataset.height) + (kind.lanes || holder.dataset.chart === "products" ? 24 : 0),
      padding: [5, 0, 5, 0],
      legend: { show: false },
      tzDate: (t) => uPlot.tzDate(new Date(1000 * t), "Etc/UTC"),
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false }, sync: { key: "flight", setSeries: false } },
      scales: { x: { time: true, range: (u, min, max) => [Math.max(min, low), Math.min(max, high)] }, y: vertical(kind) },
      axes: [
        { ...axis, show: Boolean(kind.lanes) || holder.dataset.chart === "products", side: kind.lanes ? 0 : 2, size: 24, gap: 3, space: 70, grid: { show: false }, values: hours },
        { ...axis, show: true, size: holder.clientWidth < 500 ? 40 : 44, gap: 3, space: Number(holder.dataset.height) < 90 ? 18 : 24, grid: { show: !kind.lanes, stroke: colour("--rule"), width: 1 }, values: (u, splits) => splits.map((v) => (kind.lanes || v == null ? "" : short(v) + (kind.unit ?? ""))) },
      ],
      series: [{}, ...kind.series],
      hooks: {
        drawClear: [shade],
        draw: [(u) => (kind.lanes ? lanes(u, words) : kind.rule != null && level(u, kind.rule))],
        setScale: [(u, key) => key === "x" && together(u)],
      },
    };
    const u = new uPlot(options, [times, ...kind.columns], holder);
    const now = element("div", "now-slot");
    u.over.append(now);
    let from = null;
    u.over.addEventListener("pointerdown", (event) => (from = event.clientX));
    u.over.addEventListener("pointerup", (event) => {
      if (from != null && Math.abs(event.clientX - from) < 4) seek(u.posToVal(event.clientX - u.over.getBoundingClientRect().left, "x"));
      from = null;
    });
    return { u, now, holder };
  }

  function together(from) {
    if (busy) return;
    busy = true;
    const { min, max } = from.scales.x;
    for (const { u } of charts) if (u !== from) u.setScale("x", { min, max });
    busy = false;
    byId("whole").hidden = min <= low && max >= high;
    mark(...marked);
  }

  function mark(index, t) {
    marked = [index, t];
    for (const { u, now } of charts) {
      const left = u.valToPos(data.t[index], "x");
      const right = u.valToPos(data.t[index] + data.slot_s, "x");
      const wide = u.over.clientWidth;
      now.hidden = right < 0 || left > wide;
      now.style.left = `${Math.max(left, 0)}px`;
      now.style.width = `${Math.max(Math.min(right, wide) - Math.max(left, 0), 2)}px`;
    }
  }

  function zoom(factor) {
    const { min, max } = charts[0].u.scales.x;
    const wide = Math.min(Math.max((max - min) * factor, 2 * data.slot_s), high - low);
    const from = Math.min(Math.max(marked[1] - wide / 2, low), high - wide);
    charts[0].u.setScale("x", { min: from, max: from + wide });
  }

  function keepInView(t) {
    const { min, max } = charts[0].u.scales.x;
    if (t >= min && t <= max) return;
    const from = Math.min(Math.max(t - (max - min) / 2, low), high - (max - min));
    charts[0].u.setScale("x", { min: from, max: from + max - min });
  }

  function buildAll() {
    shedHatch = hatch(colour("--shed-ground"), colour("--shed"));
    for (const holder of all("[data-chart]")) charts.push(build(holder));
  }

  buildAll();
  const watcher = new ResizeObserver(() => {
    for (const { u, holder } of charts) if (holder.clientWidth && holder.clientWidth !== u.width) u.setSize({ width: holder.clientWidth, height: u.height });
    mark(...marked);
  });
  watcher.observe(charts[0].holder);
  return {
    mark,
    zoom,
    keepInView,
    whole: () => charts[0].u.setScale("x", { min: low, max: high }),
    range: () => [charts[0].u.scales.x.min, charts[0].u.scales.x.max],
    recolour() {
      const { min, max } = charts[0].u.scales.x;
      for (const { u } of charts.splice(0)) u.destroy();
      buildAll();
      charts[0].u.setScale("x", { min, max });
      mark(...marked);
    },
    stop() {
      watcher.disconnect();
      for (const { u } of charts.splice(0)) u.destroy();
    },
  };
}
