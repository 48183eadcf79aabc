// Globe and map by d3-geo: track, night, horizon, contacts and the slots' models at one moment.
const EARTH_M = 6371e3;
const DEGREES = 180 / Math.PI;
const WHOLE_S = 6 * 3600;
const NEAR_S = 9600;
const LOCAL_DEGREES = 8;

function drawSymbol(pen, shape, x, y, size, fill, edge) {
  const s = size;
  pen.beginPath();
  if (shape === "s-circle" || shape === "s-ring") pen.arc(x, y, s, 0, 7);
  else if (shape === "s-square") pen.rect(x - 0.9 * s, y - 0.9 * s, 1.8 * s, 1.8 * s);
  else {
    const corners = {
      "s-triangle": [[0, -1.15], [1.1, 0.9], [-1.1, 0.9]],
      "s-diamond": [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
      "s-down": [[0, 1.15], [1.1, -0.9], [-1.1, -0.9]],
      "s-plus": [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]],
    }[shape];
    corners.forEach(([dx, dy], i) => (i ? pen.lineTo(x + s * dx, y + s * dy) : pen.moveTo(x + s * dx, y + s * dy)));
    pen.closePath();
  }
  if (fill) { pen.fillStyle = fill; pen.fill(); }
  if (edge) { pen.strokeStyle = edge; pen.stroke(); }
}

const inkOf = (css) => colour(css === "m-idle" ? "--idle" : `--${css}`);

// Between two rows of [key, ...values] sorted by key.
function between(keys, key) {
  let low = 0;
  let high = keys.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (keys[middle] <= key) low = middle;
    else high = middle;
  }
  const share = high > low ? Math.min(Math.max((key - keys[low]) / (keys[high] - keys[low]), 0), 1) : 0;
  return [low, high, share];
}

function craftAt(t) {
  const { t: times, lat, lon, lit, altitude_m: altitude } = data.track;
  const [a, b, share] = between(times, t);
  const at = d3.geoInterpolate([lon[a], lat[a]], [lon[b], lat[b]])(share);
  return { at: share ? at : [lon[a], lat[a]], lit: lit[a] === "1", altitude_m: altitude ? altitude[a] + share * (altitude[b] - altitude[a]) : null };
}

function sunAt(t) {
  const [a, b, share] = between(data.sun.map((row) => row[0]), t);
  const [, lat0, lon0] = data.sun[a];
  const [, lat1, lon1] = data.sun[b];
  return [lon0 + share * (lon1 - lon0), lat0 + share * (lat1 - lat0)];
}

function horizonDegrees(altitude_m, mask_deg) {
  const mask = mask_deg / DEGREES;
  return (Math.acos((EARTH_M * Math.cos(mask)) / (EARTH_M + altitude_m)) - mask) * DEGREES;
}

const passAt = (t) => data.passes.findIndex(([, start, end]) => start <= t && t <= end);

function makeGlobe(canvas, land, moved) {
  const pen = canvas.getContext("2d");
  const ball = d3.geoOrthographic().precision(0.5);
  const sheet = d3.geoEquirectangular().precision(0.5);
  const line = { type: "LineString", coordinates: data.track.lon.map((lon, i) => [lon, data.track.lat[i]]) };
  const middle = d3.geoCentroid(line);
  const reach = line.coordinates.reduce((most, at) => Math.max(most, d3.geoDistance(at, middle)), 1e-6) * DEGREES;
  const local = !data.track.altitude_m && reach < LOCAL_DEGREES; // a flight that a globe would show as a dot
  const fine = 10 ** Math.floor(Math.log10(reach)) / 2;
  const graticule = local
    ? d3.geoGraticule().step([fine, fine]).extent([[middle[0] - 4 * reach, middle[1] - 4 * reach], [middle[0] + 4 * reach, middle[1] + 4 * reach]])()
    : d3.geoGraticule10();
  const latitudes = columnOf("latitude_deg");
  const places = columnOf("longitude_deg").map((lon, index) => [lon, latitudes[index]]);
  const models = columnOf("model");
  const numbers = columnOf("slot");
  let flat = false;
  let follow = true;
  let free = [0, 0];
  let size = [0, 0];
  let last = [data.t[0], 0];
  let ink = {};

  function readColours() {
    const names = ["sea", "land", "rule", "strong", "ink", "paper", "quiet", "globe-night", "harvest", "dim", "alarm", "pass", "contact", "globe-sea", "globe-land", "coast"];
    ink = Object.fromEntries(names.map((name) => [name, colour(`--${name}`)]));
    for (const [css] of Object.values(data.looks)) ink[css] = inkOf(css);
  }

  function resize() {
    const { width, height } = canvas.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    if (!width) return;
    size = [width, height];
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const radius = Math.min(width, height) / 2 - 6;
    ball.scale(local ? (0.86 * radius) / Math.sin(reach / DEGREES) : radius).translate([width / 2, height / 2]);
    ball.clipExtent(local ? [[0, 0], [width, height]] : null);
    sheet.fitExtent([[1, 1], [width - 1, height - 1]], local ? line : { type: "Sphere" });
    sheet.clipExtent(local ? [[0, 0], [width, height]] : null);
    draw(...last);
  }

  function draw(t, index) {
    last = [t, index];
    if (!size[0]) return;
    const craft = craftAt(t);
    if (follow && local) free = [-middle[0], -middle[1]];
    else if (follow && !flat) free = [-craft.at[0], -craft.at[1] * 0.75];
    ball.rotate(free);
    const view = flat ? sheet : ball;
    const path = d3.geoPath(view, pen);
    const seen = (point) => flat || d3.geoDistance(point, [-free[0], -free[1]]) < Math.PI / 2 - 0.01;
    const stroke = (shape, style, width, dash = []) => {
      pen.beginPath();
      path(shape);
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.setLineDash(dash);
      pen.stroke();
      pen.setLineDash([]);
    };
    const fill = (shape, style) => {
      pen.beginPath();
      path(shape);
      pen.fillStyle = style;
      pen.fill();
    };
    pen.clearRect(0, 0, ...size);
    pen.lineJoin = pen.lineCap = "round";
    fill({ type: "Sphere" }, ink["globe-sea"]);
    fill(land, ink["globe-land"]);
    stroke(land, ink.coast, 0.6);
    stroke(graticule, ink.rule, 0.5);
    const [sunLon, sunLat] = sunAt(t);
    fill(d3.geoCircle().center([sunLon + 180, -sunLat]).radius(90)(), ink["globe-night"]);
    stroke({ type: "Sphere" }, ink.strong, 1);
    drawStations(t, craft, { stroke, fill, view, seen });
    drawTrack(t, stroke);
    drawSlots(t, index, view, seen);
    drawScenes(index, view, seen);
    drawCraft(index, craft, { stroke, view, seen });
  }

  function drawTrack(t, stroke) {
    const { t: times, lat, lon, lit } = data.track;
    const short = endOf() - data.t[0] <= WHOLE_S;
    const first = short ? 0 : between(times, t - NEAR_S)[0];
    const end = short ? times.length - 1 : between(times, t + NEAR_S)[1];
    for (let a = first; a < end; ) {
      const past = times[a] <= t;
      let b = a;
      while (b < end && lit[b] === lit[a] && times[b] <= t === past) b += 1;
      const line = { type: "LineString", coordinates: [] };
      for (let i = a; i <= b; i += 1) line.coordinates.push([lon[i], lat[i]]);
      const sunny = lit[a] === "1";
      stroke(line, sunny ? ink.harvest : ink.dim, past ? 2.4 : 1.1, sunny ? [] : [2, 4]);
      a = b;
    }
  }

  function drawStations(t, craft, { stroke, fill, view, seen }) {
    const active = passAt(t) < 0 ? null : data.passes[passAt(t)][0];
    for (const [name, latitude, longitude, mask] of data.stations) {
      const at = [longitude, latitude];
      const busy = name === active;
      if (craft.altitude_m) {
        const ring = d3.geoCircle().center(at).radius(horizonDegrees(craft.altitude_m, mask))();
        if (busy) fill(ring, ink.contact);
        stroke(ring, busy ? ink.pass : ink.strong, busy ? 2 : 0.8, busy ? [] : [1, 3]);
      }
      if (busy) stroke({ type: "LineString", coordinates: [at, craft.at] }, ink.pass, 2.6);
      if (!seen(at)) continue;
      const [x, y] = view(at);
      pen.lineWidth = 1;
      drawSymbol(pen, "s-triangle", x, y, 5.4, ink.alarm, ink.paper);
      const left = x > size[0] - 90;
      pen.textAlign = left ? "right" : "left";
      label(name, x + (left ? -9 : 9), y + 4, 600);
    }
  }

  function label(text, x, y, weight) {
    pen.font = `${weight} 12px system-ui, sans-serif`;
    pen.strokeStyle = ink["globe-sea"];
    pen.lineWidth = 3;
    pen.strokeText(text, x, y);
    pen.fillStyle = ink.ink;
    pen.fillText(text, x, y);
  }

  function drawSlots(t, index, view, seen) {
    const short = endOf() - data.t[0] <= WHOLE_S;
    const small = size[0] < 420 ? 0.8 : 1;
    places.forEach((at, i) => {
      if (at[0] == null || (!short && Math.abs(data.t[i] - t) > NEAR_S) || !seen(at)) return;
      const [css, shape] = data.looks[models[i]];
      const idle = css === "m-idle";
      const [x, y] = view(at);
      pen.globalAlpha = i <= index ? 1 : 0.28;
      pen.lineWidth = 1;
      if (i !== index) drawSymbol(pen, shape, x, y, (idle ? 2.1 : 4.2) * small, idle ? ink.paper : ink[css], idle ? ink[css] : ink.paper);
    });
    pen.globalAlpha = 1;
  }

  // Where this slot's answers lie.
  function drawScenes(index, view, seen) {
    const drawn = new Set();
    for (const i of foundIn(numbers[index])) {
      const at = data.found.at[i];
      const key = at && `${at[0].toFixed(1)} ${at[1].toFixed(1)}`;
      if (!at || drawn.has(key) || !seen(at)) continue;
      drawn.add(key);
      const [x, y] = view(at);
      pen.strokeStyle = ink.ink;
      pen.lineWidth = 1.6;
      pen.strokeRect(x - 5, y - 5, 10, 10);
    }
  }

  function drawCraft(index, craft, { stroke, view, seen }) {
    if (craft.altitude_m) {
      const ring = d3.geoCircle().center(craft.at).radius(horizonDegrees(craft.altitude_m, 0))();
      stroke(ring, ink.ink, 1.4, [6, 4]);
    }
    if (!seen(craft.at)) return;
    const [x, y] = view(craft.at);
    pen.beginPath();
    pen.arc(x, y, 10.5, 0, 7);
    pen.globalAlpha = 0.75;
    pen.fillStyle = ink.paper;
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = ink.ink;
    pen.lineWidth = 2.2;
    pen.stroke();
    const [css, shape] = data.looks[models[index]];
    pen.lineWidth = 1.2;
    drawSymbol(pen, shape, x, y, 5.2, css === "m-idle" ? ink.paper : ink[css], css === "m-idle" ? ink[css] : null);
  }

  let grip = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (flat) return;
    grip = [event.clientX, event.clientY, ...free];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const degrees = DEGREES / ball.scale();
    free = [grip[2] + (event.clientX - grip[0]) * degrees, Math.min(Math.max(grip[3] - (event.clientY - grip[1]) * degrees, -90), 90)];
    if (follow) moved();
    follow = false;
    draw(...last);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (grip = null));

  const watcher = new ResizeObserver(resize);
  readColours();
  watcher.observe(canvas);
  return {
    draw,
    view(asMap, following) {
      flat = asMap;
      follow = following;
      canvas.classList.toggle("flat", flat);
      draw(...last);
    },
    recolour() {
      readColours();
      draw(...last);
    },
    stop: () => watcher.disconnect(),
  };
}
