// The answers of one slot as chips, what went down and what stayed, and the scenes with their tiles.
const REEL_MAX = 40;
const CHIP_PX = 64;
const PASSES_SHOWN = 12;
const PASSES_BEFORE = 3;

let bySlot;
let bySent;

const foundIn = (number) => bySlot.get(number) ?? [];

function sortOut() {
  bySlot = new Map();
  bySent = new Map();
  const put = (map, key, value) => map.get(key)?.push(value) ?? map.set(key, [value]);
  data.found.slot.forEach((slot, i) => put(bySlot, slot, i));
  data.found.sent.forEach((slot, i) => slot != null && put(bySent, slot, i));
  const { value, score } = data.found;
  for (const map of [bySlot, bySent]) for (const list of map.values()) list.sort((a, b) => value[b] - value[a] || score[b] - score[a]);
}

function makeFound(go) {
  const pictures = data.scenes.map(([, , , has], number) => {
    const href = has && byId(`scene-${number}`)?.getAttribute("href");
    if (!href) return null;
    const picture = new Image();
    picture.src = href;
    return picture;
  });
  const tiles = all(".answers .tile").map((node) => ({ node, slots: node.dataset.slots.split(" ").map(Number) }));
  const numbers = columnOf("slot");
  const passes = all("#passes li");
  let shown = [null, null, null];

  function chip(i) {
    const { label, truth, score, value, scene, at, slot, sent, home, kind } = data.found;
    const what = data.kinds[kind[i]];
    const [name, code, css] = data.labels[label[i]];
    const wrong = truth[i] >= 0 && truth[i] !== label[i];
    const item = element("li", wrong ? "wrong" : "");
    const canvas = element("canvas");
    canvas.width = canvas.height = CHIP_PX;
    paint(canvas, i, css, code);
    const words = element("span", "chip-name");
    words.append(element("span", `code ${css}`, code), ` ${name}`);
    const fate = sent[i] == null ? "aboard" : home[i] === "1" ? `down in slot ${sent[i]}` : `sent in slot ${sent[i]}`;
    const verdict = truth[i] < 0 ? "" : wrong ? `✕ truly ${data.labels[truth[i]][0]}` : "✓";
    item.append(canvas, words, element("small", "", `${score[i].toFixed(2)} ${verdict}`));
    if (what !== "label of a tile" && what !== name) item.append(element("small", "quiet", what));
    item.title = `${what === name ? name : `${what}: ${name}`}, score ${score[i].toFixed(2)}, worth ${figure(value[i])}${truth[i] < 0 ? "" : wrong ? `, in truth ${data.labels[truth[i]][0]}` : ", right"} · slot ${slot[i]} · ${fate}${at[i] ? ` · ${place(at[i][1], at[i][0])}` : ""} · ${data.scenes[scene[i]][0]}`;
    return item;
  }

  function paint(canvas, i, css, code) {
    const picture = pictures[data.found.scene[i]];
    const [, wide] = data.scenes[data.found.scene[i]];
    const box = data.found.box[i];
    const pen = canvas.getContext("2d");
    if (!picture || !box || !wide) {
      canvas.className = `blank ${css}`;
      pen.font = "600 22px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.fillStyle = colour("--quiet");
      pen.fillText(code, CHIP_PX / 2, CHIP_PX / 2 + 8);
      return;
    }
    const draw = () => {
      const scale = picture.naturalWidth / wide;
      const [row, col, edge] = box;
      pen.drawImage(picture, col * scale, row * scale, edge * scale, edge * scale, 0, 0, CHIP_PX, CHIP_PX);
    };
    if (picture.complete && picture.naturalWidth) draw();
    else picture.addEventListener("load", draw, { once: true });
  }

  function reel(holder, list, words) {
    const wrong = list.filter((i) => data.found.truth[i] >= 0 && data.found.truth[i] !== data.found.label[i]).length;
    byId(`${holder}-count`).textContent = words(list.length, wrong);
    const items = list.slice(0, REEL_MAX).map(chip);
    if (list.length > REEL_MAX) items.push(element("li", "more quiet", `and ${count(list.length - REEL_MAX)} more`));
    byId(holder).replaceChildren(...items);
    byId(holder).scrollLeft = 0;
  }

  // Sent up to and with this slot, and not.
  function tally(number) {
    let home = 0;
    let aboard = 0;
    const { slot, sent } = data.found;
    for (let i = 0; i < slot.length; i += 1) {
      if (slot[i] > number) continue;
      if (sent[i] != null && sent[i] <= number) home += 1;
      else aboard += 1;
    }
    return [home, aboard];
  }

  function waiting(number) {
    const { slot, sent, value } = data.found;
    const list = [];
    for (let i = 0; i < slot.length; i += 1) if (slot[i] <= number && (sent[i] == null || sent[i] > number)) list.push(i);
    return list.sort((a, b) => value[b] - value[a]);
  }

  function show(index, t) {
    const number = numbers[index];
    if (shown[0] !== index) {
      shown = [index];
      const slot = slotAt(index);
      reel("reel", foundIn(number), (n, wrong) => (n ? `${count(n)} answers${slot.scored_sampled ? `, ${wrong} wrong` : ""}` : slot.model === "idle" ? "idle: nothing was looked at" : "nothing"));
      const down = bySent.get(number) ?? [];
      reel("down", down, (n) => (n ? `${count(n)} products, ${si(slot.sent_byte, "B")}` : slot.sent_product ? `${count(slot.sent_product)} products` : "nothing"));
      const left = waiting(number);
      reel("left", left, (n) => (data.found.slot.length ? `${count(n)} products, the most valuable first` : `${count(slot.backlog_product)} products`));
      const [home, aboard] = data.found.slot.length ? tally(number) : [columnOf("sent_product").slice(0, index + 1).reduce((a, b) => a + b, 0), slot.backlog_product];
      byId("home-count").textContent = count(home);
      byId("aboard-count").textContent = count(aboard);
      byId("home-bar").style.width = `${(100 * home) / Math.max(home + aboard, 1)}%`;
      for (const tile of tiles) tile.node.classList.toggle("now", tile.slots.includes(number));
      filter();
    }
    const active = passAt(t);
    passes.forEach((item) => {
      const pass = Number(item.dataset.pass);
      item.classList.toggle("now", pass === active);
      item.classList.toggle("ahead", data.passes[pass][1] > t);
    });
    const upcoming = data.passes.findIndex(([, , end]) => end > t);
    const middle = upcoming < 0 ? data.passes.length : upcoming;
    const least = Math.min(Math.max(middle - PASSES_BEFORE, 0), Math.max(passes.length - PASSES_SHOWN, 0));
    passes.forEach((item, i) => (item.hidden = i < least || i >= least + PASSES_SHOWN));
    const next = data.passes.find(([, start]) => start > t);
    const said = active >= 0
      ? `In contact with ${data.passes[active][0]}, ${span(data.passes[active][2] - t)} left`
      : next ? `No contact; ${next[0]} in ${span(next[1] - t)}` : "No further contact";
    if (byId("contact").textContent !== said) byId("contact").textContent = said;
    byId("contact").classList.toggle("on", active >= 0);
  }

  function filter() {
    const wanted = document.querySelector("input[name=show]:checked")?.value ?? "all";
    for (const { node } of tiles) node.classList.toggle("dim", !(wanted === "all" || node.classList.contains(wanted === "slot" ? "now" : wanted)));
  }

  for (const { node, slots: seen } of tiles) {
    node.addEventListener("click", () => {
      byId("picked").textContent = node.querySelector("title").textContent;
      go(numbers.indexOf(seen[seen.length - 1]));
    });
  }
  for (const choice of all("input[name=show]")) choice.addEventListener("change", filter);
  return { show };
}
