/* Plots over time. uPlot draws; colors come from the style sheet, and a sentence says what is drawn. */
"use strict";

const PLOTS = [
  { title: "Time per answer", unit: "ms", digits: 2, series: [["glass_p50_ms", "glass p50", "--accent"], ["glass_p99_ms", "glass p99", "--second"], ["infer_p50_ms", "infer p50", "--third"]] },
  { title: "Frames per second", unit: "", digits: 1, series: [["fps_in", "in", "--second"], ["fps_out", "answered", "--accent"]] },
  { title: "Accuracy", unit: "%", digits: 1, scale: 100, band: true, series: [["top1", "lately", "--accent"], ["top1_low", "low", "--quiet"], ["top1_high", "high", "--quiet"]] },
  { title: "Memory", unit: "MiB", digits: 0, series: [["rss_mib", "resident", "--accent"]] },
  { title: "Processor", unit: "%", digits: 0, series: [["cpu_percent", "of one core", "--accent"]] },
  { title: "Temperature", unit: "°C", digits: 0, series: [["temperature_c", "processor", "--second"]] },
];
const KEEP = 900;
const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];

class Plots {
  constructor(place) {
    this.place = place;
    this.columns = {};
    this.drawn = new Map();
    new ResizeObserver(() => this.resize()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  /** All values anew. */
  replace(columns) {
    this.columns = columns;
    this.draw();
  }

  /** One more value per column. */
  add(point) {
    for (const name of Object.keys(this.columns)) {
      const column = this.columns[name];
      column.push(point[name] ?? null);
      if (column.length > KEEP) column.shift();
    }
    this.draw();
  }

  rebuild() {
    for (const { plot, figure } of this.drawn.values()) { plot.destroy(); figure.remove(); }
    this.drawn.clear();
    this.draw();
  }

  draw() {
    for (const wanted of PLOTS) {
      const lines = wanted.series.map(([name]) => (this.columns[name] || []).map((v) => (v === null ? null : v * (wanted.scale || 1))));
      if (!lines[0].some((v) => v !== null)) continue;
      const data = [this.columns.seconds, ...lines];
      if (!this.drawn.has(wanted.title)) this.drawn.set(wanted.title, this.build(wanted, data));
      const one = this.drawn.get(wanted.title);
      one.plot.setData(data);
      this.tell(one.caption, wanted, lines);
    }
  }

  /** The last values with the colors of their lines, and the range of the first one. */
  tell(caption, wanted, lines) {
    const shown = (v) => `${v.toFixed(wanted.digits)}${wanted.unit && " "}${wanted.unit}`;
    const parts = [wanted.title];
    wanted.series.forEach(([, name, tint], i) => {
      const last = lines[i][lines[i].length - 1];
      if ((wanted.band && i) || last === null || last === undefined) return;
      const key = document.createElement("span");
      key.className = `key ${tint.slice(2)}`;
      key.textContent = `${name} ${shown(last)}`;
      parts.push(key);
    });
    const values = lines[0].filter((v) => v !== null);
    const range = document.createElement("span");
    range.className = "quiet";
    range.textContent = ` (${wanted.series[0][1]} from ${shown(Math.min(...values))} to ${shown(Math.max(...values))})`;
    caption.replaceChildren(...parts, range);
  }

  build(wanted, data) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const place = document.createElement("div");
    place.className = "plot";
    place.setAttribute("aria-hidden", "true"); // the caption says the same in words
    figure.append(caption, place);
    this.place.append(figure);
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const clock = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
    const options = {
      ...this.size(place),
      cursor: { show: false },
      legend: { show: false },
      scales: { x: { time: false }, y: { range: (_, low, high) => this.range(wanted, low, high) } },
      axes: [
        { ...axis, space: 70, incrs: STEPS, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 54 },
      ],
      series: [{}, ...wanted.series.map(([name, label, tint], i) => ({
        label, stroke: color(tint), width: wanted.band && i ? 1 : 2, points: { show: false },
        dash: wanted.band && i ? [4, 4] : undefined, spanGaps: false,
      }))],
      bands: wanted.band ? [{ series: [3, 2], fill: color("--shade") }] : [],
    };
    return { figure, caption, place, plot: new uPlot(options, data, place) };
  }

  range(wanted, low, high) {
    if (low === null || low === undefined) return [0, 1];
    if (wanted.band) return [Math.max(0, Math.floor(low - 2)), 100];
    return [0, high > 0 ? high * 1.1 : 1];
  }

  size(place) {
    return { width: Math.max(place.clientWidth, 120), height: place.clientHeight || 176 };
  }

  resize() {
    for (const { plot, place } of this.drawn.values()) plot.setSize(this.size(place));
  }
}
