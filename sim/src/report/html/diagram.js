// Looking around: the view, the pointer, the keys.
const tip = document.getElementById("tip");
const WHOLE = [0, W.to_ns - W.from_ns];
const isQuiet = (mark) => mark.m && mark.m.group === "heartbeat";
let waiting = false;

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
    drawOverview();
  });
}

function look(from, to) {
  const least = 2e4, margin = Math.max(1e6, (WHOLE[1] - WHOLE[0]) * 0.02);
  let wide = Math.max(least, Math.min(to - from, WHOLE[1] - WHOLE[0] + 2 * margin));
  const middle = (from + to) / 2;
  from = Math.max(WHOLE[0] - margin, Math.min(middle - wide / 2, WHOLE[1] + margin - wide));
  Object.assign(view, { from, to: from + wide });
  redraw();
}
// Round the selected event, if it is in sight.
function middle() {
  const at = chosen.mark?.at;
  return view.from <= at && at <= view.to ? at : (view.from + view.to) / 2;
}
function zoom(by, around = middle()) {
  look(around - (around - view.from) * by, around + (view.to - around) * by);
}
const pan = (share) => look(view.from + share * (view.to - view.from), view.to + share * (view.to - view.from));
const lookAll = () => look(WHOLE[0], WHOLE[1]);

const FEWEST = 24;

// The last dozens of events that say something, and a little after.
function lookAround(mark, count = 90) {
  // What the failure is about began with the operations it names, if that is not too long ago.
  const about = mark === failing ? operations.filter((o) => named.has("op" + o.op) && o.line >= 0 && mark.at - o.at < 4e9) : [];
  let left = about.length ? FEWEST : count, from = Math.min(mark.at, ...about.map((o) => o.at));
  for (let i = mark.i; i >= 0 && left > 0; i--) {
    if (!isQuiet(marks[i])) left--;
    // Rather less to see than much of it in which nothing happens.
    if (count - left >= FEWEST && mark.at - marks[i].at > 4 * Math.max(1e6, mark.at - from)) break;
    from = Math.min(from, marks[i].at);
  }
  const wide = Math.max((mark.at - from) * 1.06, 2e6);
  look(mark.at - wide, mark.at + wide * 0.1);
}
function bringIntoView(mark) {
  if (mark.at < view.from || mark.at > view.to) {
    const wide = view.to - view.from;
    look(mark.at - wide / 2, mark.at + wide / 2);
  }
}

function choose(mark, withPast = Boolean(chosen.past)) {
  chosen.mark = mark;
  chosen.past = mark && withPast ? pastOf(mark) : null;
  chosen.chain = new Set(mark && withPast ? chainOf(mark, 10) : []);
  showSelected();
  redraw();
}

// What is under the pointer: bars, signs, then the nearest arrow.
function under(px, py) {
  const at = timeAt(px);
  if (py >= clientsTop()) {
    const found = operations.filter((o) => yOfOp(o) <= py && py < yOfOp(o) + OP_ROW && x(o.at) - 3 <= px && (o.ended ? x(o.backAt) : view.width) + 3 >= px);
    const o = found[found.length - 1];
    if (!o) return null;
    const nearEnd = o.answered && (!o.call || Math.abs(o.backAt - at) < Math.abs(o.at - at));
    return nearEnd ? o.answered : o.call ?? null;
  }
  let best = null, least = 9;
  for (const mark of marks) {
    if (mark.kind !== "event" || !mark.node || Math.abs(x(mark.at) - px) > least) continue;
    const y = yOf(mark);
    if (y === null || Math.abs(y - py) > 15) continue;
    const far = Math.abs(x(mark.at) - px) + (SIGNS[mark.what] ? 0 : 1.5) + Math.abs(y - py) / 6;
    if (far < least) [best, least] = [mark, far];
  }
  least = Math.min(least, 7);
  for (const m of messages) {
    if (!isShown(m) || m.at > view.to) continue;
    const x1 = x(m.at), y1 = yOfNode(m.from), y2 = yOfNode(m.to);
    const ends = m.ends.length ? m.ends : [{ at: m.at + D.latency_ns * 0.35, lost: true }];
    ends.forEach((end, i) => {
      const x2 = end.lost ? x1 + 16 : x(end.at);
      const ye = end.lost ? y1 + Math.sign(y2 - y1) * 22 : y2;
      if (Math.min(x1, x2) - 8 > px || Math.max(x1, x2) + 8 < px) return;
      const along = Math.max(0, Math.min(1, ((px - x1) * (x2 - x1) + (py - y1) * (ye - y1)) / ((x2 - x1) ** 2 + (ye - y1) ** 2)));
      const far = Math.hypot(px - x1 - along * (x2 - x1), py - y1 - along * (ye - y1));
      if (far < least) {
        least = far;
        best = (along > 0.5 || !m.sent ? m.came[i] : m.sent) ?? m.sent ?? m.came[0];
      }
    });
  }
  return best;
}

function showTip(mark, px, py) {
  chosen.hover = mark;
  tip.hidden = !mark;
  if (mark) {
    tip.replaceChildren(element("b", lane(mark) + " "), words(mark), element("br"), element("span", details(mark), "soft"));
    const left = px + 16 + tip.offsetWidth > view.width ? px - 16 - tip.offsetWidth : px + 16;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, Math.min(py + 14, view.height - tip.offsetHeight - 4)) + "px";
  }
  redraw();
}

let drag = null;
canvas.addEventListener("pointerdown", (event) => {
  drag = { x: event.offsetX, from: view.from, to: view.to, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (drag && (drag.moved || Math.abs(event.offsetX - drag.x) > 3)) {
    drag.moved = true;
    canvas.classList.add("dragging");
    const by = ((drag.x - event.offsetX) / (view.width - LEFT)) * (drag.to - drag.from);
    tip.hidden = true;
    look(drag.from + by, drag.to + by);
  } else if (!drag) {
    const mark = under(event.offsetX, event.offsetY);
    if (mark !== chosen.hover || mark) showTip(mark, event.offsetX, event.offsetY);
  }
});
canvas.addEventListener("pointerup", (event) => {
  canvas.classList.remove("dragging");
  if (drag && !drag.moved) {
    const mark = under(event.offsetX, event.offsetY);
    choose(mark, mark !== null);
  }
  drag = null;
});
canvas.addEventListener("pointerleave", () => showTip(null));
canvas.addEventListener("wheel", (event) => {
  // The page scrolls as ever, until the diagram has been clicked.
  if (document.activeElement !== canvas && !event.ctrlKey) return;
  event.preventDefault();
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX / 900);
  else zoom(Math.exp(event.deltaY / 420), timeAt(event.offsetX));
}, { passive: false });

// To the next mark that is shown, on the same lane or on any.
function step(direction, sameLane) {
  const start = chosen.mark ?? failing ?? marks[marks.length - 1];
  for (let i = start.i + (chosen.mark ? direction : 0); i >= 0 && i < marks.length; i += direction) {
    const mark = marks[i];
    if (sameLane && lane(mark) !== lane(start)) continue;
    if (mark.m && !isShown(mark.m)) continue;
    if (mark.o && !aboutKey(mark.o)) continue;
    if (mark.node && !shown.nodes.has(mark.node)) continue;
    if (chosen.past && !sameLane && direction < 0 && shown.onlyPast && !chosen.past[i]) continue;
    choose(mark);
    bringIntoView(mark);
    return;
  }
}
function toCause() {
  if (!chosen.mark) return step(-1, false);
  const chain = chainOf(chosen.mark, 2);
  if (chain[1]) {
    choose(chain[1]);
    bringIntoView(chain[1]);
  }
}
function toFailure() {
  if (failing) {
    choose(failing, true);
    lookAround(failing);
  } else if (failureAt !== null) {
    look(failureAt - 2e8, failureAt + 2e7);
  }
}

const KEYS = [
  ["← →", "the event before, the event after", { ArrowLeft: () => step(-1, false), ArrowRight: () => step(1, false) }],
  ["↑ ↓", "the same on this lane only", { ArrowUp: () => step(-1, true), ArrowDown: () => step(1, true) }],
  ["Enter", "mark the causal past of the event", { Enter: () => chosen.mark && choose(chosen.mark, !chosen.past), " ": () => chosen.mark && choose(chosen.mark, !chosen.past) }],
  ["p", "to the word from elsewhere that came last", { p: toCause }],
  ["f", "to the failure", { f: toFailure }],
  ["+ −", "closer, farther", { "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "−": () => zoom(1 / 0.6) }],
  ["a d", "move the view left, right", { a: () => pan(-0.35), d: () => pan(0.35) }],
  ["0", "everything", { 0: lookAll }],
  ["h", "heartbeats on, off", { h: () => toggleGroup("heartbeat") }],
  ["c", "each client on a lane of its own, or many on one", { c: () => $("fold").click() }],
  ["Esc", "select nothing", { Escape: () => choose(null, false) }],
  ["?", "this list", { "?": () => document.getElementById("help").showModal() }],
];
const actions = Object.assign({}, ...KEYS.map(([, , does]) => does));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  const target = event.target;
  if (target instanceof HTMLInputElement && target.type === "search") return;
  const onDiagram = target === canvas;
  const anywhere = ["f", "h", "?", "0", "+", "=", "-", "a", "d", "p", "c"].includes(event.key);
  if (!(onDiagram || (anywhere && !(target instanceof HTMLInputElement && target.type !== "checkbox")))) return;
  const does = actions[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});

// The whole run in a strip: who leads, what is wrong, where the view is.
const strip = document.getElementById("overview");
const stripPen = strip.getContext("2d");
const stripX = (ns, width) => (ns / Math.max(1, D.overview.end_ns)) * width;
function drawOverview() {
  const ratio = window.devicePixelRatio || 1, width = strip.clientWidth, height = 46;
  strip.width = Math.round(width * ratio);
  strip.height = Math.round(height * ratio);
  stripPen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const each = Math.min(7, 26 / NODES.length);
  const ends = new Map(NODES.map((node) => [node, [0, "down"]]));
  const bar = (node, until) => {
    const [from, role] = ends.get(node);
    if (role === "down" || role === "failed") return;
    stripPen.fillStyle = paint[ROLE_PAINT[role] ?? "follower"];
    stripPen.globalAlpha = role === "follower" ? 0.5 : 1;
    stripPen.fillRect(stripX(from, width), 4 + NODES.indexOf(node) * each, Math.max(0.7, stripX(until - from, width)), each - 1);
  };
  for (const [at, node, role] of D.overview.roles) {
    if (!ends.has(node)) continue;
    bar(node, at);
    ends.set(node, [at, role]);
  }
  for (const node of NODES) bar(node, D.overview.end_ns);
  stripPen.globalAlpha = 1;
  stripPen.fillStyle = paint.fault;
  for (const [what, from, until] of D.overview.faults) {
    const y = what === "down" ? 38 : 34;
    stripPen.globalAlpha = 0.6;
    stripPen.fillRect(stripX(from, width), y, Math.max(1, stripX(until - from, width)), 3);
  }
  stripPen.globalAlpha = 1;
  if (D.overview.violation_ns !== null) {
    stripPen.fillStyle = paint.red;
    stripPen.fillRect(stripX(D.overview.violation_ns, width) - 1, 0, 2, height);
  }
  // Outside of what this page holds.
  stripPen.fillStyle = paint.paper;
  stripPen.globalAlpha = 0.75;
  stripPen.fillRect(0, 0, stripX(W.from_ns, width), height);
  stripPen.fillRect(stripX(W.to_ns, width), 0, width, height);
  stripPen.globalAlpha = 1;
  const left = stripX(view.from + W.from_ns, width), right = stripX(view.to + W.from_ns, width);
  stripPen.fillStyle = paint.shade;
  stripPen.fillRect(left, 0, Math.max(3, right - left), height);
  stripPen.strokeStyle = paint.accent;
  stripPen.strokeRect(left + 0.5, 0.5, Math.max(3, right - left) - 1, height - 1);
}
function stripTo(event) {
  const at = (event.offsetX / strip.clientWidth) * D.overview.end_ns - W.from_ns, wide = view.to - view.from;
  look(at - wide / 2, at + wide / 2);
}
strip.addEventListener("pointerdown", (event) => { strip.setPointerCapture(event.pointerId); stripTo(event); });
strip.addEventListener("pointermove", (event) => { if (event.buttons) stripTo(event); });
