//! `ops` of a `[[client]]`: every operation by itself, instead of a random load.
//!
//! One line of text per operation: when, at which member, what. `"1200ms n2 put k/0003"`. That is how a repro file
//! keeps the few operations that matter, and how the event log tells what any client asked, so that a line of the log
//! can become a line of a scenario. Reading what is printed gives the same operation.
//!
//! Deliberately absent: values. Each put writes one that nobody else writes, so that the checkers know the writer.

mod parse;
mod print;

use crate::field::{Plain, plain_fields, quote};
use crate::read::Cx;
use crate::select::Selector;
use crate::time::Nanos;
use crate::tree::{Node, Tree};
use serde_json::{Value, json};

/// The most operations that a group may list.
pub const OPS_MAX: usize = 100_000;
/// How deep transactions may be nested.
pub const DEPTH_MAX: usize = 4;
/// The bytes of a value, when nothing is said.
pub const SIZE_DEFAULT: u64 = 16;

/// How operations are written, for the reference.
pub const GRAMMAR: &str = "\
`AT [MEMBER] WHAT`, such as `\"1200ms n2 put k/0003\"`; without a member any may be asked. WHAT is one of

- `put KEY [lease=NAME] [size=BYTES] [prev_kv]`, `get KEY`, `range KEYS`, `delete KEYS [prev_kv]`. Reads may be
  `serializable`, `count_only`, `keys_only`, `descending`, have a `limit=N`, and look at a revision: `rev=N`, or
  `back=N`, so many before the newest that any client has seen.
- `cas KEY`: reads it, and writes it if it has not changed; `cas KEY delete` deletes it.
- `txn CLAUSE ; CLAUSE …`: operations; `if KEY version|created|modified = | > | < | != N` for a condition; `else`, after
  which come the operations for when one fails; `( … )`, a transaction inside.
- `compact back=N` or `compact rev=N`.
- `grant NAME ttl=SECONDS [id=N]`, `keep_alive NAME`, `revoke NAME`, `time_to_live NAME`: leases, by names of this list;
  and `leases`, which there are.
- `watch KEYS [back=N | ahead=N | rev=N] [for=TIME] [prev_kv] [progress] [fragment] [no_put] [no_delete]`.

KEYS is `KEY`, `FROM..TO`, `FROM..` or `..`. In a key, `%XX` is the byte XX.";

/// Keys: one, or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The first.
    pub from: Vec<u8>,
    /// Up to, not including; nothing for one key. One zero byte for no end.
    pub to: Vec<u8>,
}

impl Keys {
    /// One key.
    pub fn one(key: &[u8]) -> Keys {
        Keys { from: key.to_vec(), to: Vec::new() }
    }
    /// Whether it is one key.
    pub fn is_one(&self) -> bool {
        self.to.is_empty()
    }
}

/// A point in the store's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Now.
    #[default]
    Now,
    /// This revision.
    Revision(i64),
    /// So many before the newest that any client has seen.
    Back(i64),
    /// So many after it.
    Ahead(i64),
}

impl When {
    /// The revision, with the newest that is known; 0 for now.
    pub fn revision(self, newest: i64) -> i64 {
        match self {
            When::Now => 0,
            When::Revision(revision) => revision,
            When::Back(back) => (newest - back).max(1),
            When::Ahead(ahead) => newest + ahead,
        }
    }
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What is read.
    pub keys: Keys,
    /// As of when.
    pub when: When,
    /// At most so many; 0 for all.
    pub limit: i64,
    /// Any member may answer from what it has.
    pub serializable: bool,
    /// Only how many.
    pub count_only: bool,
    /// Without values.
    pub keys_only: bool,
    /// The newest first.
    pub descending: bool,
}

/// What a condition of a transaction compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Puts since the key was created; 0 when there is none.
    Version,
    /// The revision of its creation.
    Created,
    /// The revision of its last change.
    Modified,
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// Larger than the number.
    Greater,
    /// Smaller than the number.
    Less,
    /// Different.
    NotEqual,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: Vec<u8>,
    /// Which of its numbers.
    pub of: Of,
    /// How it is compared.
    pub relation: Relation,
    /// With this.
    pub number: i64,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold …
    pub guards: Vec<Guard>,
    /// … for these,
    pub then: Vec<Ask>,
    /// else these.
    pub otherwise: Vec<Ask>,
}

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFor {
    /// What is watched.
    pub keys: Keys,
    /// From when on.
    pub when: When,
    /// How long.
    pub hold: Nanos,
    /// With the values before.
    pub prev_kv: bool,
    /// With progress notices.
    pub progress: bool,
    /// Large answers may come in pieces.
    pub fragment: bool,
    /// Without puts.
    pub no_put: bool,
    /// Without deletes.
    pub no_delete: bool,
}

/// How long a watch is kept, when nothing is said.
pub const WATCH_FOR: Nanos = Nanos::from_secs(10);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Writes a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Attached to this lease.
        lease: Option<String>,
        /// Bytes of the value.
        size: u64,
        /// Asks what was there.
        prev_kv: bool,
    },
    /// Reads keys.
    Read(Read),
    /// Deletes keys.
    Delete {
        /// Which.
        keys: Keys,
        /// Asks what was there.
        prev_kv: bool,
    },
    /// Reads a key, then changes it if it is still as it was.
    Cas {
        /// The key.
        key: Vec<u8>,
        /// The change is its deletion.
        delete: bool,
    },
    /// A transaction.
    Txn(Txn),
    /// Forgets history.
    Compact(When),
    /// A new lease.
    Grant {
        /// What other operations call it.
        name: String,
        /// Seconds to live.
        ttl: i64,
        /// The number that the client wishes for it; 0 leaves it to the server.
        id: i64,
    },
    /// Keeps a lease.
    KeepAlive(String),
    /// Ends a lease.
    Revoke(String),
    /// Asks how long a lease has left.
    TimeToLive(String),
    /// Asks which leases there are.
    Leases,
    /// Watches keys.
    Watch(WatchFor),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// When it is sent.
    pub at: Nanos,
    /// To whom.
    pub on: Selector,
    /// What.
    pub ask: Ask,
}

/// The operations of a group of clients, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ops(pub Vec<Op>);

impl Plain for Ops {
    const KIND: &'static str = "a list of operations such as \"1200ms n2 put k/0003\"";

    fn plain_schema() -> Value {
        json!({ "type": "array", "maxItems": OPS_MAX, "items": { "type": "string", "minLength": 1 } })
    }

    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Ops> {
        let Tree::List(items) = &node.tree else { return cx.wrong_type(node, Self::KIND) };
        if OPS_MAX < items.len() {
            cx.problem(node.span.clone(), format!("more than {OPS_MAX} operations"));
        }
        let ops: Vec<Option<Op>> = items
            .iter()
            .map(|item| {
                let text = cx.text(item, "an operation")?;
                let read = Op::parse(text, cx.names.nodes, &cx.names.bound);
                read.map_err(|message| cx.problem(item.span.clone(), message)).ok()
            })
            .collect();
        ops.into_iter().collect::<Option<Vec<Op>>>().map(Ops)
    }

    fn toml_plain(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let lines: Vec<String> = self.0.iter().map(|op| format!("    {},\n", quote(&op.to_string()))).collect();
        Some(format!("[\n{}]", lines.concat()))
    }
}

plain_fields!(Ops);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in [
            "1200ms n2 put k/0003",
            "1s any put k lease=a size=100 prev_kv",
            "1s leader get k serializable back=3",
            "0s n1 range a..b limit=3 count_only keys_only descending rev=9",
            "0s n1 range ..",
            "0s n1 delete a.. prev_kv",
            "0s n1 cas k delete",
            "0s n1 txn if k version > 1 ; if %20 modified != 7 ; put k ; ( get k ; else ; delete a..b ) ; else ; range ..",
            "0s n1 compact back=2",
            "0s n1 grant a ttl=3",
            "0s n1 keep_alive a",
            "0s n1 revoke a",
            "0s n1 time_to_live a",
            "0s n1 watch a..b ahead=2 for=5s prev_kv progress fragment no_put no_delete",
        ] {
            let op = Op::parse(text, 3, &[]).unwrap_or_else(|message| panic!("{text}: {message}"));
            assert_eq!(op.to_string(), text);
        }
        assert_eq!(Op::parse("1s put k", 3, &[]).unwrap().to_string(), "1s any put k");
    }

    #[test]
    fn slips_are_named() {
        for (text, message) in [
            ("", "an operation is `AT [MEMBER] WHAT`, such as \"1200ms n2 put k/0003\""),
            (
                "soon n1 put k",
                "bad duration \"soon\": write a number and a unit, such as \"250us\", \"10ms\" or \"2s\"",
            ),
            ("-1s n1 put k", "an operation cannot come before the run"),
            ("1s n4 put k", "there is no member n4: the cluster may have only 3 members"),
            ("1s n1 putt k", "unknown operation \"putt\", did you mean \"put\"?"),
            ("1s n1 put", "`put` needs a key"),
            ("1s n1 put a..b", "`put` is about one key, not \"a..b\""),
            ("1s n1 get k leese=a", "`get` does not take \"leese=a\""),
            ("1s n1 grant a", "`grant` needs `ttl=SECONDS`"),
            ("1s n1 txn put k ; compact back=1", "`compact` cannot be part of a transaction"),
            ("1s n1 txn ( put k", "a `(` without its `)`"),
            ("1s n1 txn if k size = 1", "a condition is `if KEY version|created|modified =|>|<|!= N`"),
        ] {
            assert_eq!(Op::parse(text, 3, &[]).unwrap_err(), message, "{text}");
        }
    }
}
