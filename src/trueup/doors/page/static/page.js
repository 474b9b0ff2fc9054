// Keeps the page's parts as they are now. Without this script the page loads itself again instead.
"use strict";
(() => {
  const html = document.documentElement, lost = document.getElementById("lost");
  document.addEventListener("submit", (e) => {
    // A second press of a button sends nothing.
    if (e.target.method === "post") setTimeout(() => e.target.querySelectorAll("button").forEach((b) => (b.disabled = true)));
  });
  document.addEventListener("input", (e) => {
    const told = e.target.type === "range" && document.querySelector(`output[for=${e.target.id}]`);
    if (told) told.value = e.target.value;
  });
  if (!html.dataset.live) return;
  let source = null, poll = 0, beat = Date.now(), title = document.title, away = "";
  const clock = (ms) => new Date(ms).toISOString().slice(11, 19) + " UTC";
  function gray(words) {
    if (words === away) return;
    away = words;
    html.classList.toggle("stale", !!words);
    lost.hidden = !words;
    lost.textContent = words;
    document.title = words ? "not live · trueup" : title;
  }
  function take(data) {
    beat = Date.now();
    const told = JSON.parse(data);
    title = told.title;
    for (const [id, text] of Object.entries(told.parts)) swap(document.getElementById(id), text);
    gray(told.late);
    if (!away) document.title = title;
  }
  function swap(part, text) {
    if (!part) return;
    // The keyboard stays on the same link, if the new text still has that link.
    const at = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.innerHTML = text;
    const again = at && [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === at);
    if (again) again.focus({ preventScroll: true });
  }
  function close() { if (source) source.close(); source = null; clearInterval(poll); poll = 0; }
  function open() {
    close();
    source = new EventSource(html.dataset.live);
    source.addEventListener("news", (e) => take(e.data));
    // A browser holds six connections to a server: older tabs ask from time to time instead.
    source.addEventListener("rest", () => { close(); poll = setInterval(ask, 2000); });
    source.onerror = () => { if (source && source.readyState === 2) { close(); setTimeout(ask, 1000); poll = setInterval(ask, 2000); } };
  }
  function ask() {
    fetch(html.dataset.live + "&once=1").then((r) => {
      if (r.status === 401) gray("You are signed out: load the page again.");
      else if (r.ok) r.text().then(take);
    }).catch(() => {});
  }
  setInterval(() => {
    if (Date.now() - beat > 3000 && !document.hidden) gray(`The line to the page's server is lost since ${clock(beat)}. What is shown is of then.`);
  }, 500);
  addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pageshow", (e) => { if (e.persisted) open(); });
  addEventListener("pagehide", close);
  if (!document.hidden) open();
})();
