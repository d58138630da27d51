/* One frame, one question. A label counts for the picture that is seen: nothing can be pressed before it is there,
   and every post names its frame. */
"use strict";

const at = (id) => document.getElementById(id);
const percent = (v) => `${(100 * v).toFixed(1)} %`;
const MOST_BUTTONS = 15, SHOWN = 60;
const KEYS = "0123456789abcdefg"; // as the terminal's numbers; n, s and u are taken
let classes = [], state = null, ready = false, ended = false, marked = 0, found = [];

function put(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function complain(text) {
  at("alert").hidden = !text;
  put("alert", text);
}

async function ask(path, body) {
  const wanted = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, wanted);
  } catch {
    throw new Error("edgecv does not answer: it has ended, or the connection is lost. The labels given so far are kept.");
  }
  const kind = answer.headers.get("content-type") || "";
  const value = kind.startsWith("application/json") ? await answer.json() : { error: (await answer.text()).slice(0, 200) };
  if (answer.ok) return value;
  if (answer.status === 401) throw new Error("The token is asked for again: load the page anew.");
  const error = new Error(value.error || `The server said ${answer.status}.`);
  error.state = value.state;
  throw error;
}

async function send(path, body, said) {
  if (ended || !ready) return;
  setReady(false);
  try {
    show(await ask(path, body));
    complain("");
    put("last", said);
  } catch (error) {
    complain(error.message);
    if (error.state) show(error.state);
    else setReady(true);
  }
}

const give = (index) => state.current && send("/api/label", { number: state.current.number, class: index },
  `Last: ${index === null ? "none of these" : classes[index]}`);
const later = () => state.current && send("/api/skip", { number: state.current.number }, "Last: skipped");
const undo = () => state.can_undo && send("/api/undo", {}, "Taken back.");

function setReady(value) {
  ready = value;
  const off = (id, reason) => at(id).setAttribute("aria-disabled", String(!value || reason));
  for (const button of at("choices").children) button.setAttribute("aria-disabled", String(!value));
  off("none", false);
  off("later", false);
  off("undo", !state || !state.can_undo);
  at("picture").classList.toggle("waiting", !value);
}

function showPicture(number) {
  const picture = at("picture"), address = `/picture/${number}`;
  if (picture.getAttribute("src") === address && picture.complete && picture.naturalWidth) return setReady(true);
  picture.alt = `Frame ${number}, to be labeled`;
  picture.src = address;
}

function showResult(result) {
  at("bar").hidden = !result;
  if (!result) {
    put("value", "–");
    put("interval", "No label yet.");
    return;
  }
  put("value", percent(result.value));
  put("interval", `95 % interval ${percent(result.low)} to ${percent(result.high)}, from ${result.n} label${result.n === 1 ? "" : "s"}`);
  at("lead-range").style.left = `${100 * result.low}%`;
  at("lead-range").style.width = `${100 * (result.high - result.low)}%`;
  at("lead-point").style.left = `${100 * result.value}%`;
}

function show(next) {
  state = next;
  const { current, labeled, total, skipped } = next;
  const left = skipped ? `, ${skipped} skipped` : "";
  put("count", `${labeled} of ${total} labeled${left}`);
  at("progress").max = Math.max(1, total);
  at("progress").value = labeled;
  at("progress").textContent = `${labeled} of ${total}`;
  showResult(next.accuracy);
  const finishedBefore = !document.querySelector(".finished").hidden;
  document.querySelector(".finished").hidden = current !== null;
  document.querySelector(".ask-class").hidden = current === null;
  document.querySelector(".picture").hidden = current === null;
  document.body.classList.toggle("all", current === null);
  if (current === null) {
    put("finished-title", total ? "No frame waits for a label" : "The audit keeps no frame yet");
    put("finished-says", skipped ? `${skipped} frame${skipped === 1 ? " was" : "s were"} skipped.`
      : total ? "All are labeled." : "Let the camera run for a while, then load this page anew.");
    at("again").hidden = !skipped;
    at("undo-last").hidden = !next.can_undo;
    if (!finishedBefore) at("finished-title").focus();
    setReady(true);
    return;
  }
  put("picture-title", `Frame ${current.number}`);
  at("said").hidden = current.answer === undefined;
  if (current.answer !== undefined) put("said", `The model said ${current.answer} (${(100 * current.score).toFixed(0)} %).`);
  if (!at("search").hidden) {
    at("find").value = "";
    search();
    if (!matchMedia("(pointer: coarse)").matches) at("find").focus();
  }
  showPicture(current.number);
}

function button(name, index) {
  const one = document.createElement("button"), key = document.createElement("kbd");
  one.type = "button";
  key.textContent = KEYS[index].toUpperCase();
  key.setAttribute("aria-hidden", "true");
  one.setAttribute("aria-keyshortcuts", KEYS[index]);
  one.append(key, name);
  one.addEventListener("click", () => give(index));
  return one;
}

/* --- many classes: a list that is searched ------------------------------------------------------------------ */

function search() {
  const text = at("find").value.trim().toLowerCase();
  const rank = (name) => (name === text ? 0 : name.startsWith(text) ? 1 : name.includes(text) ? 2 : 3);
  found = classes.map((name, index) => [rank(name.toLowerCase()), index]).filter(([r]) => r < 3);
  found = found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, index]) => index);
  const items = found.slice(0, SHOWN).map((index, place) => {
    const item = document.createElement("li");
    item.id = `class-${index}`;
    item.role = "option";
    item.textContent = classes[index];
    item.addEventListener("click", () => give(index));
    item.addEventListener("pointermove", () => mark(place));
    return item;
  });
  if (found.length > SHOWN || !found.length) {
    const rest = document.createElement("li");
    rest.className = "none";
    rest.role = "presentation";
    rest.textContent = found.length ? `and ${found.length - SHOWN} more: type to find them` : "No class has this in its name.";
    items.push(rest);
  }
  at("found").replaceChildren(...items);
  at("found").scrollTop = 0;
  mark(0);
}

function mark(place) {
  const count = Math.min(found.length, SHOWN);
  marked = count ? Math.min(Math.max(place, 0), count - 1) : -1;
  [...at("found").children].slice(0, count).forEach((item, i) => item.setAttribute("aria-selected", String(i === marked)));
  const item = marked < 0 ? null : at("found").children[marked];
  if (item) {
    at("find").setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  } else at("find").removeAttribute("aria-activedescendant");
}

function inSearch(event) {
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
  if (event.key in steps) mark(marked + steps[event.key]);
  else if (event.key === "Escape") at("find").value ? ((at("find").value = ""), search()) : at("none").focus();
  else if (event.key === "Enter") {
    // an empty field names nothing: Enter after Enter must not label
    if (marked >= 0 && at("find").value.trim() && !event.repeat) give(found[marked]);
  } else return;
  event.preventDefault();
}

/* ------------------------------------------------------------------------------------------------------------- */

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !state) return;
  if (event.target === at("find")) return inSearch(event);
  const key = event.key.toLowerCase();
  if (key === "u") return undo();
  if (state.current === null) return;
  if (key === "n") give(null);
  else if (key === "s") later();
  else if (key === "/" && !at("search").hidden) {
    event.preventDefault();
    at("find").focus();
  } else if (key.length === 1 && at("search").hidden) {
    const index = KEYS.indexOf(key);
    if (index >= 0 && index < classes.length) give(index);
  }
}

async function finish() {
  if (ended) return;
  try {
    await ask("/api/done", {});
  } catch (error) {
    return complain(error.message);
  }
  ended = true;
  setReady(false);
  document.body.classList.add("ended");
  complain("");
  put("count", "Done: the command in the terminal goes on. This page can be closed.");
}

async function begin() {
  at("none").addEventListener("click", () => give(null));
  at("later").addEventListener("click", later);
  at("undo").addEventListener("click", undo);
  at("undo-last").addEventListener("click", undo);
  at("again").addEventListener("click", () => send("/api/again", {}, "\u00a0"));
  at("done").addEventListener("click", finish);
  at("find").addEventListener("input", search);
  document.addEventListener("keydown", pressed);
  at("picture").addEventListener("load", () => {
    at("picture").classList.toggle("small", at("picture").naturalWidth < 300);
    setReady(true);
  });
  at("picture").addEventListener("error", () => {
    if (ended) return;
    complain("This picture cannot be shown: it may have been replaced by a newer one. Skip it.");
    setReady(true);
  });
  try {
    classes = await ask("/api/classes");
    const many = classes.length > MOST_BUTTONS;
    at("search").hidden = !many;
    if (!many) at("choices").replaceChildren(...classes.map(button));
    show(await ask("/api/state"));
  } catch (error) {
    complain(error.message);
  }
}

begin();
