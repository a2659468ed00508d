// The picture: lanes, bands, arrows and bars, of what the view shows.
const canvas = document.getElementById("diagram");
const pen = canvas.getContext("2d");
let paint = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  paint = new Proxy({}, { get: (known, name) => (known[name] ??= style.getPropertyValue("--" + name).trim()) });
}
readColours();

const view = { from: 0, to: 1, width: 800, height: 400 };
const shown = { groups: new Set(GROUPS.map(([id]) => id).filter((id) => id !== "heartbeat" && id !== "other")),
  nodes: new Set(NODES), key: "", onlyPast: false };
const chosen = { mark: null, past: null, chain: new Set(), hover: null };

const AXIS = 24, FAULT_ROW = 17, OP_ROW = 13, CLIENT_GAP = 5, LEFT = 46, PAD = 16;
const faults = placeFaults();
const faultRows = faults.reduce((most, fault) => Math.max(most, fault.row + 1), 0);
let memberGap = 78;

function placeFaults() {
  const ends = [];
  return D.overview.faults
    .filter(([what]) => what !== "down")
    .map(([what, from, until, nodes, text]) => ({ what, from: from - W.from_ns, until: until - W.from_ns, nodes, text }))
    .filter((fault) => fault.until >= 0 && fault.from <= W.to_ns - W.from_ns)
    .map((fault) => {
      let row = ends.findIndex((end) => end < fault.from);
      if (row < 0) row = ends.length < 7 ? ends.length : 6;
      ends[row] = fault.until;
      return { ...fault, row };
    });
}

const visibleNodes = () => NODES.filter((node) => shown.nodes.has(node));
const top0 = () => AXIS + faultRows * FAULT_ROW + PAD;
function yOfNode(node) {
  const place = visibleNodes().indexOf(node);
  return place < 0 ? null : top0() + 12 + place * memberGap;
}
const clientsTop = () => top0() + 12 + Math.max(0, visibleNodes().length - 1) * memberGap + 44;
let lanes = [], clientsHeight = 0;
function placeClients(isFolded) {
  lanes = clientLanes(isFolded);
  clientsHeight = 0;
  for (const it of lanes) {
    it.top = clientsHeight;
    clientsHeight += it.depth * OP_ROW + CLIENT_GAP;
    for (const o of it.own) o.lane = it;
  }
}
placeClients(true);
const yOfOp = (o) => clientsTop() + o.lane.top + o.row * OP_ROW;
const fullHeight = () => clientsTop() + clientsHeight + 8;
const x = (at) => LEFT + ((at - view.from) / (view.to - view.from)) * (view.width - LEFT);
const timeAt = (px) => view.from + ((px - LEFT) / (view.width - LEFT)) * (view.to - view.from);
function yOf(mark) {
  if (mark.client !== undefined) return yOfOp(mark.o) + OP_ROW / 2;
  return mark.node ? yOfNode(mark.node) : AXIS + faultRows * FAULT_ROW + 6;
}

function isShown(m) {
  return shown.groups.has(m.group) && shown.nodes.has(m.from) && shown.nodes.has(m.to);
}
function aboutKey(o) {
  if (!shown.key) return true;
  return o.keys.some((key) => {
    if (key === "all keys" || key === shown.key) return true;
    const range = /^\[(.*), (.*)\)$/.exec(key);
    return range ? range[1] <= shown.key && (range[2] === "…" || shown.key < range[2]) : false;
  });
}
const keyOf = (m) => !shown.key || m.ops.some((op) => opByNumber.has(op) && aboutKey(opByNumber.get(op)));
const inPast = (mark) => !chosen.past || (mark && chosen.past[mark.i]);

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = fullHeight();
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.style.height = height + "px";
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  Object.assign(view, { width, height });
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px " + getComputedStyle(document.body).fontFamily;
  pen.textBaseline = "middle";
  drawAxis();
  drawFaults();
  const crowded = drawMessages();
  for (const node of visibleNodes()) drawMember(node);
  drawClients();
  drawHappenings(crowded);
  drawCursor();
  drawNames();
  tellState();
}

// What is shown, for who cannot see it.
function tellState() {
  const { mark, past } = chosen;
  canvas.dataset.view = `${view.from}..${view.to}`;
  canvas.dataset.past = past ? past.reduce((sum, flag) => sum + flag, 0) - 1 : 0;
  canvas.dataset.mark = mark ? `${x(mark.at)},${yOf(mark)}` : "";
}

function line(x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function drawAxis() {
  const wide = view.to - view.from;
  const rough = wide / Math.max(4, view.width / 130);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * unit).find((by) => by >= rough);
  const digits = Math.max(0, Math.min(6, 9 - Math.floor(Math.log10(step))));
  pen.lineWidth = 1;
  pen.textAlign = "center";
  const begin = Math.ceil((view.from + W.from_ns) / step) * step - W.from_ns;
  for (let at = begin; at <= view.to; at += step) {
    const px = Math.round(x(at)) + 0.5;
    if (px < LEFT) continue;
    pen.strokeStyle = paint.line;
    line(px, AXIS, px, view.height);
    pen.fillStyle = paint.soft;
    if (px > LEFT + 24 && px < view.width - 30) pen.fillText(seconds(at, digits), px, 12);
  }
}

function drawFaults() {
  for (const fault of faults) {
    const from = Math.max(LEFT, x(fault.from)), to = Math.min(view.width, x(fault.until));
    if (to < LEFT || from > view.width) continue;
    const y = AXIS + fault.row * FAULT_ROW + 1;
    pen.fillStyle = paint["fault-wash"];
    pen.fillRect(from, y, Math.max(2, to - from), FAULT_ROW - 3);
    pen.fillStyle = paint.fault;
    pen.fillRect(from, y, 2, FAULT_ROW - 3);
    clipped(`${fault.what} ${fault.nodes.length === 1 && !fault.text.startsWith("n") ? "n" + fault.nodes[0] : ""} ${fault.text}`.replace(/ +/g, " "), from + 6, y + 7, to - from - 8);
    for (const node of fault.nodes) {
      const lane = yOfNode(node);
      if (lane === null || fault.nodes.length > 2) continue;
      pen.fillStyle = paint["fault-wash"];
      pen.fillRect(from, lane - 13, Math.max(2, to - from), 26);
    }
  }
}

// Text in so much room; with a halo, where lines cross it.
function clipped(text, px, py, room, halo = 0) {
  if (room < 18) return;
  pen.textAlign = "left";
  let cut = text;
  if (pen.measureText(cut).width > room) {
    while (cut.length > 1 && pen.measureText(cut + "…").width > room) cut = cut.slice(0, -1);
    cut = cut.length > 1 ? cut + "…" : "";
  }
  if (halo) {
    pen.lineWidth = halo;
    pen.lineJoin = "round";
    pen.strokeText(cut, px, py);
    pen.lineWidth = 1;
  }
  pen.fillText(cut, px, py);
}

const ROLE_PAINT = { leader: "leader", candidate: "candidate", "pre-candidate": "candidate", follower: "follower", booting: "booting" };
function drawMember(node) {
  const y = yOfNode(node), past = history.get(node);
  for (let i = 0; i < past.length; i++) {
    const { role, term, paused } = past[i].state;
    const same = (other) => other.role === role && other.term === term && Boolean(other.paused) === Boolean(paused);
    let next = i + 1;
    while (next < past.length && same(past[next].state)) next++;
    const begin = i === 0 ? -1e18 : past[i].at;
    const end = next < past.length ? past[next].at : 1e18;
    i = next - 1;
    const from = Math.max(LEFT, x(begin)), to = Math.min(view.width, x(end));
    if (to <= LEFT || from >= view.width) continue;
    if (role === "down" || role === "failed") {
      pen.strokeStyle = paint.down;
      pen.setLineDash([2, 4]);
      line(from, y, to, y);
      pen.setLineDash([]);
      if (to - from > 40) {
        pen.fillStyle = paint.down;
        clipped(role, from + 8, y - 9, to - from - 10);
      }
      continue;
    }
    pen.fillStyle = paint[ROLE_PAINT[role] ?? "follower"];
    pen.globalAlpha = paused ? 0.4 : 1;
    pen.fillRect(from, y - 4, Math.max(1, to - from), 8);
    pen.globalAlpha = 1;
    if (term) {
      pen.fillStyle = role === "leader" ? paint.leader : paint.soft;
      pen.strokeStyle = paint.panel;
      clipped(role === "follower" ? `t${term}` : `t${term} ${role}`, from + 3, y - 11, to - from - 4, 3);
    }
  }
}

function drawClients() {
  pen.font = "11px " + getComputedStyle(document.body).fontFamily;
  for (const o of operations) {
    const begin = o.line >= 0 ? o.at : view.from - 1, end = o.ended ? o.backAt : W.to_ns - W.from_ns;
    if (end < view.from || begin > view.to) continue;
    const y = yOfOp(o) + 1, from = Math.max(LEFT, x(begin)), to = Math.min(view.width, x(end));
    const isNamed = named.has("op" + o.op);
    const dim = !aboutKey(o) || (chosen.past && !inPast(o.call) && !inPast(o.answered));
    pen.globalAlpha = dim ? 0.16 : 1;
    pen.fillStyle = o.result === "ok" ? paint[o.writes ? "write-bar" : "read-bar"] : o.result === "refused" ? paint["refused-bar"] : paint["unknown-bar"];
    pen.fillRect(from, y, Math.max(2, to - from), OP_ROW - 2);
    if (isNamed) {
      pen.strokeStyle = paint.red;
      pen.lineWidth = 2;
      pen.strokeRect(from - 1, y - 1, Math.max(4, to - from + 2), OP_ROW);
    }
    if (to - from > 60 && !o.shared) {
      pen.fillStyle = o.result === "ok" && o.writes ? paint.panel : paint.ink;
      clipped(o.text, from + 4, y + 6, to - from - 6);
    } else if (isNamed && !dim) {
      pen.fillStyle = paint.red;
      clipped(`op${o.op} ${o.text}`, to + 6, y + 6, 240);
    }
    pen.globalAlpha = 1;
  }
  pen.lineWidth = 1;
  pen.font = "12px " + getComputedStyle(document.body).fontFamily;
}

// Two passes: what is dimmed lies below.
function drawMessages() {
  const inView = messages.filter((m) => isShown(m) && Math.max(m.at, ...m.ends.map((e) => e.at)) >= view.from && m.at <= view.to);
  // A wall of arrows tells nothing: the more there are, the fainter they get.
  const crowded = inView.length > 1500, plain = crowded ? Math.max(0.035, 450 / inView.length) : 0.9;
  for (const bright of [false, true]) {
    for (const m of inView) {
      const lit = keyOf(m) && (!chosen.past || m.came.some(inPast) || (m.ends.length === 0 && inPast(m.sent)));
      if (lit !== bright || (!lit && shown.onlyPast && chosen.past)) continue;
      const onChain = m.came.some((mark) => chosen.chain.has(mark)) || (m.sent && chosen.chain.has(m.sent));
      drawMessage(m, onChain ? 0.9 : lit ? plain : Math.min(0.12, plain / 3), onChain, crowded);
    }
  }
  pen.globalAlpha = 1;
  return crowded;
}

function drawMessage(m, alpha, strong, crowded) {
  const y1 = yOfNode(m.from), y2 = yOfNode(m.to), x1 = x(m.at);
  pen.strokeStyle = pen.fillStyle = paint[m.group];
  pen.globalAlpha = alpha;
  pen.lineWidth = strong ? 2.6 : chosen.hover?.m === m ? 2.2 : 1.1;
  const down = Math.sign(y2 - y1);
  if (m.ends.length === 0) {
    // It ends on its way, with a cross.
    const x2 = Math.max(x1 + 5, x(m.at + D.latency_ns * 0.35)), part = Math.min(1, 22 / Math.abs(y2 - y1));
    const ye = y1 + (y2 - y1) * part, xe = Math.min(x2, x1 + 16);
    line(x1, y1 + down * 4, xe, ye);
    pen.lineWidth = 1.4;
    line(xe - 3.5, ye - 3.5, xe + 3.5, ye + 3.5);
    line(xe - 3.5, ye + 3.5, xe + 3.5, ye - 3.5);
    return;
  }
  m.ends.forEach((end, copy) => {
    const x2 = x(end.at), ye = y2 - down * 5;
    pen.setLineDash(m.slow || copy > 0 ? [5, 4] : []);
    line(x1, y1 + down * 4, x2, ye);
    pen.setLineDash([]);
    if (!crowded) {
      const angle = Math.atan2(ye - y1, x2 - x1);
      pen.beginPath();
      pen.moveTo(x2, ye);
      pen.lineTo(x2 - 7 * Math.cos(angle - 0.38), ye - 7 * Math.sin(angle - 0.38));
      pen.lineTo(x2 - 7 * Math.cos(angle + 0.38), ye - 7 * Math.sin(angle + 0.38));
      pen.fill();
    }
  });
}

// What gets a sign of its own on a lane.
const SIGNS = { "fault.kill": "✕", "fault.power_loss": "✕", booted: "▲", elected: "★", fatal: "✕", refused: "✕", snapshot_installed: "■" };
function drawHappenings(crowded) {
  pen.textAlign = "center";
  for (const mark of marks) {
    if (mark.kind !== "event" || mark.at < view.from || mark.at > view.to) continue;
    const y = yOf(mark), px = x(mark.at);
    if (y === null || !mark.node) continue;
    pen.globalAlpha = inPast(mark) ? 1 : 0.25;
    const sign = SIGNS[mark.what];
    if (sign) {
      pen.fillStyle = sign === "✕" ? paint.red : paint.ink;
      pen.font = "bold 13px sans-serif";
      pen.fillText(sign, px, y + 13);
      pen.font = "12px " + getComputedStyle(document.body).fontFamily;
    } else if (!crowded && (mark.what === "applied" || mark.what === "appended")) {
      pen.fillStyle = mark.what === "applied" ? paint.ink : paint.append;
      pen.fillRect(px - 0.5, y + (mark.what === "applied" ? 0 : -4), 1.2, 4);
    }
  }
  pen.globalAlpha = 1;
  const failed = failing ? x(failing.at) : failureAt === null ? null : x(failureAt);
  if (failed !== null && failed >= LEFT && failed <= view.width) {
    pen.strokeStyle = pen.fillStyle = paint.red;
    pen.lineWidth = 1.5;
    line(failed, AXIS - 4, failed, view.height);
    pen.font = "600 12px " + getComputedStyle(document.body).fontFamily;
    pen.textAlign = failed > view.width - 90 ? "right" : "left";
    pen.fillText(D.verdict.what ?? "", failed + (pen.textAlign === "right" ? -13 : 13), AXIS + faultRows * FAULT_ROW + 6);
    pen.font = "12px " + getComputedStyle(document.body).fontFamily;
  }
}

function drawCursor() {
  for (const mark of chosen.chain) ring(mark, 1.4, paint.ink, 4);
  if (chosen.hover && chosen.hover !== chosen.mark) ring(chosen.hover, 1.5, paint.accent, 6);
  if (!chosen.mark) return;
  const px = x(chosen.mark.at);
  if (px >= LEFT) {
    pen.strokeStyle = paint.accent;
    pen.globalAlpha = 0.55;
    pen.setLineDash([3, 3]);
    line(px, AXIS, px, view.height);
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }
  ring(chosen.mark, 2.2, paint.accent, 7);
}
function ring(mark, width, colour, size) {
  const y = yOf(mark), px = x(mark.at);
  if (y === null || px < LEFT) return;
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.arc(px, y, size, 0, 7);
  pen.stroke();
}

function drawNames() {
  pen.clearRect(0, AXIS + faultRows * FAULT_ROW + 12, LEFT, view.height);
  pen.textAlign = "right";
  pen.font = "650 13px " + getComputedStyle(document.body).fontFamily;
  for (const node of visibleNodes()) {
    pen.fillStyle = named.has("n" + node) ? paint.red : paint.ink;
    pen.fillText("n" + node, LEFT - 10, yOfNode(node));
  }
  pen.font = "11px " + getComputedStyle(document.body).fontFamily;
  pen.fillStyle = paint.soft;
  for (const it of lanes) pen.fillText(it.name, LEFT - 10, clientsTop() + it.top + OP_ROW / 2);
}
