// Elements, and what both pages share.
const $ = (id) => document.getElementById(id);
function element(name, content = "", kind = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...[content].flat());
  return made;
}
const svgNS = "http://www.w3.org/2000/svg";
function svg(name, attributes, content = "") {
  const made = document.createElementNS(svgNS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[content].flat());
  return made;
}

// A drawing as wide as its place, drawn again when that changes: words keep their size.
function onWidth(place, drawn) {
  let last = 0;
  new ResizeObserver(([{ contentRect }]) => {
    const width = Math.min(1240, Math.round(contentRect.width));
    if (width < 40 || width === last) return;
    last = width;
    place.replaceChildren(drawn(width));
  }).observe(place);
}

// A value as the program prints it for its programmers is cut to its name; moments and durations become readable.
function tidy(text) {
  let out = text.replace(/^\[[\w-]+\] [\d.]+s#\d+: /, "").replace(/(\d+\.\d+)s#\d+/g, "$1 s").replace(/\b(\d{4,})ns\b/g, (_, ns) => span(Number(ns)));
  for (let before = ""; before !== out && out.length > 120;) {
    before = out;
    out = out.replace(/\b\w+\((\w+) \{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\)|\b(\w+) \{[^{}]*\}/g, "…");
  }
  return out.replace(/: …/g, "").replace(/ \(see [^)]*\)$/, "");
}
function span(ns) {
  if (ns >= 1e9) return (ns / 1e9).toFixed(ns < 1e10 ? 2 : 1) + " s";
  if (ns >= 1e6) return (ns / 1e6).toFixed(ns < 1e7 ? 2 : 1) + " ms";
  return Math.round(ns / 1e3) + " µs";
}
