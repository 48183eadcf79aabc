// Asks this page's own server, and nobody else, whether there is something new, and takes it in place.
const ASK_MS = 2000;

const badge = element("p", "live-badge");
badge.setAttribute("role", "status");

function say(text, wrong = false) {
  badge.textContent = text;
  badge.classList.toggle("wrong", wrong);
  document.querySelector("header")?.append(badge);
}

function take(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const state = stage ? stage.at() : { last: true };
  const view = document.querySelector("input[name=view]:checked")?.value;
  const follow = byId("follow")?.checked;
  const open = byId("inspector")?.classList.contains("open");
  const scroll = window.scrollY;
  stage?.stop();
  document.documentElement.dataset.version = fresh.documentElement.dataset.version;
  document.body.replaceChildren(...fresh.body.childNodes);
  stage = startStage(state);
  if (view === "map") stage?.key("m");
  if (follow === false && byId("follow")) byId("follow").click();
  if (open) byId("more")?.click();
  window.scrollTo(0, scroll);
  say("live");
}

async function look() {
  try {
    const reply = await fetch("version", { cache: "no-store" });
    const said = await reply.json();
    if (!reply.ok) say(said.error, true);
    else if (said.version !== document.documentElement.dataset.version) {
      const page = await fetch("./", { cache: "no-store" });
      if (page.ok) take(await page.text());
    } else say("live");
  } catch {
    say("no answer: is subsolar watch still running?", true);
  }
  setTimeout(look, ASK_MS);
}

if (stage) stage.key("End");
say("live");
setTimeout(look, ASK_MS);
