//! One run as one page: a self-contained HTML file that needs no network and no other file.
//!
//! - [`campaign`]: the other page, of many runs.
//! - [`model`]: what the trace means.
//! - [`data`]: the part of it that the page shows, packed.
//! - [`search`], [`twin`]: what could have been otherwise, and the nearest run in which it was.
//! - `words`: events in words.
//!
//! The page itself is `page.html`, `style.css` and the scripts beside them; everything it shows is one JSON object in
//! it. Its promise: it opens from disk, stays under 5 MB, and asks nobody for anything.

pub mod campaign;
pub mod data;
mod gallery;
pub mod model;
pub mod search;
pub mod twin;
pub mod words;

use serde_json::{Value, json};

use self::model::understand;
use super::trace::Line;
use super::{RunReport, Verdict};
use crate::repro::story::promise;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const BASE: &str = include_str!("base.js");
const SCRIPTS: &[&str] = &[
    BASE,
    include_str!("data.js"),
    include_str!("cause.js"),
    include_str!("draw.js"),
    include_str!("diagram.js"),
    include_str!("panels.js"),
    include_str!("main.js"),
];

/// What a page is made from.
pub struct Source<'a> {
    /// What came of the run.
    pub report: &'a RunReport,
    /// Its trace.
    pub trace: &'a [Line],
    /// The scenario as it was played, everything drawn.
    pub scenario: &'a str,
    /// Its name and what it is about.
    pub about: (&'a str, &'a str),
    /// The command that plays it again.
    pub command: &'a str,
    /// The story, in sentences.
    pub story: &'a [String],
    /// The usual latency of a message at most, in nanoseconds.
    pub latency_ns: u64,
    /// What is known about the program, by name.
    pub build: &'a [(&'static str, String)],
    /// The nearest passing run, and how it was looked for; null when nobody looked.
    pub twin: Value,
    /// How likely the failure was at points in time; null when nobody looked.
    pub curve: Value,
}

/// The page.
pub fn render(source: &Source<'_>) -> String {
    let model = understand(source.trace);
    let report = source.report;
    let (name, about) = source.about;
    let verdict = match &report.verdict {
        Verdict::Pass => json!({"kind": "pass"}),
        Verdict::Violation { what, at_ns, message, .. } => {
            json!({"kind": "violation", "what": what, "at_ns": at_ns, "message": message, "promise": promise(what)})
        }
        Verdict::Panic { message, at_ns, .. } => {
            json!({"kind": "panic", "what": "panic", "at_ns": at_ns, "message": message})
        }
        Verdict::Error { message } => json!({"kind": "error", "what": "error", "message": message}),
    };
    let data = json!({
        "name": name,
        "about": about,
        "file": report.file,
        "cell": report.cell,
        "seed": report.seed,
        "command": source.command,
        "verdict": verdict,
        "story": source.story,
        "scenario": source.scenario,
        "latency_ns": source.latency_ns,
        "run": {
            "simulated_ns": report.simulated_ns, "cpu_ns": report.cpu_ns, "memory_bytes": report.memory_bytes,
            "events": report.chain.events, "hash": report.chain.hash,
        },
        "build": source.build.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
        "outcomes": report.outcomes,
        "counters": report.counters,
        "overview": data::overview(&model),
        "window": data::pack(&model),
        "twin": source.twin,
        "curve": source.curve,
    });
    page(PAGE, STYLE, SCRIPTS, &format!("{name} seed {}", report.seed), &data)
}

/// Puts a page together. Nothing in the data can end the element that holds it.
fn page(page: &str, style: &str, scripts: &[&str], title: &str, data: &Value) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let data = data.to_string().replace('<', "\\u003c");
    let script = format!("(() => {{\n\"use strict\";\n{}\n}})();", scripts.join("\n"));
    let mut out = String::with_capacity(data.len() + script.len() + style.len() + page.len());
    let mut rest = page;
    for (mark, text) in
        [("{{title}}", &title), ("{{style}}", &style.to_owned()), ("{{data}}", &data), ("{{script}}", &script)]
    {
        let (before, after) = rest.split_once(mark).expect("the page has every mark, in this order");
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_the_element_that_holds_it() {
        let data = json!({"text": "</script><script>alert(1)</script>"});
        let text = page("{{title}}|{{style}}|{{data}}|{{script}}", "", &[""], "a<b", &data);
        assert!(!text.contains("</script>"), "{text}");
        assert!(text.starts_with("a&lt;b|"), "{text}");
    }
}
