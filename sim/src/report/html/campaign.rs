//! A campaign as one page: what was run, how much it saw, what it never saw, what failed, and the gallery.

use serde_json::{Value, json};

use crate::explore::Summary;
use crate::explore::result::Group;

/// Points in the curve of what was come to.
const POINTS: usize = 240;
/// Characters of a failure's message.
const MESSAGE_MAX: usize = 400;

/// The page. `lacking` names parts that are not there, `unmet` is what no run came to; `gallery` are the lines of `mutants --format json`; `links` are files about a
/// failure, with words for them.
pub fn render(
    summary: &Summary,
    lacking: &[String],
    unmet: &[String],
    gallery: &[Value],
    links: &dyn Fn(&Group) -> Vec<(String, &'static str)>,
) -> String {
    let groups: Vec<Value> = (summary.groups().into_iter())
        .map(|group| {
            let message: String = group.message.chars().take(MESSAGE_MAX).collect();
            json!([group.signature, group.runs, group.again(), message, links(group)])
        })
        .collect();
    let rare: Vec<Value> = {
        let mut rare: Vec<_> = summary.seen().iter().collect();
        rare.sort_by_key(|(_, runs)| *runs);
        rare.into_iter().take(12).map(|(name, runs)| json!([name, runs])).collect()
    };
    let data = json!({
        "sums": summary.sums(), "groups": groups, "growth": summary.growth(POINTS), "lacking": lacking, "unmet": unmet, "rare": rare,
        "gallery": super::gallery::table(gallery),
    });
    let scripts = [super::BASE, include_str!("campaign.js")];
    super::page(include_str!("campaign.html"), super::STYLE, &scripts, "Campaign", &data)
}
