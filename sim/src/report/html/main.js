// Puts the page together.
function chip(text, colour, checked, changed) {
  const box = element("input");
  box.type = "checkbox";
  box.checked = checked;
  const label = element("span", colour ? [element("i"), text] : text);
  if (colour) label.style.setProperty("--c", `var(--${colour})`);
  box.addEventListener("change", () => { changed(box.checked); redraw(); });
  const made = element("label", [box, label], "chip");
  made.box = box;
  return made;
}
const toggled = (set, name) => (on) => { if (on) set.add(name); else set.delete(name); };
const chips = new Map();
for (const [id, title] of GROUPS) {
  if (!messages.some((m) => m.group === id)) continue;
  const made = chip(title, id, shown.groups.has(id), (on) => { toggled(shown.groups, id)(on); if (chosen.mark) showNear(chosen.mark); });
  chips.set(id, made.box);
  $("kinds").append(made);
}
function toggleGroup(id) {
  const box = chips.get(id);
  if (box) box.click();
}
for (const node of NODES) $("members").append(chip("n" + node, "", true, toggled(shown.nodes, node)));
$("key").addEventListener("input", (event) => { shown.key = event.target.value.trim(); redraw(); });
$("only-past").addEventListener("change", (event) => { shown.onlyPast = event.target.checked; redraw(); });
$("to-failure").addEventListener("click", () => { toFailure(); canvas.focus({ preventScroll: true }); });
$("to-failure").hidden = failing === null && failureAt === null;
$("zoom-in").addEventListener("click", () => zoom(0.5));
$("zoom-out").addEventListener("click", () => zoom(2));
$("fit").addEventListener("click", lookAll);
const canFold = lanes.length < CLIENTS.length;
let isFolded = canFold;
const tellFold = () => { $("fold").textContent = isFolded ? `Each of ${CLIENTS.length} clients` : "Fewer lanes"; };
$("fold").hidden = !canFold;
$("fold").title = "Clients on lanes of their own, or many on one (c)";
$("fold").addEventListener("click", () => {
  if (!canFold) return;
  isFolded = !isFolded;
  placeClients(isFolded);
  tellFold();
  redraw();
});
tellFold();
$("help-button").addEventListener("click", () => $("help").showModal());
$("keys").append(...KEYS.flatMap(([keys, text]) => [element("dt", keys), element("dd", text)]));

function sign(drawing) {
  const made = svg("svg", { width: 26, height: 12, viewBox: "0 0 26 12" });
  made.append(...drawing);
  return made;
}
const stroke = (more) => ({ x1: 1, x2: 24, y1: 6, y2: 6, stroke: "currentColor", "stroke-width": 1.6, ...more });
const box = (colour, more = {}) => svg("rect", { x: 1, y: 2, width: 24, height: 8, fill: `var(--${colour})`, ...more });
for (const [drawing, text] of [
  [[box("leader")], "leads"], [[box("candidate")], "campaigns"], [[box("follower")], "follows"], [[svg("line", stroke({ stroke: "var(--down)", "stroke-dasharray": "2 4" }))], "down"],
  [[svg("line", stroke({}))], "message"], [[svg("line", stroke({ "stroke-dasharray": "5 4" }))], "delayed, or a copy"],
  [[svg("path", { d: "M9 2l8 8M9 10l8-8", stroke: "currentColor", "stroke-width": 1.6 })], "lost"],
  [[box("write-bar")], "write"], [[box("read-bar")], "read"], [[box("unknown-bar")], "outcome unknown"], [[box("refused-bar")], "refused"],
  [[box("panel", { stroke: "var(--red)", "stroke-width": 2 })], "named by the failure"],
  [[svg("text", { x: 6, y: 10, "font-size": 11, fill: "currentColor" }, "✕")], "crash"], [[svg("text", { x: 6, y: 10, "font-size": 11, fill: "currentColor" }, "▲")], "boot"],
  [[svg("text", { x: 6, y: 10, "font-size": 11, fill: "currentColor" }, "★")], "elected"],
]) $("legend").append(element("span", [sign(drawing), text]));

showVerdict();
showStory();
showTwin();
showCurve();
showFacts();
memberGap = NODES.length > 5 ? 60 : 78;
if (failing) toFailure(); else { lookAll(); showSelected(); }
draw();
drawOverview();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
addEventListener("resize", redraw);
