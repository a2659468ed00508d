//! What a step of the script does, in words: with the members it meant when it was played, not the words that chose them.

use evenkeel_scenario::Nanos;

use super::story::duration;

/// A length of time is told as it was written when it is as short as `1255ms`; one that was drawn has more digits.
const WRITTEN_MAX: usize = 6;
/// So many members are named one by one.
const MEMBERS_MAX: usize = 4;

/// The arguments of a step, as the event log has them: `node = "leader", for = "2s"`.
struct Arguments<'a> {
    text: &'a str,
    /// What each selector meant.
    chosen: &'a [(&'a str, &'a str)],
}

/// A step as the end of a sentence that begins with the moment. `chosen`: selectors, and the members they meant then.
pub fn in_words(verb: &str, arguments: &str, chosen: &[(&str, &str)]) -> String {
    let given = Arguments { text: arguments, chosen };
    let hold = given.told("for", ", for ");
    let kinds = given.of("match").map_or_else(String::new, |kinds| format!(" ({kinds})"));
    let link = || given.link();
    let (node, are) = given.members("node");
    let s = if are { "" } else { "s" };
    match verb {
        "cut" => format!("messages are lost {}{kinds}{hold}", link()),
        "slow" => {
            let more = given.of("add").map_or_else(|| "much".to_owned(), lasting);
            format!("messages take {more} longer {}{kinds}{hold}", link())
        }
        "drop" => format!("{} of the messages are lost {}{kinds}{hold}", given.share(), link()),
        "dup" => format!("{} of the messages come twice {}{kinds}{hold}", given.share(), link()),
        "reorder" => format!("{} of the messages are overtaken {}{kinds}{hold}", given.share(), link()),
        "reset" => format!("connections break {}", link()),
        "pause" => format!("{node} stand{s} still{hold}"),
        "stop" => format!("{node} stop{s} for good"),
        "stall" => {
            let point = given.of("point").unwrap_or("a point");
            format!("{node} wait{s} at `{point}`{} each time{hold}", given.told("by", " for "))
        }
        "disk" if given.of("wiped") == Some("true") => format!("{node} lose{s} all that is on disk"),
        "disk" => format!("the disk of {node} {}{hold}", given.disk()),
        "clock" => format!("the clock of {node} {}{hold}", given.clock()),
        "swizzle" => {
            format!("{node} {} cut off one by one, and joined again one by one", if are { "are" } else { "is" })
        }
        "attrition" => format!("{node} {} restarted again and again{hold}", if are { "are" } else { "is" }),
        "member" => given.change(),
        "roll" => format!("the members change to release {}, one by one", given.of("to").unwrap_or("another")),
        "downgrade" => {
            let to = given.told("to", " to ");
            format!("an operator asks for a downgrade{to} ({})", given.of("action").unwrap_or("enable"))
        }
        "defrag" => format!("{node} {} asked to defragment", if are { "are" } else { "is" }),
        "quiesce" => "all faults end".to_owned(),
        "compact" => "history is compacted".to_owned(),
        "transfer" => format!("leadership is to go to {}", given.members("to").0),
        "mark" if given.of("name") == Some("left out") => "this step is left out".to_owned(),
        "mark" => format!("the script comes to its mark `{}`", given.of("name").unwrap_or_default()),
        _ if arguments.is_empty() => format!("the script does `{verb}`"),
        _ => format!("the script does `{verb}` ({arguments})"),
    }
}

impl<'a> Arguments<'a> {
    fn of(&self, name: &str) -> Option<&'a str> {
        let mut parts = self.text.split(", ").filter_map(|part| part.split_once(" = "));
        parts.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
    }

    fn told(&self, name: &str, before: &str) -> String {
        self.of(name).map_or_else(String::new, |value| format!("{before}{}", lasting(value)))
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.of(name)?.parse().ok()
    }

    /// The members that a selector meant.
    fn meant(&self, selector: &'a str) -> Vec<&'a str> {
        let members = self.chosen.iter().find(|(one, _)| *one == selector).map_or(selector, |(_, members)| *members);
        members.split(' ').filter(|word| !word.is_empty()).collect()
    }

    fn members(&self, name: &str) -> (String, bool) {
        self.of(name).map_or_else(|| ("a member".to_owned(), false), |selector| listed(&self.meant(selector)))
    }

    fn link(&self) -> String {
        let text = self.of("link").unwrap_or("all links");
        let between = text.split_once("-/-").map(|sides| ("between", "and", sides));
        let Some((before, amid, (one, other))) = between.or_else(|| Some(("from", "to", text.split_once("->")?)))
        else {
            return format!("on {text}");
        };
        let (one, other) = (self.meant(one.trim()), self.meant(other.trim()));
        // Nobody has a link to itself; several that stand on both sides have links to each other.
        let side = |side: &[&str], opposite: &[&str]| {
            let alone = if let [alone] = opposite { Some(alone) } else { None };
            let left: Vec<&str> = side.iter().filter(|member| alone != Some(member)).copied().collect();
            listed(if left.is_empty() { side } else { &left }).0.replace(" and ", ", ")
        };
        format!("{before} {} {amid} {}", side(&one, &other), side(&other, &one))
    }

    fn share(&self) -> String {
        self.number("share").map_or_else(|| "some".to_owned(), |share| format!("{} %", percent(share)))
    }

    fn disk(&self) -> String {
        let share = self.number("share").filter(|share| *share < 1.0);
        let share = share.map_or_else(String::new, |share| format!(" in {} % of its calls", percent(share)));
        let all = [
            self.of("fsync").map(|time| format!("takes {} for each sync", lasting(time))),
            self.of("error").map(|error| format!("fails ({error}){share}")),
            self.number("rot").map(|share| format!("has a flipped bit in {} % of its long reads", percent(share))),
            self.of("torn").filter(|it| *it == "true").map(|_| "tears the last write at a power loss".to_owned()),
            self.of("lose_unsynced").filter(|it| *it == "true").map(|_| "loses what was not synced".to_owned()),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        if all.is_empty() { "behaves differently".to_owned() } else { all.join(" and ") }
    }

    fn clock(&self) -> String {
        let drift = self.number("drift").map(|drift| {
            format!("runs {} % too {}", percent(drift.abs()), if drift < 0.0 { "slowly" } else { "fast" })
        });
        let jump = self.of("offset").map(|by| format!("jumps by {}", lasting(by)));
        [jump, drift].into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    fn change(&self) -> String {
        let (node, are) = self.members("node");
        let s = if are { "" } else { "s" };
        match self.of("change") {
            Some("add") => "an operator adds a voter".to_owned(),
            Some("add-learner") => "an operator adds a learner".to_owned(),
            Some("promote") => format!("an operator wants {node} promoted"),
            Some("remove") => format!("an operator wants {node} removed"),
            Some("update") => format!("{node} change{s} addresses"),
            _ => format!("{node} {} replaced, with an empty disk", if are { "are" } else { "is" }),
        }
    }
}

/// Members in words, and whether they are more than one.
pub(super) fn listed(members: &[&str]) -> (String, bool) {
    match members {
        [] => ("nobody".to_owned(), false),
        [one] => ((*one).to_owned(), matches!(*one, "all" | "others" | "voters" | "learners" | "followers")),
        [first @ .., last] if members.len() <= MEMBERS_MAX => (format!("{} and {last}", first.join(", ")), true),
        _ => (format!("{} members", members.len()), true),
    }
}

/// A length of time, or two with `..` between them, as it was written or in round words. Anything else stays as it is.
fn lasting(value: &str) -> String {
    let one = |text: &str| match Nanos::parse(text) {
        Ok(Nanos(nanos)) if WRITTEN_MAX < text.len() => {
            format!("{}{}", if nanos < 0 { "-" } else { "" }, duration(nanos.unsigned_abs()))
        }
        _ => text.to_owned(),
    };
    value.split("..").map(one).collect::<Vec<_>>().join("..")
}

/// A share as whole percents, or with the digits that small ones need.
fn percent(share: f64) -> String {
    let (share, few) = (share * 100.0, share < 0.01);
    let text = if few { format!("{share:.2}") } else { format!("{share:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_with_the_members_it_meant() {
        for (verb, arguments, chosen, told) in [
            (
                "cut",
                r#"link = "leader -/- others", for = "3s""#,
                &[("leader", "n1"), ("others", "n2 n3")][..],
                "messages are lost between n1 and n2, n3, for 3s",
            ),
            ("cut", r#"link = "n2 -> n1", match = "raft.vote""#, &[], "messages are lost from n2 to n1 (raft.vote)"),
            (
                "cut",
                r#"link = "leader -> voters", for = "1255168983ns""#,
                &[("leader", "n1"), ("voters", "n1 n3")],
                "messages are lost from n1 to n3, for 1.3 s",
            ),
            (
                "slow",
                r#"link = "minority -> voters", add = "1500us..70000001ns""#,
                &[("minority", "n1 n2"), ("voters", "n1 n2 n3")],
                "messages take 1500us..70 ms longer from n1, n2 to n1, n2, n3",
            ),
            ("clock", r#"node = "n1", offset = "-1255168983ns""#, &[], "the clock of n1 jumps by -1.3 s"),
            ("drop", r#"link = "all -/- all", share = 0.25"#, &[], "25 % of the messages are lost between all and all"),
            ("pause", r#"node = "random(1)", for = "2s""#, &[("random(1)", "n3")], "n3 stands still, for 2s"),
            ("pause", r#"node = "minority", for = "2s""#, &[("minority", "n3 n4")], "n3 and n4 stand still, for 2s"),
            (
                "disk",
                r#"node = "random(1)", fsync = "50ms..500ms", share = 1.0, for = "3s""#,
                &[("random(1)", "n3")],
                "the disk of n3 takes 50ms..500ms for each sync, for 3s",
            ),
            (
                "disk",
                r#"node = "n1", error = "eio", share = 0.5"#,
                &[],
                "the disk of n1 fails (eio) in 50 % of its calls",
            ),
            (
                "clock",
                r#"node = "leader", drift = -0.6, for = "6s""#,
                &[("leader", "n3")],
                "the clock of n3 runs 60 % too slowly, for 6s",
            ),
            ("transfer", r#"to = "random(follower)""#, &[("random(follower)", "n2")], "leadership is to go to n2"),
            (
                "member",
                r#"change = "remove", node = "leader", wait = "none""#,
                &[("leader", "n2")],
                "an operator wants n2 removed",
            ),
            ("other", r#"a = 1"#, &[], "the script does `other` (a = 1)"),
        ] {
            assert_eq!(in_words(verb, arguments, chosen), told);
        }
    }
}
