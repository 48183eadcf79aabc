
"use strict";
(() => {
  const { slots } = JSON.parse(document.getElementById("slot-words")?.textContent ?? '{"slots":[]}');
  if (!slots.length) return;
  const byId = (id) => document.getElementById(id);
  const all = (query) => [...document.querySelectorAll(query)];
  const slider = byId("slider");
  const cursors = all(".cursor");
  const fields = all("[data-field]");
  const symbols = all("use[data-slot]");
  const tiles = all(".answers .tile").map((node) => ({ node, slots: node.dataset.slots.split(" ").map(Number) }));
  const lines = all(".decisions tbody tr");
  let now = 0;

  function show(index) {
    now = Math.min(Math.max(index, 0), slots.length - 1);
    const { n, left, right, css, shape, words } = slots[now];
    slider.value = now;
    slider.setAttribute("aria-valuetext", `${words.slot}, ${words.model}`);
    for (const field of fields) {
      const text = words[field.dataset.field] ?? "";
      field.textContent = text && (field.dataset.lead ?? "") + text;
    }
    byId("chosen-mark").setAttribute("href", `#${shape}`);
    byId("chosen-mark").setAttribute("class", `${css} mark`);
    for (const cursor of cursors) {
      cursor.setAttribute("x", `${left}%`);
      cursor.setAttribute("width", `${right - left}%`);
    }
    for (const symbol of symbols) symbol.classList.toggle("now", Number(symbol.dataset.slot) === now);
    lines.forEach((line, row) => line.classList.toggle("now", row === now));
    for (const tile of tiles) tile.node.classList.toggle("now", tile.slots.includes(n));
    filter();
  }

  function filter() {
    const wanted = document.querySelector("input[name=show]:checked")?.value ?? "all";
    for (const { node } of tiles) {
      const shown = wanted === "all" || node.classList.contains(wanted === "slot" ? "now" : wanted);
      node.classList.toggle("dim", !shown);
    }
  }

  function scrub(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (100 * (event.clientX - box.left)) / box.width;
    show(slots.findLastIndex((slot) => slot.left <= share));
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  byId("before").addEventListener("click", () => show(now - 1));
  byId("after").addEventListener("click", () => show(now + 1));
  byId("more").addEventListener("click", () => {
    const open = byId("inspector").classList.toggle("open");
    byId("more").setAttribute("aria-expanded", String(open));
    byId("more").textContent = open ? "Close" : "Details";
  });
  for (const plot of all("[data-time]")) {
    plot.addEventListener("pointerdown", scrub);
    plot.addEventListener("pointermove", (event) => event.buttons && scrub(event));
  }
  for (const symbol of symbols) symbol.addEventListener("click", () => show(Number(symbol.dataset.slot)));
  for (const link of all("a[data-slot]")) link.addEventListener("click", () => show(Number(link.dataset.slot)));
  for (const { node, slots: seen } of tiles) {
    node.addEventListener("click", () => {
      byId("picked").textContent = node.querySelector("title").textContent;
      const index = slots.findIndex((slot) => slot.n === seen[seen.length - 1]);
      if (index >= 0) show(index);
    });
  }
  for (const choice of all("input[name=show]")) choice.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const busy = event.target.closest("input, .scroll, pre");
    if (!step || busy || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(now + step);
  });
  window.addEventListener("beforeprint", () => all("details").forEach((part) => (part.open = true)));

  document.documentElement.classList.add("live");
  show(0);
})();
