// The run, unpacked: marks in order, each at a member's or client's lane.
const D = JSON.parse(document.getElementById("data").textContent);
const W = D.window;
const T = W.texts;
// Long runs are shown in part.
const isPart = W.skipped > 0 || W.to_ns < D.overview.end_ns;
const NODES = D.overview.nodes;

// Kinds of messages a reader tells apart, and what belongs to them.
const GROUPS = [
  ["vote", "elections", ["vote", "vote answer", "pre-vote", "pre-vote answer", "take over"]],
  ["append", "entries", ["append"]],
  ["answer", "entries' answers", ["accepted", "rejected"]],
  ["propose", "proposals", ["propose"]],
  ["read", "reads", ["read", "read answer"]],
  ["snapshot", "snapshots", ["snapshot", "snapshot piece", "snapshot taken"]],
  ["heartbeat", "heartbeats", ["heartbeat", "heartbeat answer", "append, empty"]],
  ["other", "questions", ["question", "answer", "query", "unknown"]],
];
const groupOf = new Map(GROUPS.flatMap(([id, , says]) => says.map((say) => [say, id])));

const messages = W.messages.map(([line, at, from, to, say, fate, term, text, arrivals, ops]) => {
  const m = { line, at, from, to, say: T[say], fate: T[fate], term, text: T[text], ops, ends: [] };
  for (let i = 0; i < arrivals.length; i += 2) m.ends.push({ line: arrivals[i], at: arrivals[i + 1] });
  m.group = groupOf.get(m.say) ?? "other";
  m.slow = m.ends.length > 0 && m.ends[0].at - at > 1.6 * D.latency_ns;
  return m;
});
const operations = W.operations.map(([op, line, at, client, node, text, keys, back, backAt, result, answer, revision, local]) => ({
  op, line, at, client, node, text: T[text], keys: keys.map((key) => T[key]), back, backAt, result: T[result], answer: T[answer],
  revision, local, ended: back >= 0, writes: /^(put|delete|txn|compact|grant|revoke)/.test(T[text]),
}));
const opByNumber = new Map(operations.map((o) => [o.op, o]));
const CLIENTS = [...new Set(operations.map((o) => o.client))].sort((a, b) => a - b);

// Operations, members and revisions that the failure names.
const named = new Set((D.verdict.message ?? "").match(/\b(?:op|n|r|i|t|lease|watch)\d+\b/g) ?? []);

// A client may wait for several answers: each has a row of its own then.
const DEEPEST = 4, OTHERS_DEEPEST = 6;
function placeRows(own, deepest) {
  const ends = [], lasts = [];
  for (const o of own) {
    o.shared = false;
    let row = ends.findIndex((end) => end <= o.at);
    if (row < 0) row = Math.min(ends.length, deepest - 1);
    // The last row takes all the rest: where bars lie on each other, their words would, too.
    const below = lasts[row];
    if (below && ends[row] > o.at) o.shared = below.shared = true;
    lasts[row] = o;
    ends[row] = Math.max(ends[row] ?? 0, o.ended ? o.backAt : Infinity);
    o.row = row;
  }
  return Math.max(1, ends.length);
}

// So many rows of operations and the members fit on one screen. Clients beyond them share a lane, unless the failure names an
// operation of theirs, until somebody asks for each.
const CLIENT_ROWS_MAX = 36;
function clientLanes(isFolded) {
  const each = CLIENTS.map((client) => {
    const own = operations.filter((o) => o.client === client);
    return { name: "c" + client, own, depth: placeRows(own, DEEPEST), isNamed: own.some((o) => named.has("op" + o.op)) };
  });
  if (!isFolded) return each;
  let left = CLIENT_ROWS_MAX;
  const kept = new Set([...each].sort((a, b) => b.isNamed - a.isNamed).filter((lane) => (left -= lane.depth) >= 0));
  if (kept.size + 1 >= each.length) return each;
  const others = new Set(each.filter((lane) => !kept.has(lane)).flatMap((lane) => lane.own));
  const own = operations.filter((o) => others.has(o));
  return [...each.filter((lane) => kept.has(lane)), { name: "others", own, depth: placeRows(own, OTHERS_DEEPEST) }];
}

// Every point in time that something has: sending, arriving, calling, returning, happening.
const marks = [];
for (const m of messages) {
  if (m.line >= 0) m.sent = push({ kind: "send", line: m.line, at: m.at, node: m.from, m });
  m.came = m.ends.map((end) => push({ kind: "arrive", line: end.line, at: end.at, node: m.to, m }));
}
for (const o of operations) {
  if (o.line >= 0) o.call = push({ kind: "call", line: o.line, at: o.at, client: o.client, o });
  if (o.ended) o.answered = push({ kind: "return", line: o.back, at: o.backAt, client: o.client, o });
}
for (const [line, at, node, kind, text, ops, change] of W.happenings) {
  push({ kind: "event", line, at, node, what: T[kind], text: T[text], ops, change });
}
function push(mark) {
  marks.push(mark);
  return mark;
}
marks.sort((a, b) => a.line - b.line);
marks.forEach((mark, i) => { mark.i = i; });

// The number of an event in the whole run: asides have none of their own.
const asides = [];
W.asides.reduce((before, step) => (asides.push(before + step), before + step), 0);
function eventNumber(line) {
  let low = 0, high = asides.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (asides[middle] <= line) low = middle + 1; else high = middle;
  }
  return W.first + line - low;
}

// What fails.
const failure = marks.find((mark) => mark.what === "violation") ?? null;
const failureAt = D.verdict.at_ns === undefined ? null : D.verdict.at_ns - W.from_ns;
const failing = failure ?? (failureAt === null ? null : lastBefore(failureAt));

function lastBefore(at) {
  let found = null;
  for (const mark of marks) if (mark.at <= at) found = mark;
  return found;
}

// The state of each member after each of its marks that changed something.
const history = new Map(NODES.map((node) => [node, [{ i: -1, state: { role: "down", ...(W.states[node] ?? {}) } }]]));
for (const mark of marks) {
  if (mark.kind !== "event" || !history.has(mark.node) || Object.keys(mark.change).length === 0) continue;
  const past = history.get(mark.node);
  past.push({ i: mark.i, at: mark.at, state: { ...past[past.length - 1].state, ...mark.change } });
}
function stateBefore(node, i) {
  const past = history.get(node);
  let low = 0, high = past.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (past[middle].i <= i) low = middle; else high = middle - 1;
  }
  return past[low].state;
}

// Words.
const seconds = (ns, digits = 6) => ((ns + W.from_ns) / 1e9).toFixed(digits) + " s";
function lane(mark) {
  if (mark.client !== undefined) return "c" + mark.client;
  return mark.node ? "n" + mark.node : (mark.what ?? "").startsWith("watch") ? "watch" : "run";
}
function words(mark) {
  const { m, o } = mark;
  switch (mark.kind) {
    case "send": return `sends n${m.to} ${said(m)}` + (m.ends.length ? "" : ` (${lostWord(m)})`);
    case "arrive": return `gets from n${m.from} ${said(m)}`;
    case "call": return `asks n${o.node}: ${o.text} (op${o.op})`;
    case "return": return `op${o.op} ${o.result === "ok" ? "is told" : "ends"}: ${o.answer}`;
    default: return tidy(mark.text);
  }
}
// A vote is about its term.
function said(m) {
  return m.say + (m.group === "vote" && m.say !== "take over" ? ` (term ${m.term})` : "") + (m.text && ": " + m.text);
}
function lostWord(m) {
  return { lost: "lost", cut: "the link is cut", dead: "nobody there", full: "no room" }[m.fate] ?? "under way at the end";
}
