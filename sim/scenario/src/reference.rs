//! The reference of the language, generated from what the code accepts.

use crate::client::ClientKnobs;
use crate::cluster::{Clock, Cluster, Disk, Net};
use crate::defaults::DEFAULTS;
use crate::registry::{ArgKind, EVENTS, FUNCTIONS, PROBES};
use crate::section::KeyDoc;
use crate::swarm::Swarm;
use crate::verb;
use std::fmt::Write;

/// All sections, verbs, probes, events, functions and default expectations as Markdown.
pub fn markdown() -> String {
    let mut out = String::new();
    let sections = [
        ("cluster", Cluster::keys()),
        ("cluster.net", Net::keys()),
        ("cluster.disk", Disk::keys()),
        ("cluster.clock", Clock::keys()),
        ("client", ClientKnobs::keys()),
        ("swarm", Swarm::keys()),
    ];
    for (name, keys) in sections {
        put(&mut out, &format!("\n## `[{name}]`\n"));
        key_table(&mut out, &keys);
    }
    put(&mut out, "\n## Verbs\n");
    for verb in verb::docs() {
        let later = if verb.later { " *(not run yet)*" } else { "" };
        put(&mut out, &format!("\n### `{}`{later}\n\n{}\n", verb.verb, verb.doc));
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
