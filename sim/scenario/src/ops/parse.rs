//! Operations from text: blanks between words, `;` and brackets are words.

use std::iter::Peekable;
use std::str::SplitWhitespace;

use super::{Ask, DEPTH_MAX, Guard, Keys, Of, Op, Read, Relation, SIZE_DEFAULT, Txn, WATCH_FOR, WatchFor, When};
use crate::problem::unknown;
use crate::select::Selector;
use crate::time::Nanos;

type Words<'t> = Peekable<SplitWhitespace<'t>>;

const VERBS: [&str; 13] = [
    "put",
    "get",
    "range",
    "delete",
    "cas",
    "txn",
    "compact",
    "grant",
    "keep_alive",
    "revoke",
    "time_to_live",
    "leases",
    "watch",
];

impl Op {
    /// Reads one operation; `nodes` is the smallest cluster size and `bound` the names given by `bind` steps.
    pub fn parse(text: &str, nodes: u64, bound: &[String]) -> Result<Op, String> {
        let mut words = text.split_whitespace().peekable();
        let at = words.next().ok_or("an operation is `AT [MEMBER] WHAT`, such as \"1200ms n2 put k/0003\"")?;
        let at = Nanos::parse(at)?;
        if at < Nanos::ZERO {
            return Err("an operation cannot come before the run".to_owned());
        }
        // A word that is neither an operation nor a member is rather a misspelt operation.
        let on = match words.peek().map(|word| (*word, Selector::parse(word, nodes, bound))) {
            Some((word, _)) if VERBS.contains(&word) => Selector::Any,
            Some((_, Ok(selector))) => {
                words.next();
                selector
            }
            Some((_, Err(message))) if message.starts_with("there is no") => return Err(message),
            _ => Selector::Any,
        };
        let ask = Ask::read(&mut words)?;
        match words.next() {
            None => Ok(Op { at, on, ask }),
            Some(word) => Err(format!("nothing is expected after \"{word}\"")),
        }
    }
}

impl Ask {
    /// Reads what is asked, as the event log tells it.
    pub fn parse(text: &str) -> Result<Ask, String> {
        Ask::read(&mut text.split_whitespace().peekable())
    }

    fn read(words: &mut Words<'_>) -> Result<Ask, String> {
        let verb = words.next().ok_or("what is to be done is missing")?;
        if verb == "txn" {
            return Ok(Ask::Txn(read_txn(words, 0)?));
        }
        simple(verb, words)
    }
}

/// Everything but a transaction.
fn simple(verb: &str, words: &mut Words<'_>) -> Result<Ask, String> {
    if !VERBS.contains(&verb) {
        return Err(unknown("operation", verb, VERBS));
    }
    let noun = match verb {
        "compact" | "leases" => "",
        _ => {
            let kind = if ["grant", "keep_alive", "revoke", "time_to_live"].contains(&verb) { "lease" } else { "key" };
            let word = words.next_if(|word| ![";", "(", ")"].contains(word));
            word.ok_or_else(|| format!("`{verb}` needs a {kind}"))?
        }
    };
    let mut options = Options { verb, given: Vec::new() };
    while let Some(word) = words.next_if(|word| ![";", "(", ")"].contains(word)) {
        options.given.push(word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))));
    }
    let name = || noun.to_owned();
    let ask = match verb {
        "put" => Ask::Put {
            key: one(verb, noun)?,
            lease: options.text("lease"),
            size: options.number("size")?.map_or(SIZE_DEFAULT, i64::unsigned_abs),
            prev_kv: options.flag("prev_kv"),
        },
        "get" | "range" => {
            let keys = if verb == "get" { Keys::one(&one(verb, noun)?) } else { keys(noun)? };
            Ask::Read(Read {
                keys,
                when: options.when()?,
                limit: options.number("limit")?.unwrap_or(0),
                serializable: options.flag("serializable"),
                count_only: options.flag("count_only"),
                keys_only: options.flag("keys_only"),
                descending: options.flag("descending"),
            })
        }
        "delete" => Ask::Delete { keys: keys(noun)?, prev_kv: options.flag("prev_kv") },
        "cas" => Ask::Cas { key: one(verb, noun)?, delete: options.flag("delete") },
        "compact" => match options.when()? {
            When::Now => return Err("`compact` needs `back=N` or `rev=N`".to_owned()),
            when => Ask::Compact(when),
        },
        "grant" => {
            let ttl = options.number("ttl")?.ok_or("`grant` needs `ttl=SECONDS`")?;
            Ask::Grant { name: name(), ttl, id: options.number("id")?.unwrap_or(0) }
        }
        "keep_alive" => Ask::KeepAlive(name()),
        "revoke" => Ask::Revoke(name()),
        "time_to_live" => Ask::TimeToLive(name()),
        "leases" => Ask::Leases,
        _ => Ask::Watch(WatchFor {
            keys: keys(noun)?,
            when: options.when()?,
            hold: options.text("for").map_or(Ok(WATCH_FOR), |text| Nanos::parse(&text))?,
            prev_kv: options.flag("prev_kv"),
            progress: options.flag("progress"),
            fragment: options.flag("fragment"),
            no_put: options.flag("no_put"),
            no_delete: options.flag("no_delete"),
        }),
    };
    match options.given.first() {
        None => Ok(ask),
        Some((name, value)) => {
            let value = value.map_or_else(String::new, |value| format!("={value}"));
            Err(format!("`{verb}` does not take \"{name}{value}\""))
        }
    }
}

/// The words after what an operation is about.
struct Options<'t> {
    verb: &'t str,
    given: Vec<(&'t str, Option<&'t str>)>,
}

impl<'t> Options<'t> {
    fn take(&mut self, name: &str, valued: bool) -> Option<Option<&'t str>> {
        let at = self.given.iter().position(|(given, value)| *given == name && value.is_some() == valued)?;
        Some(self.given.remove(at).1)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(name, false).is_some()
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, true).flatten().map(str::to_owned)
    }

    fn number(&mut self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok().filter(|number| 0 <= *number);
        number.map(Some).ok_or_else(|| format!("`{name}` of `{}` is a whole number, not \"{text}\"", self.verb))
    }

    fn when(&mut self) -> Result<When, String> {
        let (rev, back, ahead) = (self.number("rev")?, self.number("back")?, self.number("ahead")?);
        Ok(match (rev, back, ahead) {
            (Some(revision), ..) => When::Revision(revision),
            (_, Some(back), _) => When::Back(back),
            (.., Some(ahead)) => When::Ahead(ahead),
            _ => When::Now,
        })
    }
}

fn read_txn(words: &mut Words<'_>, depth: usize) -> Result<Txn, String> {
    if DEPTH_MAX <= depth {
        return Err(format!("transactions are nested at most {DEPTH_MAX} deep"));
    }
    let mut txn = Txn::default();
    let mut failed = false;
    loop {
        let branch = if failed { &mut txn.otherwise } else { &mut txn.then };
        match words.next().ok_or("a transaction ends with an operation")? {
            "if" => txn.guards.push(guard(words)?),
            "else" => failed = true,
            "(" => {
                branch.push(Ask::Txn(read_txn(words, depth + 1)?));
                if words.next() != Some(")") {
                    return Err("a `(` without its `)`".to_owned());
                }
            }
            verb => match simple(verb, words)? {
                ask @ (Ask::Put { .. } | Ask::Read(_) | Ask::Delete { .. }) => branch.push(ask),
                _ => return Err(format!("`{verb}` cannot be part of a transaction")),
            },
        }
        if words.next_if_eq(&";").is_none() {
            return Ok(txn);
        }
    }
}

fn guard(words: &mut Words<'_>) -> Result<Guard, String> {
    let bad = "a condition is `if KEY version|created|modified =|>|<|!= N`";
    let key = one("if", words.next().ok_or(bad)?)?;
    let of = match words.next() {
        Some("version") => Of::Version,
        Some("created") => Of::Created,
        Some("modified") => Of::Modified,
        _ => return Err(bad.to_owned()),
    };
    let relation = match words.next() {
        Some("=") => Relation::Equal,
        Some(">") => Relation::Greater,
        Some("<") => Relation::Less,
        Some("!=") => Relation::NotEqual,
        _ => return Err(bad.to_owned()),
    };
    let number = words.next().and_then(|word| word.parse().ok()).ok_or(bad)?;
    Ok(Guard { key, of, relation, number })
}

fn one(verb: &str, word: &str) -> Result<Vec<u8>, String> {
    let keys = keys(word)?;
    if keys.is_one() { Ok(keys.from) } else { Err(format!("`{verb}` is about one key, not \"{word}\"")) }
}

fn keys(word: &str) -> Result<Keys, String> {
    let zero = |bytes: Vec<u8>| if bytes.is_empty() { vec![0] } else { bytes };
    match word.split_once("..") {
        None => Ok(Keys { from: bytes(word)?, to: Vec::new() }),
        Some((from, to)) => Ok(Keys { from: zero(bytes(from)?), to: zero(bytes(to)?) }),
    }
}

fn bytes(word: &str) -> Result<Vec<u8>, String> {
    let mut parts = word.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| format!("after % come two hexadecimal digits, not \"{part}\""))?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(bytes)
}
