// What stands beside the diagram: the selected event, its neighbours, the members, the twin, the curve, the facts.
function link(text, does) {
  const made = element("button", text, "link");
  made.type = "button";
  made.addEventListener("click", does);
  return made;
}
function details(mark) {
  const { m, o } = mark;
  const parts = [seconds(mark.at), "event " + eventNumber(mark.line)];
  if (m) {
    if (m.term) parts.push("term " + m.term);
    if (m.ends.length) parts.push("under way " + span(m.ends[0].at - m.at) + (m.slow ? ", slow" : ""));
    if (m.ends.length > 1) parts.push("arrives twice");
    if (!m.ends.length) parts.push(lostWord(m));
  }
  if (o && o.ended && o.line >= 0) parts.push("took " + span(o.backAt - o.at));
  if (o?.local) parts.push("serializable");
  return parts.join(" · ");
}

function showSelected() {
  const panel = $("selected"), mark = chosen.mark;
  if (!mark) {
    panel.replaceChildren(element("p", "Nothing is selected. A click on an arrow, a bar or a sign shows what it is and marks everything that can have led to it.", "soft"));
    $("near").replaceChildren();
    showStrip(failing ?? marks[marks.length - 1]);
    return;
  }
  const title = element("h3", [lane(mark) + " " + (mark.what === "violation" ? "— the failure" : kindWord(mark))]);
  const what = element("p", words(mark), mark.what === "violation" ? "what red" : "what");
  const list = element("ul", "", "chain");
  for (const one of chainOf(mark, 8)) {
    const said = one === mark ? element("span", "this event", "soft") : words(one);
    const go = link([element("span", seconds(one.at) + "  ", "mono soft"), element("b", lane(one) + " "), said], () => {
      choose(one);
      bringIntoView(one);
    });
    list.append(element("li", go));
  }
  const count = chosen.past ? chosen.past.reduce((sum, flag) => sum + flag, 0) - 1 : 0;
  const past = chosen.past ? ` — ${count.toLocaleString("en")} events can have influenced it, the others are dimmed` : "";
  panel.replaceChildren(title, element("p", details(mark), "soft num"), what,
    element("p", [element("b", "How word came to it"), element("span", past, "soft")], "how"), list);
  showNear(mark);
  showStrip(mark);
}
const kindWord = (mark) => ({ send: "sends", arrive: "receives", call: "asks", return: "gets its answer" })[mark.kind] ?? mark.what.replaceAll("_", " ");

function showNear(mark) {
  const rows = [];
  const take = (direction, most) => {
    const found = [];
    for (let i = mark.i + direction; i >= 0 && i < marks.length && found.length < most; i += direction) {
      const other = marks[i];
      if (other.m && !shown.groups.has(other.m.group)) continue;
      if (["committed", "durable", "draws", "watching"].includes(other.what) && other.node !== mark.node) continue;
      found.push(other);
    }
    return found;
  };
  for (const one of [...take(-1, 9).reverse(), mark, ...take(1, 6)]) {
    const go = () => { choose(one); bringIntoView(one); };
    const said = one === mark ? words(one) : link(words(one), go);
    const row = element("tr", [element("td", seconds(one.at), "t"), element("td", lane(one)), element("td", said)]);
    row.classList.toggle("here", one === mark);
    row.classList.toggle("bad", one.what === "violation");
    row.addEventListener("click", (event) => { if (!event.target.closest("button")) go(); });
    rows.push(row);
  }
  const near = $("near");
  near.replaceChildren(element("table", element("tbody", rows)));
  const here = near.querySelector(".here");
  near.scrollTop = here.offsetTop - (near.clientHeight - here.offsetHeight) / 2;
}

const COLUMNS = [["role", "role"], ["term", "term"], ["vote", "voted"], ["leader", "leader"], ["last", "log ends"], ["durable", "on disk"], ["commit", "commit"],
  ["applied", "applied"], ["revision", "revision"], ["state", "state's hash"], ["checkpoint", "checkpoint"], ["storage", "storage level"], ["disk", "disk"]];
function showStrip(mark) {
  if (!mark) return;
  const used = COLUMNS.filter(([name]) => NODES.some((node) => ![undefined, ""].includes(stateBefore(node, mark.i)[name])));
  const head = element("tr", [element("th", "at " + seconds(mark.at)), ...used.map(([, title]) => element("th", title))]);
  const rows = NODES.map((node) => {
    const now = stateBefore(node, mark.i), was = stateBefore(node, mark.i - 1);
    const name = element("th", "n" + node);
    name.scope = "row";
    const cells = used.map(([key]) => {
      const cell = element("td");
      const value = told(key, now), old = told(key, was);
      if (key === "role") {
        const spot = element("span", "", "role");
        spot.style.background = `var(--${ROLE_PAINT[now.role] ?? (now.role === "follower" ? "follower" : "down")})`;
        cell.append(spot);
      }
      if (value !== old) {
        cell.className = "changed";
        cell.append(element("del", (old || "–") + " → "));
      }
      cell.append(value || "–");
      return cell;
    });
    const row = element("tr", [name, ...cells]);
    row.classList.toggle("here", node === mark.node);
    return row;
  });
  $("strip").replaceChildren(element("table", [element("thead", head), element("tbody", rows)]));
}
function told(key, state) {
  const value = state[key];
  if (key === "role") return (value ?? "") + (state.paused ? ", paused" : "");
  if (value === undefined || value === null || value === "") return "";
  if (key === "last") return `i${value}` + (state.last_term ? `@t${state.last_term}` : "");
  if (key === "leader" || key === "vote") return value ? "n" + value : "";
  if (["durable", "commit", "applied", "checkpoint"].includes(key)) return "i" + value;
  return key === "revision" ? "r" + value : String(value);
}

function showVerdict() {
  const { verdict } = D, box = $("verdict"), failed = verdict.kind !== "pass";
  box.classList.toggle("failed", failed);
  const word = element("span", failed ? "Failed" : "Passed", "word");
  const what = failed ? [word, ` — ${verdict.what}`, verdict.at_ns === undefined ? "" : ` at ${(verdict.at_ns / 1e9).toFixed(6)} s`] : [word];
  const run = `${D.name}${D.cell ? ` (${D.cell})` : ""}, seed ${D.seed}`;
  const copy = element("button", "Copy", "");
  copy.id = "copy";
  copy.title = "Copy the command";
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(D.command);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(box.querySelector("code"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  box.replaceChildren(
    element("p", run, "soft"), element("h1", what),
    ...(verdict.promise ? [element("p", ["The promise that is broken: ", verdict.promise, "."])] : []),
    ...(verdict.message ? messageOf(verdict.message) : [element("p", D.about, "soft")]),
    element("div", [element("code", D.command), copy], "command"),
  );
}

// In a reader's words first; as the program said it, if that is longer.
function messageOf(message) {
  const short = tidy(message), said = element("p", short, "message");
  if (message.length < short.length + 60) return [said];
  return [said, element("details", [element("summary", "as the program said it", "soft"), element("p", message, "message")])];
}

function showStory() {
  const list = $("story");
  for (const [place, sentence] of D.story.entries()) {
    const found = /^(?:At )?(\d+(?:\.\d+)?) ?s\b/.exec(sentence);
    const go = element("button", tidy(sentence)), at = found && Number(found[1]) * 1e9 - W.from_ns;
    if (found && (at < -1e6 || at > WHOLE[1] + 1e6)) {
      go.disabled = true;
      go.title = "This page does not hold that part of the run.";
    }
    go.addEventListener("click", () => {
      if (!found) return toFailure();
      const mark = storyMark(at, sentence);
      if (mark) {
        choose(mark, true);
        lookAround(mark, 60);
        $("diagram-section").scrollIntoView({ behavior: "smooth", block: "nearest" });
      }
    });
    const item = element("li", element("span", go));
    item.classList.toggle("last", D.verdict.kind !== "pass" && place === D.story.length - 1);
    list.append(item);
  }
  $("story-section").hidden = D.story.length === 0;
}
// The mark at this moment that a sentence is most likely about.
function storyMark(at, sentence) {
  const op = /\bop(\d+)\b/.exec(sentence), o = op && opByNumber.get(Number(op[1]));
  if (o) return o.call ?? o.answered;
  const node = /\bn(\d+)\b/.exec(sentence);
  let best = null, least = Infinity;
  for (const mark of marks) {
    const far = Math.abs(mark.at - at) + (node && mark.node === Number(node[1]) ? 0 : 1e5) + (mark.kind === "event" ? 0 : 2e5);
    if (far < least) [best, least] = [mark, far];
  }
  return best;
}

function showTwin() {
  const twin = D.twin;
  if (!twin) return;
  $("twin-section").hidden = false;
  const box = $("twin");
  if (!twin.found) {
    box.append(element("p", `None was found in the time given: ${twin.tried} ${twin.tried === 1 ? "change was" : "changes were"} tried, one at a time, and no such run passes; ${twin.same} failed the same way.`));
    return;
  }
  box.append(element("p", [element("b", twin.change), `. That alone makes the run pass; ${twin.tried} ${twin.tried === 1 ? "change was" : "changes were"} tried. The two runs are the same up to event ${twin.event}, at ${(twin.at_ns / 1e9).toFixed(6)} s; the first difference is marked.`]));
  const side = (title, rows) => {
    const body = rows.map(([at, text], i) => {
      const row = element("tr", [element("td", (at / 1e9).toFixed(6) + " s", "num"), element("td", text)]);
      row.classList.toggle("first", i === twin.same);
      return row;
    });
    return element("div", [element("h3", title), element("table", element("tbody", body))], "panel");
  };
  box.append(element("div", [side("This run fails", twin.failing), side("Its twin passes", twin.passing)], "pair"));
  const go = element("button", "Show this moment in the diagram");
  go.addEventListener("click", () => {
    const mark = lastBefore(twin.at_ns - W.from_ns);
    if (mark) {
      choose(mark);
      lookAround(mark, 50);
      $("diagram-section").scrollIntoView({ behavior: "smooth" });
    }
  });
  box.append(element("p", go));
}

function showCurve() {
  const curve = D.curve;
  if (!curve || curve.points.length === 0) return;
  $("curve-section").hidden = false;
  const each = curve.points[0][2];
  const text = `From ${curve.points.length} moments of the run, every later choice was drawn anew, ${each} times each (${curve.replays} replays): which share of these runs fails like this one. `;
  const box = $("curve");
  box.append(element("p", text + (curve.turn_ns === null ? "" : `Between ${(curve.turn_ns[0] / 1e9).toFixed(3)} s and ${(curve.turn_ns[1] / 1e9).toFixed(3)} s it becomes likely: look there.`)));
  if (curve.ends) box.append(element("p", curve.ends));
  const chart = element("div");
  box.append(chart);
  onWidth(chart, (width) => drawCurve(curve, width));
}

function drawCurve(curve, width) {
  const height = 190, left = 46, bottom = 26, top = 12, ticks = width < 600 ? 3 : 6;
  const end = Math.max(...curve.points.map(([at]) => at), D.verdict.at_ns ?? 0) || 1;
  const begin = Math.min(...curve.points.map(([at]) => at), 0);
  const px = (at) => left + ((at - begin) / (end - begin)) * (width - left - 14), py = (share) => top + (1 - share) * (height - top - bottom);
  const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Share of continuations that fail, over time" });
  for (const share of [0, 0.5, 1]) {
    chart.append(svg("line", { x1: left, x2: width - 14, y1: py(share), y2: py(share), stroke: "var(--line)" }),
      svg("text", { x: left - 8, y: py(share) + 4, "text-anchor": "end", fill: "var(--soft)", "font-size": 12 }, share * 100 + " %"));
  }
  for (let i = 0; i <= ticks; i++) {
    const at = begin + ((end - begin) * i) / ticks;
    chart.append(svg("text", { x: px(at), y: height - 8, "text-anchor": i === ticks ? "end" : "middle", fill: "var(--soft)", "font-size": 12 }, (at / 1e9).toFixed(2) + " s"));
  }
  const share = ([, failed, runs]) => failed / Math.max(1, runs);
  const steps = curve.points.map((p, i) => `${i ? "L" : "M"}${px(p[0])} ${py(share(p))}`).join("");
  chart.append(svg("path", { d: `${steps}L${px(curve.points.at(-1)[0])} ${py(0)}L${px(curve.points[0][0])} ${py(0)}Z`, fill: "var(--fault-wash)" }),
    svg("path", { d: steps, fill: "none", stroke: "var(--red)", "stroke-width": 2 }));
  if (D.verdict.at_ns !== undefined) chart.append(svg("line", { x1: px(D.verdict.at_ns), x2: px(D.verdict.at_ns), y1: top, y2: height - bottom, stroke: "var(--red)", "stroke-dasharray": "4 3" }));
  for (const p of curve.points) {
    const dot = svg("circle", { cx: px(p[0]), cy: py(share(p)), r: 4.5, fill: "var(--panel)", stroke: "var(--red)", "stroke-width": 2, tabindex: 0, role: "button", style: "cursor:pointer",
      "aria-label": `${(p[0] / 1e9).toFixed(3)} s: ${p[1]} of ${p[2]} fail` }, svg("title", {}, `${(p[0] / 1e9).toFixed(3)} s: ${p[1]} of ${p[2]} fail`));
    const go = () => {
      const mark = lastBefore(p[0] - W.from_ns);
      if (mark) {
        choose(mark);
        lookAround(mark, 50);
        $("diagram-section").scrollIntoView({ behavior: "smooth" });
      }
    };
    dot.addEventListener("click", go);
    dot.addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
    chart.append(dot);
  }
  return chart;
}

function showFacts() {
  const table = (title, rows) => element("div", [element("h3", title), element("table", element("tbody",
    rows.map(([name, value]) => element("tr", [element("td", name), element("td", value, "num")]))))], "panel");
  const size = (bytes) => (bytes / 2 ** 20).toFixed(0) + " MiB";
  const run = [["file", D.file], ["seed", String(D.seed)], ["simulated", (D.run.simulated_ns / 1e9).toFixed(3) + " s"], ["core time", span(D.run.cpu_ns)],
    ["memory", size(D.run.memory_bytes)], ["events", D.run.events.toLocaleString("en")], ["hash", D.run.hash], ...D.build];
  if (isPart) run.push(["on this page", `${W.lines.toLocaleString("en")} lines of the trace, from ${seconds(0, 3)} to ${seconds(WHOLE[1], 3)}`]);
  const outcome = (value) => (typeof value === "string" ? value : Object.keys(value)[0].replace("_", " ") + (value.violated ? ": " + value.violated.message : ""));
  const count = (prefix) => Object.entries(D.counters).filter(([name]) => name.startsWith(prefix) && (prefix || !name.includes(" ")))
    .map(([name, value]) => [name.slice(prefix.length), value.toLocaleString("en")]);
  const box = element("div", [table("Environment", run), table("Expectations", D.outcomes.map(([id, value]) => [id, outcome(value)])),
    table("Events", [...count(""), ...count("event ")]), table("Points passed in the code", count("point "))], "facts");
  const scenario = element("details", [element("summary", "The scenario as it was played, everything drawn"), element("pre", D.scenario)]);
  box.append(element("div", scenario, "panel wide"));
  $("facts").append(box);
}
