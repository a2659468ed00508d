//! What somebody who typed an unknown flag probably meant.

use super::table::{FLAGS, Flag};

/// More edits than this is another word.
const EDITS_MAX: usize = 3;

/// Advice about the unknown flag `name`.
pub(super) fn advice(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("experimental-") {
        return match rest {
            "initial-corrupt-check" => gate("InitialCorruptCheck"),
            "compact-hash-check-enabled" => gate("CompactHashCheck"),
            "enable-lease-checkpoint" => gate("LeaseCheckpoint"),
            "enable-lease-checkpoint-persist" => gate("LeaseCheckpointPersist"),
            "txn-mode-write-with-shared-buffer" => gate("TxnModeWriteWithSharedBuffer"),
            "stop-grpc-service-on-defrag" => gate("StopGRPCServiceOnDefrag"),
            _ if Flag::find(rest).is_some() => format!("etcd 3.7 has no experimental flags: use --{rest}"),
            _ => "etcd 3.7 has no experimental flags: remove it".into(),
        };
    }
    match name {
        "discovery" | "discovery-proxy" | "enable-v2" | "proxy" => "it belonged to etcd's v2 API: remove it".into(),
        _ => match nearest(name) {
            Some(known) => format!("did you mean --{known}?"),
            None => "see --help for the list".into(),
        },
    }
}

fn gate(name: &str) -> String {
    format!("etcd 3.7 has no experimental flags: use --feature-gates={name}=true")
}

fn nearest(name: &str) -> Option<&'static str> {
    let names = FLAGS.iter().flat_map(|(_, flags)| *flags).map(|flag| flag.name);
    let (edits, known) = names.map(|known| (edits(name, known), known)).min()?;
    (edits <= EDITS_MAX && edits * 2 < name.len()).then_some(known)
}

/// Levenshtein's distance.
fn edits(one: &str, two: &str) -> usize {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in two.iter().enumerate() {
            let cost = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[two.len()]
}
