// What every page does beside showing itself: times in the reader's zone, tips, the theme, and live parts.
"use strict";

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

function howLongAgo(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return relative.format(Math.trunc(seconds / length), unit);
}

function localizeTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    element.title = exact.format(at);
    setText(element, element.hasAttribute("data-ago") ? howLongAgo(at) : absolute.format(at));
  }
}

function keepTheme() {
  const button = document.getElementById("theme");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const name = () => setText(button, dark() ? "Light" : "Dark");
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    const theme = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    document.cookie = `bench_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    name();
    document.dispatchEvent(new CustomEvent("themechange"));
  });
}

// Tips: whatever bears `data-tip` says it when pointed at or focused.
function showTips() {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const show = (event) => {
    const owner = event.target.closest?.("[data-tip]");
    if (!owner) return;
    tip.textContent = owner.dataset.tip;
    tip.hidden = false;
    const at = owner.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 8);
    tip.style.left = `${left}px`;
    tip.style.top = `${at.top > size.height + 12 ? at.top - size.height - 8 : at.bottom + 8}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, show);
  for (const name of ["pointerout", "focusout", "scroll"]) document.addEventListener(name, hide, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}

// Live parts: the server sends the parts of the page that changed, by id. Nothing is asked for while nobody looks.
function replacePart(id, html) {
  const part = document.getElementById(id);
  if (!part || part.dataset.was === html) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
  part.innerHTML = html;
  part.dataset.was = html;
  for (const one of open) document.getElementById(one)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  localizeTimes(part);
}

function follow() {
  const mark = document.querySelector("[data-live]");
  if (!mark) return;
  let source = null;
  const close = () => { source?.close(); source = null; mark.removeAttribute("data-on"); };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(mark.dataset.live);
    source.addEventListener("open", () => { mark.setAttribute("data-on", ""); setText(mark, "Live"); });
    source.addEventListener("error", () => { mark.removeAttribute("data-on"); setText(mark, "Reconnecting"); });
    source.addEventListener("parts", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) replacePart(id, html);
    });
    source.addEventListener("ended", () => { close(); location.reload(); });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  open();
}

localizeTimes();
setInterval(() => { if (!document.hidden) localizeTimes(); }, 1000);
keepTheme();
showTips();
follow();
