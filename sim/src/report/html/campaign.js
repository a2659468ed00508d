// A campaign: sums, failures, growth, what is missing, the gallery.
const D = JSON.parse(document.getElementById("data").textContent);
const many = (count) => count.toLocaleString("en");
function time(ns) {
  const seconds = ns / 1e9;
  if (seconds < 120) return seconds.toFixed(1) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(1) + " min";
  return (seconds / 3600).toFixed(1) + " h";
}
function table(heads, rows) {
  const head = element("tr", heads.map((text) => element("th", text)));
  const body = rows.map((row) => element("tr", row.map((cell) => element("td", cell))));
  return element("table", [element("thead", head), element("tbody", body)]);
}

const { sums } = D;
$("verdict").classList.toggle("failed", sums.failed > 0);
$("verdict").append(
  element("h1", [element("span", sums.failed ? `${many(sums.failed)} failed` : "Nothing failed", "word"), ` of ${many(sums.runs)} runs`]),
  element("p", `${time(sums.simulated_ns)} simulated in ${time(sums.cpu_ns)} of core time: ${many(Math.round(sums.simulated_ns / Math.max(1, sums.cpu_ns)))} times as fast as time, ${many(Math.round(sums.runs * 3.6e12 / Math.max(1, sums.cpu_ns)))} runs per core and hour. ${many(sums.operations)} operations, ${many(sums.events)} events.`),
);
if (D.lacking.length) $("verdict").append(element("div", [element("b", "Not all of it is here"), element("ul", D.lacking.map((what) => element("li", what)))], "lacking"));

for (const [signature, runs, again, message, links] of D.groups) {
  const files = links.flatMap(([path, words]) => {
    const link = element("a", words);
    link.href = path.split("/").map(encodeURIComponent).join("/");
    return [" · ", link];
  });
  const copy = element("button", "Copy");
  copy.addEventListener("click", () => navigator.clipboard.writeText(again).then(() => { copy.textContent = "Copied"; }, () => {}));
  $("groups").append(element("div", [
    element("p", [element("b", signature), element("span", [` · ${many(runs)} ${runs === 1 ? "run" : "runs"}`, ...files], "soft")]),
    element("p", tidy(message), "mono"), element("div", [element("code", again), copy], "command"),
  ], "panel group"));
}
if (D.groups.length === 0) $("groups").append(element("p", "None.", "soft"));

function drawGrowth(width) {
  const height = 220, left = 52, right = 52, top = 14, bottom = 28;
  const growth = D.growth.map((p) => [p.runs, p.places, p.failures]);
  const last = growth.at(-1) ?? [1, 1, 0], most = Math.max(1, last[1]), kinds = Math.max(1, last[2]);
  const px = (runs) => left + (runs / last[0]) * (width - left - right);
  const py = (value, of) => top + (1 - value / of) * (height - top - bottom);
  const path = (place, of) => growth.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[place], of).toFixed(1)}`).join("");
  const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Places that were come to, and kinds of failures, over the runs" });
  const word = (x, y, text, colour, anchor = "middle") => chart.append(svg("text", { x, y, fill: `var(--${colour})`, "font-size": 12, "text-anchor": anchor }, text));
  for (const part of width < 600 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]) {
    const runs = Math.round(last[0] * part);
    chart.append(svg("line", { x1: px(runs), x2: px(runs), y1: top, y2: height - bottom, stroke: "var(--line)" }));
    word(px(runs), height - 9, part === 1 ? many(runs) + " runs" : many(runs), "soft");
  }
  chart.append(svg("path", { d: path(1, most), fill: "none", stroke: "var(--accent)", "stroke-width": 2 }),
    svg("path", { d: path(2, kinds), fill: "none", stroke: "var(--red)", "stroke-width": 1.6, "stroke-dasharray": "5 3" }));
  word(left - 8, py(most, most) + 4, String(last[1]), "accent", "end");
  word(width - right + 8, py(kinds, kinds) + 4, String(last[2]), "red", "start");
  return chart;
}
{
  const chart = element("div");
  $("curve").append(element("p", "Solid: places that some run came to: states of the cluster seen from far, pairs of messages, points in the code under a fault. Dashed: kinds of failures."), chart);
  onWidth(chart, drawGrowth);
}

$("unmet").append(D.unmet.length ? element("ul", D.unmet.map((name) => element("li", name, "mono"))) : element("p", "Everything that is wanted was seen.", "soft"));
$("rare").append(table(["", "runs"], D.rare.map(([name, runs]) => [name, many(runs)])));
if (D.gallery.rows.length) {
  $("gallery-section").hidden = false;
  $("gallery").append(table(D.gallery.heads, D.gallery.rows));
}
