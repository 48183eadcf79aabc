// The flight as the page holds it, and numbers as a reader wants them: the same rules as words.py.
const byId = (id) => document.getElementById(id);
const all = (query, root = document) => [...root.querySelectorAll(query)];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const NONE = "–";
const SPACE = "\u00a0";
const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"]];
const two = (number) => String(number).padStart(2, "0");

let data;

function element(tag, css = "", text = "") {
  const made = document.createElement(tag);
  if (css) made.className = css;
  if (text) made.textContent = text;
  return made;
}

const count = (x) => (x == null ? NONE : Math.round(x).toLocaleString("en-US"));
const percent = (x, digits = 1) => (x == null ? NONE : `${(100 * x).toFixed(digits)}${SPACE}%`);

function figure(x) {
  if (x == null) return NONE;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 100) return count(x);
  if (size < 1e-4) return x.toExponential(2);
  return x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
}

function si(x, unit) {
  if (x == null) return NONE;
  const [factor, prefix] = PREFIXES.find(([least]) => Math.abs(x) >= least * 0.9995) ?? [1, ""];
  return `${figure(x / factor)}${SPACE}${prefix}${unit}`;
}

function clock(unix_s, seconds = false) {
  const moment = new Date(1000 * unix_s);
  const minutes = `${two(moment.getUTCHours())}:${two(moment.getUTCMinutes())}`;
  return seconds ? `${minutes}:${two(moment.getUTCSeconds())}` : minutes;
}

function day(unix_s) {
  const moment = new Date(1000 * unix_s);
  return `${two(moment.getUTCMonth() + 1)}-${two(moment.getUTCDate())}`;
}

function span(duration_s) {
  if (duration_s < 90) return `${Math.round(duration_s)} s`;
  const minutes = Math.round(duration_s / 60);
  if (minutes >= 2880) return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function place(latitude, longitude) {
  if (latitude == null || longitude == null) return NONE;
  const east = ((((longitude + 180) % 360) + 360) % 360) - 180;
  return `${Math.abs(latitude).toFixed(1)}° ${latitude < 0 ? "S" : "N"} ${Math.abs(east).toFixed(1)}° ${east < 0 ? "W" : "E"}`;
}

const endOf = () => data.t[data.t.length - 1] + data.slot_s;

// One slot as an object; a column of one entry holds for every slot.
function slotAt(index) {
  const slot = {};
  for (const [name, column] of Object.entries(data.slots)) slot[name] = column.length === 1 ? column[0] : column[index];
  return slot;
}

const columnOf = (name) => data.t.map((_, index) => (data.slots[name].length === 1 ? data.slots[name][0] : data.slots[name][index]));

function indexAt(t) {
  let low = 0;
  let high = data.t.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.t[middle] <= t) low = middle;
    else high = middle - 1;
  }
  return low;
}

function wordsOf(index) {
  const slot = slotAt(index);
  const start = data.t[index];
  const fine = start % 60 !== 0 || data.slot_s % 60 !== 0;
  const before = slot.queued_tile ? ` (${count(slot.queued_tile)} from before)` : "";
  const scored = slot.scored_sampled ? ` (${slot.correct_sampled} of ${slot.scored_sampled})` : "";
  return {
    slot: `Slot ${slot.slot}`,
    time: `${data.t[data.t.length - 1] - data.t[0] > 86400 ? `${day(start)} ` : ""}${clock(start, fine)}–${clock(start + data.slot_s, fine)} UTC`,
    model: slot.model,
    gist: `${count(slot.admitted_tile)} tiles, ${si(slot.energy_j, "J")}`,
    reason: slot.reason,
    overruled: slot.overruled,
    otherwise: slot.counterfactual,
    below: [slot.cover, data.track ? place(slot.latitude_deg, slot.longitude_deg) : ""].filter(Boolean).join(", "),
    sun: percent(slot.sunlit_frac, 0),
    battery: percent(slot.charge_frac),
    budget: si(slot.budget_j, "J"),
    harvest: si(slot.harvest_j, "J"),
    load: si(slot.load_j, "J"),
    heat: slot.temperature_c == null ? NONE : `${slot.temperature_c.toFixed(1)} °C`,
    waiting: count(slot.arrived_tile + slot.queued_tile) + before,
    done: `${count(slot.admitted_tile)} (${count(slot.sampled_tile)} inferred)`,
    shed: count(slot.shed_tile),
    limited: slot.limited_by,
    accuracy: percent(slot.accuracy_frac) + scored,
    expected: percent(slot.expected_accuracy_frac),
    energy: `${si(slot.energy_j, "J")} ${slot.energy_kind}`,
    drawn: si(slot.energy_j, "J"),
    reward: figure(slot.reward),
    contact: slot.pass_s > 0 ? span(slot.pass_s) : "none",
    sent: `${count(slot.sent_product)} products, ${si(slot.sent_byte, "B")}`,
    backlog: `${count(slot.backlog_product)} products`,
    tiles: count(slot.arrived_tile + slot.queued_tile),
  };
}
