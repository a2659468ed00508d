//! Who is meant: members, links between members, and kinds of messages.
//!
//! A selector is evaluated each time its step fires, unless a `bind` step gave the result a name.

use crate::field::{Dice, Field, Plain, Word, plain_fields, quote};
use crate::problem::unknown;
use crate::read::{Cx, Reader};
use crate::tree::{Node, Tree};
use serde_json::{Value, json};
use std::fmt;

/// One or several members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// `n2`: the member with this number, from 1.
    Node(u64),
    /// The leader of the highest term, when there is one.
    Leader,
    /// One follower: the one with the lowest number.
    Follower,
    /// Every member but the leader.
    Followers,
    /// Every member that is not on the other side of the link.
    Others,
    /// Every member.
    All,
    /// Any member: for clients one drawn per connection, in expressions "for at least one".
    Any,
    /// `random(3)`: this many members, drawn.
    Random(u64),
    /// `random(follower)`: one follower, drawn.
    RandomFollower,
    /// The largest set of members, drawn, that is no majority.
    Minority,
    /// The member at which the trigger fired.
    SelfNode,
    /// A name given by a `bind` step.
    Bound(String),
}

const NAMED: &[(&str, Selector)] = &[
    ("leader", Selector::Leader),
    ("follower", Selector::Follower),
    ("followers", Selector::Followers),
    ("others", Selector::Others),
    ("all", Selector::All),
    ("any", Selector::Any),
    ("minority", Selector::Minority),
    ("self", Selector::SelfNode),
    ("random(follower)", Selector::RandomFollower),
];

/// Words that no client, step, bound selector or matrix parameter may take.
pub fn is_reserved(name: &str) -> bool {
    name == "random" || NAMED.iter().any(|(word, _)| *word == name) || node_number(name).is_some()
}

fn node_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('n')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) { None } else { digits.parse().ok() }
}

impl Selector {
    /// Reads a selector; `nodes` is the smallest cluster size and `bound` the names given by `bind` steps.
    pub fn parse(text: &str, nodes: u64, bound: &[String]) -> Result<Selector, String> {
        let text = text.trim();
        let exists = |number: u64, what: &str| {
            if (1..=nodes).contains(&number) {
                Ok(number)
            } else {
                Err(format!("there is no {what}: the cluster may have only {nodes} members"))
            }
        };
        if let Some((_, selector)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(selector.clone());
        }
        if let Some(number) = node_number(text) {
            return exists(number, &format!("member n{number}")).map(Selector::Node);
        }
        if let Some(inner) = text.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')')) {
            return match inner.trim() {
                "follower" => Ok(Selector::RandomFollower),
                number => match number.parse() {
                    Ok(count) => exists(count, &format!("set of {count}")).map(Selector::Random),
                    Err(_) => Err(format!("bad selector \"{text}\": write random(follower) or random(2)")),
                },
            };
        }
        if bound.iter().any(|name| name == text) {
            return Ok(Selector::Bound(text.to_owned()));
        }
        let names =
            NAMED.iter().map(|(name, _)| *name).chain(["n1", "random(2)"]).chain(bound.iter().map(String::as_str));
        Err(unknown("selector", text, names))
    }

    /// Whether the selector always means exactly one member (when it means any).
    pub fn is_single(&self) -> bool {
        match self {
            Selector::Node(_)
            | Selector::Leader
            | Selector::Follower
            | Selector::RandomFollower
            | Selector::SelfNode
            | Selector::Random(1)
            | Selector::Bound(_) => true,
            Selector::Followers
            | Selector::Others
            | Selector::All
            | Selector::Any
            | Selector::Random(_)
            | Selector::Minority => false,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Node(number) => write!(f, "n{number}"),
            Selector::Random(count) => write!(f, "random({count})"),
            Selector::Bound(name) => f.write_str(name),
            named => f.write_str(
                NAMED.iter().find(|(_, selector)| selector == named).expect("every other selector has a name").0,
            ),
        }
    }
}

impl Plain for Selector {
    const KIND: &'static str = "a selector such as \"leader\" or \"n2\"";
    fn plain_schema() -> Value {
        let words: Vec<&str> = NAMED.iter().map(|(word, _)| *word).collect();
        let pattern = r"^\s*([a-zA-Z][a-zA-Z0-9_]*|random\(\s*([0-9]+|follower)\s*\))\s*$";
        json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": pattern }] })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Selector> {
        let text = cx.text(node, Self::KIND)?;
        let parsed = Selector::parse(text, cx.names.nodes, &cx.names.bound);
        parsed.map_err(|message| cx.problem(node.span.clone(), message)).ok()
    }
    fn toml_plain(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

/// The directed connections from some members to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The senders.
    pub from: Selector,
    /// The receivers.
    pub to: Selector,
    /// Whether the opposite direction is meant too (`-/-`).
    pub both: bool,
}

impl Link {
    fn parse(text: &str, nodes: u64, bound: &[String]) -> Result<Link, String> {
        let both = text.contains("-/-");
        let (from, to) = text
            .split_once(if both { "-/-" } else { "->" })
            .filter(|_| !text.contains("<-"))
            .ok_or_else(|| format!("bad link \"{text}\": write \"a -> b\" for one way or \"a -/- b\" for both ways"))?;
        let (from, to) = (Selector::parse(from, nodes, bound)?, Selector::parse(to, nodes, bound)?);
        if from == to && from.is_single() {
            return Err(format!("the link \"{text}\" has the same member on both sides"));
        }
        Ok(Link { from, to, both })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.both { "-/-" } else { "->" }, self.to)
    }
}

/// A link, or one per value of a matrix parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSpec {
    /// The same in every cell.
    One(Link),
    /// `link.by`: chosen by the value of a matrix parameter.
    By {
        /// The parameter.
        param: String,
        /// For each of its values, as printed, the link.
        links: Vec<(String, Link)>,
    },
}

impl Field for Link {
    type Open = LinkSpec;

    fn kind() -> String {
        "a link such as \"leader -> n2\" or \"n1 -/- others\"".to_owned()
    }

    fn schema() -> Value {
        let one = json!({ "type": "string", "pattern": r"^[^<]*\S\s*(->|-/-)\s*\S[^<]*$" });
        let by = json!({ "type": "string", "description": "The matrix parameter that chooses the link." });
        let each = json!({
            "type": "object",
            "properties": { "by": by },
            "required": ["by"],
            "additionalProperties": one,
        });
        json!({ "anyOf": [one, each] })
    }

    fn read(cx: &mut Cx<'_>, node: &Node) -> Option<LinkSpec> {
        let Tree::Table(_) = node.tree else {
            return read_link(cx, node).map(LinkSpec::One);
        };
        let mut reader = Reader::new(cx, node, "link")?;
        let by = reader.entry("by");
        let Some(by) = by else {
            cx.problem(
                reader.span(),
                "a link with several choices needs `link.by = \"PARAMETER\"`, a matrix parameter",
            );
            return None;
        };
        let name = cx.text(&by.value, "the name of a matrix parameter")?;
        let Some(param) = cx.names.params.iter().find(|param| param.name == name).cloned() else {
            let names: Vec<String> = cx.names.params.iter().map(|param| param.name.clone()).collect();
            cx.problem(by.value.span.clone(), unknown("matrix parameter", name, names.iter().map(String::as_str)));
            return None;
        };
        let mut links = Vec::new();
        for value in &param.values {
            let text = value.plain();
            match reader.get(&text) {
                Some(node) => links.extend(read_link(cx, node).map(|link| (text, link))),
                None => {
                    cx.problem(by.key_span.clone(), format!("no link for {name} = {text}: add the key `link.{text}`"))
                }
            }
        }
        reader.finish(cx);
        Some(LinkSpec::By { param: param.name, links })
    }

    fn open(self) -> LinkSpec {
        LinkSpec::One(self)
    }

    fn draw(open: &LinkSpec, dice: &mut Dice<'_>, _path: &str) -> Link {
        match open {
            LinkSpec::One(link) => link.clone(),
            LinkSpec::By { param, links } => {
                let value = dice.cell.get(param).expect("the parameter was checked when the file was read").plain();
                links.iter().find(|(text, _)| *text == value).expect("every value has its link").1.clone()
            }
        }
    }

    fn literal(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

fn read_link(cx: &mut Cx<'_>, node: &Node) -> Option<Link> {
    let text = cx.text(node, &Link::kind())?;
    let parsed = Link::parse(text, cx.names.nodes, &cx.names.bound);
    parsed.map_err(|message| cx.problem(node.span.clone(), message)).ok()
}

crate::field::words! {
    /// What a message between two parties is about.
    pub enum MessageKind, "message type" {
        /// Heartbeats and their answers.
        Heartbeat = "raft.heartbeat",
        /// Entries and their acknowledgements.
        Append = "raft.append",
        /// Votes and pre-votes, asked and given.
        Vote = "raft.vote",
        /// State sent to a member too far behind.
        Snapshot = "raft.snapshot",
        /// Confirmations of leadership for linearizable reads.
        Read = "raft.read",
        /// Proposals passed on to the leader.
        Propose = "raft.propose",
        /// Questions between members outside Raft, such as renewals of leases.
        Ask = "peer.ask",
        /// Requests and answers of clients.
        Client = "client",
    }
}

/// The message types a network step is limited to: `"raft.heartbeat, raft.append"` or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages(pub Vec<MessageKind>);

impl Plain for Messages {
    const KIND: &'static str = "message types such as \"raft.heartbeat, raft.append\"";
    fn plain_schema() -> Value {
        let words: Vec<&str> = MessageKind::ALL.iter().map(|(word, _)| *word).collect();
        let word = words.join("|").replace('.', r"\.");
        let several = json!({ "type": "string", "pattern": format!(r"^\s*({word})(\s*,\s*({word}))*\s*$") });
        json!({ "anyOf": [{ "enum": words }, several, { "type": "array", "items": several, "minItems": 1 }] })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Messages> {
        let mut kinds = Vec::new();
        for (text, node) in cx.texts(node, Self::KIND)? {
            for word in text.split(',').map(str::trim) {
                match MessageKind::find(word) {
                    Ok(kind) => kinds.push(kind),
                    Err(message) => cx.problem(node.span.clone(), message),
                }
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() { None } else { Some(Messages(kinds)) }
    }
    fn toml_plain(&self) -> Option<String> {
        Some(quote(&self.0.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")))
    }
}

plain_fields!(Selector, Messages);
