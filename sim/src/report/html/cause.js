// What happened before what: along a lane, from sending to arriving, from asking to what was asked, from a member to
// the answers it gave.
const CLIENT_WAY_NS = 200e3; // No message of a client travels faster.

const before = [];
{
  const last = new Map();
  const firstOf = new Set();
  for (const mark of marks) {
    const from = [];
    const on = lane(mark);
    if (last.has(on)) from.push(last.get(on));
    if (mark.kind === "arrive" && mark.m.sent) from.push(mark.m.sent.i);
    for (const op of mark.m?.ops ?? mark.ops ?? []) {
      const call = opByNumber.get(op)?.call;
      if (call && !firstOf.has(op) && call.i < mark.i) {
        firstOf.add(op);
        from.push(call.i);
      }
    }
    if (mark.kind === "return" && (mark.o.result === "ok" || mark.o.result === "refused")) {
      const answerer = answeredAt(mark);
      if (answerer !== null) from.push(answerer);
    }
    // What an oracle says rests on everything.
    if (mark.what === "violation") from.push(...restsOn(mark));
    before.push(from);
    if (on !== "run") last.set(on, mark.i);
  }
  function answeredAt(mark) {
    for (let i = mark.i - 1; i >= 0; i--) {
      const other = marks[i];
      if (other.at + CLIENT_WAY_NS > mark.at) continue;
      if (mark.o.call && i < mark.o.call.i) return null;
      if (other.node === mark.o.node && other.client === undefined) return i;
    }
    return null;
  }
  // The operations that its message names, else the members, else what was before.
  function restsOn(mark) {
    const found = [];
    for (const o of operations) {
      if (named.has("op" + o.op)) found.push(...[o.answered, o.call].filter((end) => end && end.i < mark.i).map((end) => end.i));
    }
    if (found.length) return found;
    for (const node of NODES) if (named.has("n" + node) && last.has("n" + node)) found.push(last.get("n" + node));
    return found.length || mark.i === 0 ? found : [mark.i - 1];
  }
}

// Every mark that can have influenced the one given, as flags by place.
function pastOf(mark) {
  const flags = new Uint8Array(marks.length);
  const open = [mark.i];
  flags[mark.i] = 1;
  while (open.length) {
    for (const i of before[open.pop()]) {
      if (!flags[i]) {
        flags[i] = 1;
        open.push(i);
      }
    }
  }
  return flags;
}

// The most recent word from elsewhere, and the one before that, and so on.
function chainOf(mark, most) {
  const chain = [mark];
  let at = mark.i;
  while (chain.length < most) {
    let step = at, remote = null;
    while (remote === null) {
      const from = before[step];
      const here = lane(marks[step]);
      const elsewhere = from.filter((i) => lane(marks[i]) !== here || (marks[step].what === "violation"));
      if (elsewhere.length) {
        remote = Math.max(...elsewhere);
        if (step !== at) chain.push(marks[step]);
      } else if (from.length) {
        step = from[0];
      } else {
        return chain;
      }
    }
    chain.push(marks[remote]);
    at = remote;
  }
  return chain.slice(0, most);
}
