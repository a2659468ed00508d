//! Reading commands.

use crate::pool::Pool;
use evenkeel_mvcc::*;
use std::iter::Peekable;
use std::vec::IntoIter;

type Words = Peekable<IntoIter<String>>;

/// Words are separated by blanks; brackets and semicolons are words of their own.
fn words(text: &str) -> Words {
    let mut spaced = String::new();
    for letter in text.chars() {
        if "[]{};".contains(letter) { spaced.extend([' ', letter, ' ']) } else { spaced.push(letter) }
    }
    spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter().peekable()
}

fn is_end(word: &str) -> bool {
    [";", "}"].contains(&word)
}

fn next(words: &mut Words) -> String {
    words.next().expect("one more word")
}

/// `@7` means the lease that entry 7 granted; nothing, any lease.
fn granted_at(words: &mut Words) -> Option<u64> {
    words.next().map(|word| number(word.strip_prefix('@').expect("@ and an index")))
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    match word {
        "MIN" => i64::MIN.to_string().parse().ok(),
        "MAX" => i64::MAX.to_string().parse().ok(),
        word => word.parse().ok(),
    }
    .unwrap_or_else(|| panic!("a number, not {word}"))
}

/// The rest of one operation.
fn options(words: &mut Words) -> Vec<(String, String)> {
    let mut options = Vec::new();
    while let Some(word) = words.next_if(|word| !is_end(word)) {
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        options.push((name.to_owned(), value.to_owned()));
    }
    options
}

fn bytes(word: &str) -> Vec<u8> {
    let word = if word == "''" { "" } else { word };
    word.replace("\\0", "\0").split("\\xff").map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>().join(&0xff)
}

fn interval(word: &str) -> Interval {
    match word.split_once("..") {
        None => Interval::from_wire(&bytes(word), b""),
        Some((start, "")) => Interval::from_wire(&bytes(start), b"\0"),
        Some((start, end)) => Interval::from_wire(&bytes(start), &bytes(end)),
    }
}

pub fn command(line: &str, pool: &Pool) -> Command {
    let mut words = words(line);
    let verb = next(&mut words);
    let command = match verb.as_str() {
        "compact" => Command::Compact { revision: Revision(number(&next(&mut words))) },
        "grant" => {
            Command::LeaseGrant { id: LeaseId(number(&next(&mut words))), ttl_seconds: number(&next(&mut words)) }
        }
        "revoke" => Command::LeaseRevoke { id: LeaseId(number(&next(&mut words))), granted_at: granted_at(&mut words) },
        "checkpoint" => Command::LeaseCheckpoint(vec![LeaseCheckpoint {
            id: LeaseId(number(&next(&mut words))),
            remaining_seconds: number(&next(&mut words)),
            granted_at: granted_at(&mut words),
        }]),
        verb => match op(verb, &mut words, pool) {
            Op::Put(put) => Command::Put(put),
            Op::DeleteRange(delete) => Command::DeleteRange(delete),
            Op::Txn(txn) => Command::Txn(txn),
            Op::Range(_) => panic!("a range is no command"),
        },
    };
    assert_eq!(words.next(), None, "in {line}");
    command
}

pub fn txn(text: &str, pool: &Pool) -> Txn {
    txn_of(&mut words(text), pool)
}

pub fn range(text: &str) -> RangeQuery {
    range_of(&mut words(text))
}

fn op(verb: &str, words: &mut Words, pool: &Pool) -> Op {
    match verb {
        "put" => Op::Put(put_of(words, pool)),
        "del" => {
            let interval = interval(&next(words));
            Op::DeleteRange(DeleteRange { interval, prev_kv: options(words).iter().any(|(name, _)| name == "prev") })
        }
        "range" => Op::Range(range_of(words)),
        "txn" => Op::Txn(txn_of(words, pool)),
        other => panic!("unknown command {other}"),
    }
}

fn put_of(words: &mut Words, pool: &Pool) -> Put {
    let key = Key::from(bytes(&next(words)));
    let given = words.next_if(|word| !is_end(word) && !word.starts_with("keep-value"));
    let value = given.map_or(ValueRef::EMPTY, |word| pool.place(&bytes(&word)));
    let mut put = Put { key, value, lease: LeaseId::NONE, prev_kv: false, ignore_value: false, ignore_lease: false };
    for (name, value) in options(words) {
        match name.as_str() {
            "lease" => put.lease = LeaseId(number(&value)),
            "prev" => put.prev_kv = true,
            "keep-value" => put.ignore_value = true,
            "keep-lease" => put.ignore_lease = true,
            other => panic!("unknown option {other}"),
        }
    }
    put
}

fn range_of(words: &mut Words) -> RangeQuery {
    let mut query = RangeQuery::all(interval(&next(words)));
    for (name, value) in options(words) {
        match name.as_str() {
            "rev" => query.revision = number(&value),
            "limit" => query.limit = number(&value),
            "min-mod" => query.min_mod = number(&value),
            "max-mod" => query.max_mod = number(&value),
            "min-create" => query.min_create = number(&value),
            "max-create" => query.max_create = number(&value),
            "keys" => query.keys_only = true,
            "count" => query.count_only = true,
            "asc" => query.order = SortOrder::Ascend,
            "desc" => query.order = SortOrder::Descend,
            "sort" => {
                query.target = match value.as_str() {
                    "key" => SortTarget::Key,
                    "version" => SortTarget::Version,
                    "create" => SortTarget::Create,
                    "mod" => SortTarget::Mod,
                    "value" => SortTarget::Value,
                    other => panic!("unknown sort target {other}"),
                }
            }
            other => panic!("unknown option {other}"),
        }
    }
    query
}

fn txn_of(words: &mut Words, pool: &Pool) -> Txn {
    let mut txn = Txn::default();
    assert_eq!(next(words), "[");
    while words.peek().is_some_and(|word| word != "]") {
        txn.compare.push(compare_of(words));
    }
    assert_eq!(next(words), "]");
    for branch in [&mut txn.success, &mut txn.failure] {
        assert_eq!(next(words), "{");
        while let Some(word) = words.next_if(|word| word != "}") {
            if word != ";" {
                branch.push(op(&word, words, pool));
            }
        }
        assert_eq!(next(words), "}");
    }
    txn
}

fn compare_of(words: &mut Words) -> Compare {
    let (field, range, sign, operand) = (next(words), next(words), next(words), next(words));
    let target = match field.as_str() {
        "version" => CompareTarget::Version(number(&operand)),
        "create" => CompareTarget::Create(number(&operand)),
        "mod" => CompareTarget::Mod(number(&operand)),
        "lease" => CompareTarget::Lease(number(&operand)),
        "value" => CompareTarget::Value(bytes(&operand)),
        other => panic!("unknown field {other}"),
    };
    let result = match sign.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => panic!("unknown comparison {other}"),
    };
    Compare { interval: interval(&range), result, target }
}

pub fn watch(text: &str) -> WatchSpec {
    let mut words = words(text);
    let mut spec = WatchSpec::from_now(interval(&next(&mut words)));
    for (name, value) in options(&mut words) {
        match name.as_str() {
            "from" => spec.start_revision = number(&value),
            "no-put" => spec.no_put = true,
            "no-delete" => spec.no_delete = true,
            "prev" => spec.prev_kv = true,
            other => panic!("unknown option {other}"),
        }
    }
    spec
}
