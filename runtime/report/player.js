// The moment that every part of the page shows: moved by slider, keys, clicks, or by itself.
let stage = null;

function startStage(state = {}) {
  data = JSON.parse(byId("stage-data")?.textContent ?? "null");
  if (!data?.t.length) return null;
  sortOut();
  const slider = byId("slider");
  const fields = all("[data-field]");
  const symbols = all("use[data-slot]");
  const lines = all(".decisions tbody tr");
  const numbers = columnOf("slot");
  const queued = columnOf("queued_tile");
  const fullest = columnOf("arrived_tile").reduce((most, n, i) => Math.max(most, n + queued[i]), 1);
  let now = -1;
  let moment = data.t[0];
  let playing = 0;

  const globe = byId("globe") && data.track ? makeGlobe(byId("globe"), JSON.parse(byId("land-data").textContent), () => (byId("follow").checked = false)) : null;
  const charts = makeCharts((t) => { pause(); seek(t); });
  const found = makeFound((index) => index >= 0 && go(index));

  // Show a moment; everything that only changes with the slot is left alone within one.
  function seek(t) {
    moment = Math.min(Math.max(t, data.t[0]), endOf() - 1e-3);
    const index = indexAt(moment);
    if (index !== now) turn(index);
    globe?.draw(moment, index);
    charts.mark(index, moment);
    found.show(index, moment);
    byId("moment").textContent = `${clock(moment, true)} UTC`;
  }

  // A slot is shown at its middle, or in the middle of its contact.
  const go = (index) => {
    const at = Math.min(Math.max(index, 0), data.t.length - 1);
    const [from, to] = [data.t[at], data.t[at] + data.slot_s];
    const pass = data.passes.find(([, start, end]) => start < to && end > from);
    seek(pass ? (Math.max(pass[1], from) + Math.min(pass[2], to)) / 2 : (from + to) / 2);
    charts.keepInView(moment);
  };

  function turn(index) {
    now = index;
    const slot = slotAt(index);
    const words = wordsOf(index);
    const [css, shape] = data.looks[slot.model];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `${words.slot}, ${words.time}, ${words.model}`);
    for (const field of fields) {
      const text = words[field.dataset.field] ?? "";
      field.textContent = text && (field.dataset.lead ?? "") + text;
    }
    byId("chosen-mark").setAttribute("href", `#${shape}`);
    byId("chosen-mark").setAttribute("class", `${css} mark`);
    gauges(slot);
    for (const symbol of symbols) symbol.classList.toggle("now", Number(symbol.dataset.slot) === index);
    lines.forEach((line) => line.classList.toggle("now", line.querySelector("a")?.dataset.slot === String(index)));
  }

  function gauges(slot) {
    const wide = (name, share) => (byId(`gauge-${name}`).style.width = `${100 * Math.min(Math.max(share ?? 0, 0), 1)}%`);
    wide("battery", slot.charge_frac);
    wide("joules", slot.energy_j / Math.max(slot.budget_j ?? 0, slot.energy_j ?? 0, 1e-9));
    wide("heat", (slot.temperature_c ?? 0) / (data.limit_c ?? 100));
    wide("queue", (slot.arrived_tile + slot.queued_tile) / fullest);
    if (data.reserve != null) byId("reserve-tick").style.left = `${100 * data.reserve}%`;
  }

  function play() {
    if (moment >= endOf() - 1) seek(data.t[0]);
    let before = performance.now();
    const pace = () => (endOf() - data.t[0]) / Number(byId("speed").value);
    const tick = (time) => {
      const t = moment + ((time - before) / 1000) * pace();
      before = time;
      seek(t);
      charts.keepInView(moment);
      if (t >= endOf()) return pause();
      playing = requestAnimationFrame(tick);
    };
    playing = requestAnimationFrame(tick);
    byId("play").textContent = "❚❚";
    byId("play").setAttribute("aria-label", "Pause");
  }

  function pause() {
    cancelAnimationFrame(playing);
    playing = 0;
    byId("play").textContent = "▶";
    byId("play").setAttribute("aria-label", "Play");
  }

  const step = (by) => { pause(); go(now + by); };

  function toPass(by) {
    const starts = data.passes.map(([, start, end]) => (start + end) / 2);
    const t = by > 0 ? starts.find((start) => start > moment + 1) : starts.findLast((start) => start < moment - 1);
    if (t != null) { pause(); seek(t); charts.keepInView(t); }
  }

  const setView = () => {
    const flat = document.querySelector("input[name=view]:checked")?.value === "map";
    byId("stage").classList.toggle("flat", flat);
    globe?.view(flat, byId("follow").checked);
  };

  slider.addEventListener("input", () => { pause(); go(Number(slider.value)); });
  byId("before").addEventListener("click", () => step(-1));
  byId("after").addEventListener("click", () => step(1));
  byId("play").addEventListener("click", () => (playing ? pause() : play()));
  byId("more").addEventListener("click", () => {
    const open = byId("inspector").classList.toggle("open");
    byId("more").setAttribute("aria-expanded", String(open));
    byId("more").textContent = open ? "Close" : "Details";
  });
  byId("nearer").addEventListener("click", () => charts.zoom(0.5));
  byId("farther").addEventListener("click", () => charts.zoom(2));
  byId("whole").addEventListener("click", charts.whole);
  byId("follow")?.addEventListener("change", setView);
  for (const choice of all("input[name=view]")) choice.addEventListener("change", setView);
  for (const item of all("#passes button")) item.addEventListener("click", () => { pause(); const [, start, end] = data.passes[Number(item.parentNode.dataset.pass)]; seek((start + end) / 2); charts.keepInView(moment); });
  for (const symbol of symbols) symbol.addEventListener("click", () => { pause(); go(Number(symbol.dataset.slot)); });
  for (const link of all("a[data-slot]")) link.addEventListener("click", () => { pause(); go(Number(link.dataset.slot)); });

  const keys = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    Home: () => step(-Infinity),
    End: () => step(Infinity),
    " ": () => (playing ? pause() : play()),
    n: () => toPass(1),
    p: () => toPass(-1),
    m: () => { const other = document.querySelector("input[name=view]:not(:checked)"); if (other) { other.checked = true; setView(); } },
    "+": () => charts.zoom(0.5),
    "-": () => charts.zoom(2),
    0: () => charts.whole(),
  };

  // Without a wish the page opens on the slot whose answers are worth most, the first of equal ones: open sea shows little.
  function worthMost() {
    const networks = columnOf("model");
    const worth = columnOf("reward").map((reward, i) => (networks[i] === "idle" ? -Infinity : reward ?? 0));
    return worth.reduce((best, reward, i) => (reward > worth[best] ? i : best), 0);
  }

  document.documentElement.classList.add("live");
  const wanted = state.number == null ? /^#slot=(\d+)$/.exec(location.hash)?.[1] : state.number;
  const first = wanted == null ? worthMost() : Math.max(numbers.indexOf(Number(wanted)), 0);
  go(state.last ? data.t.length - 1 : first);
  return {
    key(name) {
      if (!keys[name]) return false;
      keys[name]();
      return true;
    },
    at: () => ({ number: numbers[now], last: now === data.t.length - 1 }),
    range: charts.range,
    go,
    numbers,
    recolour() {
      globe?.recolour();
      charts.recolour();
      found.show(now, moment);
    },
    stop() {
      pause();
      globe?.stop();
      charts.stop();
    },
  };
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (!stage || event.altKey || event.ctrlKey || event.metaKey) return;
  if (target.closest("select, pre, .scroll, .reel") || (target.closest("input") && target.type !== "checkbox" && key.startsWith("Arrow"))) return;
  if (key === " " && target.closest("button, input, summary, a")) return;
  if (stage.key(key)) event.preventDefault();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => stage?.recolour());
window.addEventListener("hashchange", () => {
  const wanted = /^#slot=(\d+)$/.exec(location.hash)?.[1];
  const index = stage?.numbers.indexOf(Number(wanted)) ?? -1;
  if (wanted != null && index >= 0) stage.go(index);
});
window.addEventListener("beforeprint", () => all("details:not(.licences)").forEach((part) => (part.open = true)));
stage = startStage();
