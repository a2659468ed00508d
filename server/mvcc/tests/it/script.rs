//! Scripts: a behaviour per file, named like a claim, reviewed as a diff.
//!
//! A file is a list of blocks: commands, a line `---`, and what they answer. `UPDATE=1 cargo test -p evenkeel-mvcc
//! scripts` writes the answers anew. The commands:
//!
//! ```text
//! put KEY VALUE [lease=N] [prev] [keep-value] [keep-lease]       KEY: any word; \0 and \xff work
//! del RANGE [prev]                                               RANGE: a, a..c, a.. (open end)
//! range RANGE [rev=N] [limit=N] [sort=FIELD] [asc] [desc] [keys] [count] [min-mod=N] [max-mod=N] [min-create=N] [max-create=N]
//! txn [ CONDITION … ] { OP ; … } { OP ; … }                      CONDITION: FIELD RANGE =|!=|>|< OPERAND
//! read-txn …                                                     the same, without applying
//! check-txn MAX …                                                the check before proposing
//! compact N     grant ID TTL     revoke ID     checkpoint ID N     leases     versions
//! watch NAME RANGE [from=N] [no-put] [no-delete] [prev]     pull NAME [events=N]     progress NAME     cancel NAME
//! ring N        the ring holds N events (before any watch)
//! other …       a command another member applied; takes effect with `snapshot`
//! snapshot      the store is replaced by the other member's, as records
//! ```

use crate::pool::{Pool, loaded};
use evenkeel_mvcc::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

mod parse;
mod print;

#[test]
#[expect(clippy::disallowed_methods, reason = "tests run on a real disk")]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let actual = run(&text);
        if actual == text {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file, actual).unwrap();
        } else {
            wrong.push(format!("{}: expected\n{text}\nbut got\n{actual}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(!files.is_empty(), "there are scripts");
}

/// Runs a script and returns it with the answers it should have.
fn run(text: &str) -> String {
    let mut member = Member::new();
    let mut out = String::new();
    for block in text.split_inclusive("\n\n") {
        let (input, _) = block.split_once("---\n").unwrap_or((block, ""));
        let commands: Vec<&str> = input.lines().filter(|line| !line.is_empty()).collect();
        if commands.iter().all(|line| line.starts_with('#')) {
            out.push_str(input);
            continue;
        }
        let mut answers = String::new();
        for line in &commands {
            if !line.starts_with('#') {
                member.command(line, &mut answers);
            }
        }
        writeln!(out, "{}\n---\n{answers}", commands.join("\n")).unwrap();
    }
    out
}

struct Member {
    store: Store,
    other: Store,
    pool: Pool,
    watchers: Watchers,
    names: BTreeMap<String, WatcherId>,
}

impl Member {
    fn new() -> Member {
        let store = Store::new();
        let watchers = Watchers::new(store.revision(), 1000);
        Member { other: store.clone(), store, pool: Pool::default(), watchers, names: BTreeMap::new() }
    }

    fn command(&mut self, line: &str, out: &mut String) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "range" => {
                let answer = loaded(self.store.range(&parse::range(rest), &self.pool));
                match answer {
                    Ok(result) => print::range(&result, &self.pool, out),
                    Err(error) => writeln!(out, "error: {error}").unwrap(),
                }
            }
            "read-txn" => {
                let txn = parse::txn(rest, &self.pool);
                let answer = loaded(self.store.read_only_txn(&txn, &self.pool));
                print::answer(&answer, self.store.revision(), &self.pool, out);
            }
            "check-txn" => {
                let (max, txn) = rest.split_once(' ').unwrap();
                match Store::check_txn(&parse::txn(txn, &self.pool), max.parse().unwrap()) {
                    Ok(()) => writeln!(out, "fine").unwrap(),
                    Err(error) => writeln!(out, "error: {error}").unwrap(),
                }
            }
            "leases" => print::leases(&self.store, out),
            "versions" => print::versions(&self.store, &self.pool, out),
            "ring" => self.watchers = Watchers::new(self.store.revision(), rest.parse().unwrap()),
            "watch" => {
                let (name, spec) = rest.split_once(' ').unwrap();
                let id = self.watchers.create(parse::watch(spec));
                self.names.insert(name.to_owned(), id);
                writeln!(out, "{name} {}", self.state_of(id)).unwrap();
            }
            "pull" => {
                let (name, events) = rest.split_once(" events=").unwrap_or((rest, "1000"));
                let limit = PullLimit { events: events.parse().unwrap(), bytes: usize::MAX };
                let pull = self.watchers.pull(self.names[name], &self.store, limit);
                print::pull(name, &pull, &self.pool, out);
            }
            "progress" => match self.watchers.progress(self.names[rest]) {
                Some(revision) => writeln!(out, "{rest} has seen everything up to {}", revision.0).unwrap(),
                None => writeln!(out, "no progress to tell").unwrap(),
            },
            "cancel" => writeln!(out, "{rest} {}", self.watchers.cancel(self.names[rest])).unwrap(),
            "other" => {
                let command = parse::command(rest, &self.pool);
                let (index, term) = self.other.applied();
                let outcome = loaded(self.other.apply(index + 1, term, &command, &self.pool));
                print::answer(&outcome.result, outcome.revision, &self.pool, out);
            }
            "snapshot" => {
                let Member { other, .. } = self;
                self.store = restore(other.header(), other.lease_records(), other.versions()).unwrap();
                assert_eq!(self.store.state_hash(), self.other.state_hash());
                let ready = self.watchers.reset(&self.store);
                writeln!(out, "rev {}", self.store.revision().0).unwrap();
                self.woken(&ready, out);
            }
            _ => {
                let command = parse::command(line, &self.pool);
                let (index, term) = self.store.applied();
                let outcome = loaded(self.store.apply(index + 1, term, &command, &self.pool));
                print::answer(&outcome.result, outcome.revision, &self.pool, out);
                if let Some(events) = &outcome.events {
                    let ready = self.watchers.publish(events);
                    self.woken(&ready, out);
                }
                assert_eq!(self.store.state_hash(), state_hash_of(&self.store));
                self.other = self.store.clone();
            }
        }
    }

    fn woken(&self, ready: &[WatcherId], out: &mut String) {
        for (name, id) in &self.names {
            if ready.contains(id) {
                writeln!(out, "  {name} {}", self.state_of(*id)).unwrap();
            }
        }
    }

    fn state_of(&self, id: WatcherId) -> &'static str {
        if self.watchers.synced(id) { "synced" } else { "behind" }
    }
}
