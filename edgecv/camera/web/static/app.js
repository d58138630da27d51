/* Figures every second by server-sent events, the picture by MJPEG. When the server goes away both are tried
   again, and a server that was started anew gets its plots anew. */
"use strict";

const at = (id) => document.getElementById(id);
const percent = (v, digits = 1) => (v === null || v === undefined ? "–" : `${(100 * v).toFixed(digits)} %`);
const mib = (bytes) => (bytes === null ? "–" : `${(bytes / 2 ** 20).toFixed(0)} MiB`);
const count = (n) => n.toLocaleString("en");
const plots = new Plots(at("plots"));
let boot = null;
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
let pictureTimer = 0;

function put(id, text) {
  const node = at(id);
  if (node.textContent !== text) node.textContent = text; // no needless work for screen readers
}

function pairs(list, rows) {
  while (list.children.length > 2 * rows.length) list.lastChild.remove();
  rows.forEach(([name, value], i) => {
    if (!list.children[2 * i]) list.append(document.createElement("dt"), document.createElement("dd"));
    if (list.children[2 * i].textContent !== name) list.children[2 * i].textContent = name;
    if (list.children[2 * i + 1].textContent !== value) list.children[2 * i + 1].textContent = value;
  });
}

function showLead(stats) {
  const head = stats.headline;
  put("lead-title", head.title);
  put("lead-value", percent(head.value));
  put("lead-says", head.says);
  at("lead-bar").hidden = head.value === null;
  if (head.value !== null) {
    const low = head.low ?? head.value, high = head.high ?? head.value;
    at("lead-range").style.left = `${100 * low}%`;
    at("lead-range").style.width = `${100 * (high - low)}%`;
    at("lead-range").hidden = head.low === null;
    at("lead-point").style.left = `${100 * head.value}%`;
  }
  const span = head.low === null ? "" : `95 % interval ${percent(head.low)} to ${percent(head.high)}; `;
  put("lead-interval", head.value === null ? "\u00a0" : `${span}${count(Math.round(head.n))} frames`);
  const rows = [];
  const recent = stats.accuracy_recent;
  if (recent) rows.push(["of the last 100 scenes", `${percent(recent.value)} (${percent(recent.low)} to ${percent(recent.high)})`]);
  const paired = stats.against_float, drift = stats.drift;
  if (paired && head.kind !== "paired") {
    const delta = paired.delta === null ? "" : `, top-1 ${paired.delta < 0 ? "−" : "+"}${Math.abs(100 * paired.delta).toFixed(2)} points`;
    rows.push(["int8 against float (paired)", `agree on ${percent(paired.agreement)}${delta}; ${count(paired.n)} frames`]);
  }
  if (drift && head.kind !== "estimated") {
    const inside = drift.inside_calibrated_range && drift.estimated_top1 !== null;
    rows.push(["estimated without labels", inside ? `${percent(drift.estimated_top1)} (${percent(drift.interval[0])} to ${percent(drift.interval[1])})` : drift.estimated_top1 === null ? "not known yet" : "cannot tell"]);
  }
  if (drift && drift.reference_top1 !== null) rows.push(["on the reference pictures", percent(drift.reference_top1)]);
  pairs(at("others"), rows);
}

function showAnswer(answer) {
  if (!answer) return;
  const label = at("answer-label");
  put("answer-label", answer.label);
  label.className = answer.right === null ? "" : answer.right ? "right" : "wrong";
  const truth = answer.truth === null ? "" : answer.right ? ", right" : `, but it is ${answer.truth}`;
  put("answer-score", `${percent(answer.score, 0)}${answer.score_kind === "probability" ? "" : " (score)"}${truth}`);
  const list = at("top");
  answer.top.forEach((one, i) => {
    if (!list.children[i]) {
      const item = document.createElement("li");
      item.append(document.createElement("span"), document.createElement("meter"), document.createElement("span"));
      item.children[1].max = 1;
      item.children[1].setAttribute("aria-hidden", "true");
      list.append(item);
    }
    const [name, bar, value] = list.children[i].children;
    name.textContent = one.label;
    name.title = one.label;
    bar.value = Math.min(1, Math.max(0, one.score));
    value.textContent = percent(one.score, 0);
  });
}

function showLatency(latency) {
  const body = at("latency");
  Object.entries(latency).forEach(([stage, values], i) => {
    if (!body.rows[i]) {
      const row = body.insertRow();
      const name = document.createElement("th");
      name.scope = "row";
      row.append(name);
      for (let k = 0; k < 3; k++) row.insertCell();
    }
    const cells = body.rows[i].cells;
    cells[0].textContent = stage;
    ["p50", "p90", "p99"].forEach((p, k) => { cells[k + 1].textContent = values[p] === null ? "–" : values[p].toFixed(2); });
  });
}

function showMachine(stats) {
  const rows = [
    ["frames per second", `${stats.fps_in.toFixed(1)} in, ${stats.fps_out.toFixed(1)} answered`],
    ["frames", `${count(stats.frames_in)} in, ${count(stats.frames_out)} answered, ${count(stats.frames_dropped)} dropped${stats.frames_damaged ? ` (${count(stats.frames_damaged)} damaged)` : ""}`],
    ["memory", `${mib(stats.rss_bytes)}, peak ${mib(stats.peak_rss_bytes)}`],
    ["processor", `${stats.cpu_percent.toFixed(0)} % of one core${stats.frequency_hz === null ? "" : `, ${(stats.frequency_hz / 1e6).toFixed(0)} MHz`}`],
  ];
  if (stats.temperature_c !== null) rows.push(["temperature", `${stats.temperature_c.toFixed(0)} °C`]);
  if (stats.throttling !== null) rows.push(["throttling", stats.throttling]);
  rows.push(["engine", `${stats.backend} ${stats.backend_version}, ${stats.threads} thread${stats.threads > 1 ? "s" : ""}`]);
  rows.push(["executes", stats.executed_precision]);
  pairs(at("machine"), rows);
}

function showDrift(drift, shadow) {
  if (!drift && !shadow) return;
  const place = at("drift");
  if (!place.dataset.built) {
    place.dataset.built = "1";
    place.replaceChildren(document.createElement("p"), document.createElement("dl"));
    place.children[1].className = "pairs";
  }
  const alarms = [...((drift && drift.alarms) || []), ...((shadow && shadow.alarms) || [])], rows = [];
  if (drift) {
    rows.push(["causes", (drift.causes || []).join(", ") || "none"]);
    rows.push(["independent frames", drift.effective_samples === null ? "–" : drift.effective_samples.toFixed(0)]);
    rows.push(["calibrated range", drift.estimated_top1 === null ? "not known yet" : drift.inside_calibrated_range ? "inside" : "outside: cannot tell"]);
  } else rows.push(["monitor", "none: the model carries no drift profile"]);
  if (shadow && shadow.recent_agreement !== null) {
    const usual = shadow.usual_agreement === null ? "" : `, ${percent(shadow.usual_agreement)} on the reference pictures`;
    rows.push(["int8 and float lately", `agree on ${percent(shadow.recent_agreement)} of the last ${Math.min(shadow.n, 200)} compared${usual}`]);
  }
  place.children[0].className = alarms.length ? "alarm" : "";
  const text = alarms.length ? alarms.map((one) => `Alarm: ${one}`).join("\n") : "No alarm.";
  if (place.children[0].textContent !== text) place.children[0].textContent = text;
  pairs(place.children[1], rows);
}

function showState(source) {
  at("lamp").className = `lamp ${source.state}`;
  put("state-text", `${source.uri}: ${source.state}${source.detail ? `, ${source.detail}` : ""}`);
}

function show(stats) {
  document.body.classList.remove("gone");
  put("model", stats.model);
  showState(stats.source);
  showLead(stats);
  showLatency(stats.latency_ms);
  showMachine(stats);
  showDrift(stats.drift, stats.shadow);
  document.title = `${percent(stats.headline.value, 0)} · edgecv camera`;
}

function point(stats) {
  const head = stats.accuracy_recent || stats.headline, times = stats.latency_ms;
  return {
    seconds: stats.seconds, fps_in: stats.fps_in, fps_out: stats.fps_out, infer_p50_ms: times.infer.p50,
    glass_p50_ms: times.glass.p50, glass_p99_ms: times.glass.p99, rss_mib: stats.rss_bytes === null ? null : stats.rss_bytes / 2 ** 20,
    temperature_c: stats.temperature_c, cpu_percent: stats.cpu_percent, top1: head.value, top1_low: head.low, top1_high: head.high,
  };
}

async function begin(stats) {
  boot = stats.boot;
  at("log").replaceChildren();
  startPicture();
  const answer = await fetch("/api/history");
  if (answer.ok) plots.replace((await answer.json()).columns);
}

function log(event) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = event.utc;
  time.textContent = new Date(event.utc).toLocaleTimeString();
  item.append(time, event.text);
  const list = at("log");
  list.prepend(item);
  while (list.children.length > 200) list.lastChild.remove();
}

function startPicture() {
  clearTimeout(pictureTimer);
  if (!paused) at("picture").src = `/stream.mjpg?${Date.now()}`;
}

function setPaused(value) {
  // a paused picture keeps the answer that belongs to it
  paused = value;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Show the live picture" : "Pause the picture";
  if (!paused) return startPicture();
  at("picture").src = `/snapshot.jpg?${Date.now()}`;
  fetch("/api/stats").then((answer) => answer.json()).then((stats) => showAnswer(stats.answer)).catch(() => {});
}

function connect() {
  const source = new EventSource("/api/events");
  let pending = [];
  source.addEventListener("log", (event) => {
    const one = JSON.parse(event.data);
    if (boot === null || pending) pending.push(one);
    else log(one);
  });
  source.addEventListener("stats", async (event) => {
    const stats = JSON.parse(event.data);
    const anew = stats.boot !== boot;
    if (stats.viewers === 0 && !paused) showAnswer(stats.answer);
    show(stats);
    if (anew) await begin(stats);
    else plots.add(point(stats));
    if (pending && !anew) startPicture();
    if (pending) {
      const held = pending;
      pending = null;
      held.forEach(log);
    }
  });
  // with every picture, so that the words belong to what is seen
  source.addEventListener("answer", (event) => { if (!paused) showAnswer(JSON.parse(event.data)); });
  source.onerror = () => {
    document.body.classList.add("gone");
    at("lamp").className = "lamp lost";
    put("state-text", "the program does not answer; trying again");
    pending = [];
    // a refusal (another token, too many viewers) ends the source for good: begin again
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
}

at("pause").addEventListener("click", () => setPaused(!paused));
at("picture").addEventListener("error", () => { if (!paused) { clearTimeout(pictureTimer); pictureTimer = setTimeout(startPicture, 2000); } });
// nobody looks: the board need not encode
document.addEventListener("visibilitychange", () => { if (document.hidden) at("picture").removeAttribute("src"); else setPaused(paused); });
at("picture").addEventListener("load", () => at("picture").classList.toggle("small", at("picture").naturalWidth < 480));
setPaused(paused);
connect();
