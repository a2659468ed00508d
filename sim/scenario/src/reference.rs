//! The reference of the language, generated from what the code accepts.

use crate::client::ClientKnobs;
use crate::cluster::{Clock, Cluster, Disk, Net};
use crate::defaults::{DEFAULTS, WHITE_BOX};
use crate::registry::{ArgKind, EVENTS, FUNCTIONS, PROBES};
use crate::section::KeyDoc;
use crate::swarm::Swarm;
use crate::verb;
use std::fmt::Write;

/// What no table says.
const HEAD: &str = "# The scenario language

Generated from the code; do not edit. One TOML file per story.

- It begins with `scn = 1`, `name`, `about`, and may `opt_out` of default expectations. Sections: `[cluster]`, `[matrix]`
  (parameters with lists of values; the cells are all combinations; a parameter named like a key of `[cluster]` sets it),
  `[seeds]` (`count`, `first`), `[run]` (`for`, `settle`), `[swarm]`, and any number of `[[client]]`, `[[step]]`, `[[expect]]`.
- A value may be given as a range `\"1ms..20ms\"` (both ends included) or as a choice `[a, b]`, drawn once per seed, the
  same in every cell. Where the tables say \"drawn for each …\", a range is drawn from again and again while the run
  goes on, and a choice of ranges is drawn once per seed.
- `settle` ends a run early: so long after `quiesce`, once every expectation that waits for something has seen it.
- A step has an optional `id` and `only`, one trigger (`at`; `after` an event, a verb or a step, with `delay`; `when` a
  condition or event, with `nth` and `delay`), `do` with the keys of its verb, and may `repeat = { every, times }`.
- An expect has an `id`, an optional `only`, and one kind: `always`, `never`, `within` + `after` + `that`, `at_end`,
  `sometimes` (+ `sometimes_too`), `ratio` + `at_least` | `at_most` | `between`, or `across` + `where` + `compare`. An
  expect named like a default expectation replaces it.
- Selectors: `n1`, `leader`, `follower`, `followers`, `others`, `all`, `any`, `random(2)`, `random(follower)`,
  `minority`, `self`, and names given by `bind`. Links: `a -> b`, `a -/- b`; `link.by` names a parameter, with one
  `link.VALUE` for each of its values.
- Expressions, weakest first: `unless` `while` `during`; `||`; `&&`; comparisons, `in [..]`, `subset`; `+ -`; `* /`;
  `!` and minus; `in 10s..60s` (a window), `from EVENT`, `on SELECTOR`. Parameters and plain settings of the cluster
  are names. In a comparison between cells, functions name the cells: `p50(true: time_to(leader) from restart)`.
";

/// All sections, verbs, probes, events, functions and default expectations as Markdown.
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    let sections = [
        ("cluster", Cluster::keys()),
        ("cluster.net", Net::keys()),
        ("cluster.disk", Disk::keys()),
        ("cluster.clock", Clock::keys()),
        ("client", ClientKnobs::keys()),
        ("swarm", Swarm::keys()),
    ];
    for (name, keys) in sections {
        put(&mut out, &format!("\n## `[{name}]`"));
        key_table(&mut out, &keys);
        if name == "client" {
            put(&mut out, &format!("\n### Operations\n\n{}", crate::ops::GRAMMAR));
        }
    }
    put(&mut out, "\n## Verbs");
    for verb in verb::docs() {
        put(&mut out, &format!("\n### `{}`\n\n{}", verb.verb, verb.doc));
        if !verb.keys.is_empty() {
            key_table(&mut out, &verb.keys);
        }
    }
    put(&mut out, "\n## Probes\n\n| Probe | Gives | Meaning |\n|---|---|---|");
    for probe in PROBES {
        let args: Vec<&str> = probe.args.iter().map(argument).collect();
        let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
        put(&mut out, &format!("| `{}{args}` | {} | {} |", probe.name, probe.kind.words(), probe.doc));
    }
    put(&mut out, "\n## Events\n\n| Event | Meaning |\n|---|---|");
    for event in EVENTS {
        let step = if event.of_step { "STEP." } else { "" };
        put(&mut out, &format!("| `{step}{}` | {} |", event.name, event.doc));
    }
    put(&mut out, "\n## Functions\n\n| Function | Meaning |\n|---|---|");
    for (name, _, doc) in FUNCTIONS {
        put(&mut out, &format!("| `{name}` | {doc} |"));
    }
    put(&mut out, "\n## Default expectations\n\n| Name | Expectation | Meaning |\n|---|---|---|");
    for default in DEFAULTS {
        put(&mut out, &format!("| `{}` | {} `{}` | {} |", default.name, default.kind, default.text, default.doc));
    }
    let inside: Vec<String> =
        DEFAULTS.iter().filter(|default| default.inside).map(|default| format!("`{}`", default.name)).collect();
    put(&mut out, &format!("| `{WHITE_BOX}` | | all that look inside members: {} |", inside.join(", ")));
    out
}

fn argument(kind: &ArgKind) -> &'static str {
    match kind {
        ArgKind::Nodes => "members",
        ArgKind::Clients => "client",
        ArgKind::Word(words) | ArgKind::NeededWord(words) => words.first().copied().unwrap_or_default(),
    }
}

fn key_table(out: &mut String, keys: &[KeyDoc]) {
    put(out, "\n| Key | Value | Default | Meaning |\n|---|---|---|---|");
    for key in keys {
        let default = match (key.needed, key.default.as_str()) {
            (true, _) => "*needed*".to_owned(),
            (false, "") => String::new(),
            (false, default) => format!("`{default}`"),
        };
        put(out, &format!("| `{}` | {} | {default} | {} |", key.key, key.kind, key.doc));
    }
}

fn put(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes everything");
}
