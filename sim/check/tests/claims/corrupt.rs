//! One wrong field in one answer is always caught.

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::*;

use crate::world::*;

/// Applies `change` to the first answer after a random place that it accepts. `false`: there was none.
fn corrupt(history: &mut History, rng: &mut Rng, mut change: impl FnMut(&Request, &mut Outcome) -> bool) -> bool {
    let mut requests = std::collections::BTreeMap::new();
    let start = rng.below(history.events.len() as u64 / 2) as usize;
    for (n, (_, observation)) in history.events.iter_mut().enumerate() {
        if let Observation::Call { op, request, .. } = observation {
            requests.insert(*op, request.clone());
        } else if let Observation::Return { op, outcome } = observation
            && start <= n
            && change(&requests[op], outcome)
        {
            return true;
        }
    }
    false
}

fn caught(name: &str, change: impl Fn(&Request, &mut Outcome) -> bool) {
    let mut happened = 0;
    for (white_box, causes) in [(false, false), (true, false), (true, true)] {
        for seed in 0..12 {
            let shape = Shape { white_box, causes, ..RICH };
            let mut history = generate(seed, shape);
            if !corrupt(&mut history, &mut Rng(seed), &change) {
                continue;
            }
            happened += 1;
            let violations = check(&history, &config(shape));
            assert!(!violations.is_empty(), "{name}: not caught, seed {seed}, white box {white_box}");
        }
    }
    assert!(9 < happened, "{name}: only {happened} of 36 histories had a place for it");
}

/// Changes a row of a range answer.
fn row(outcome: &mut Outcome, change: impl Fn(&mut KeyValue)) -> bool {
    match outcome {
        Outcome::Ok(_, Body::Range(reply)) if !reply.kvs.is_empty() && !reply.kvs[0].value.is_empty() => {
            change(&mut reply.kvs[0]);
            true
        }
        _ => false,
    }
}

fn range(outcome: &mut Outcome, change: impl Fn(&mut RangeReply)) -> bool {
    match outcome {
        Outcome::Ok(_, Body::Range(reply)) => {
            change(reply);
            true
        }
        _ => false,
    }
}

#[test]
fn a_wrong_value_is_caught() {
    caught("garbage", |_, outcome| row(outcome, |kv| kv.value = Bytes::from_static(b"garbage")));
    caught("empty", |_, outcome| row(outcome, |kv| kv.value = Bytes::new()));
}

#[test]
fn wrong_numbers_in_a_row_are_caught() {
    caught("created", |_, outcome| row(outcome, |kv| kv.created.0 += 1));
    caught("modified up", |_, outcome| row(outcome, |kv| kv.modified.0 += 1));
    caught("modified down", |_, outcome| row(outcome, |kv| kv.modified.0 -= 1));
    caught("version", |_, outcome| row(outcome, |kv| kv.version += 1));
    caught("lease", |_, outcome| row(outcome, |kv| kv.lease.0 += 1));
    caught("key", |_, outcome| row(outcome, |kv| kv.key = Bytes::from_static(b"elsewhere")));
}

#[test]
fn wrong_counts_are_caught() {
    caught("count", |_, outcome| range(outcome, |reply| reply.count += 1));
    caught("more", |_, outcome| range(outcome, |reply| reply.more ^= true));
    caught("missing row", |_, outcome| row(outcome, |_| {}) && range(outcome, |reply| drop(reply.kvs.pop())));
    caught("deleted", |_, outcome| match outcome {
        Outcome::Ok(_, Body::DeleteRange(reply)) if reply.deleted > 0 => {
            reply.deleted += 1;
            true
        }
        _ => false,
    });
    caught("deleted nothing", |_, outcome| match outcome {
        Outcome::Ok(_, Body::DeleteRange(reply)) if reply.deleted == 0 => {
            reply.deleted = 1;
            true
        }
        _ => false,
    });
}

#[test]
fn wrong_order_of_rows_is_caught() {
    caught("swapped rows", |request, outcome| match (request, outcome) {
        (Request::Range(range), Outcome::Ok(_, Body::Range(reply)))
            if range.sort_target == SortTarget::Key && reply.kvs.len() > 1 =>
        {
            reply.kvs.swap(0, 1);
            true
        }
        _ => false,
    });
}

#[test]
fn wrong_previous_values_are_caught() {
    caught("put with garbage before", |_, outcome| match outcome {
        Outcome::Ok(_, Body::Put(PutReply { prev_kv: Some(kv) })) => {
            kv.version += 1;
            true
        }
        _ => false,
    });
    caught("put without what was before", |_, outcome| match outcome {
        Outcome::Ok(_, Body::Put(reply)) => reply.prev_kv.take().is_some(),
        _ => false,
    });
    caught("delete with garbage before", |_, outcome| match outcome {
        Outcome::Ok(_, Body::DeleteRange(reply)) if !reply.prev_kvs.is_empty() => {
            reply.prev_kvs[0].created.0 -= 1;
            true
        }
        _ => false,
    });
}

#[test]
fn a_wrong_branch_is_caught() {
    caught("branch", |_, outcome| match outcome {
        Outcome::Ok(_, Body::Txn(reply)) => {
            reply.succeeded ^= true;
            true
        }
        _ => false,
    });
    caught("one answer too few", |_, outcome| match outcome {
        Outcome::Ok(_, Body::Txn(reply)) => reply.replies.pop().is_some(),
        _ => false,
    });
}

#[test]
fn a_wrong_revision_of_a_write_is_caught() {
    for step in [-1, 1, 1_000] {
        caught("revision", |request, outcome| match (request, outcome) {
            (Request::Put(_), Outcome::Ok(header, _)) => {
                header.revision.0 += step;
                true
            }
            _ => false,
        });
    }
}

#[test]
fn a_read_from_the_future_is_caught() {
    caught("future", |request, outcome| match (request, outcome) {
        (Request::Range(_), Outcome::Ok(header, _)) => {
            header.revision.0 += 1_000;
            true
        }
        _ => false,
    });
}

#[test]
fn a_write_refused_as_without_effect_that_took_effect_is_caught() {
    caught("refused", |request, outcome| match (request, &outcome) {
        (Request::Put(_), Outcome::Ok(..)) => {
            *outcome = Outcome::DefinitelyNot(Refusal::Overloaded);
            true
        }
        _ => false,
    });
}

#[test]
fn a_put_refused_as_compacted_is_caught() {
    caught("compacted", |request, outcome| match request {
        Request::Put(_) => {
            *outcome = Outcome::DefinitelyNot(Refusal::Compacted);
            true
        }
        _ => false,
    });
}

/// Moves the answer of a linearizable read to what it would have been `back` revisions earlier.
#[test]
fn a_stale_read_is_caught() {
    let mut happened = 0;
    for white_box in [false, true] {
        for seed in 0..40 {
            let shape = Shape { white_box, ..RICH };
            let mut history = generate(seed, shape);
            // The highest revision that had been answered when the operation was called.
            let (mut floors, mut head) = (std::collections::BTreeMap::new(), Revision::FIRST);
            let model = history.model.clone();
            for (_, observation) in &mut history.events {
                match observation {
                    Observation::Call { op, request, .. } => {
                        floors.insert(*op, (head, request.clone()));
                    }
                    Observation::Return { op, outcome: Outcome::Ok(header, body) } => {
                        let (floor, request) = &floors[op];
                        let plain = matches!(request, Request::Range(r) if !r.serializable && r.revision.0 == 0);
                        if plain && Revision(20) < *floor {
                            header.revision = floor.prev();
                            *body = model.evaluate(header.revision, request, None).expect("a range").body;
                            happened += 1;
                            break;
                        }
                        if !matches!(body, Body::Compact | Body::LeaseKeepAlive { .. } | Body::LeaseTimeToLive { .. }) {
                            head = head.max(header.revision);
                        }
                    }
                    _ => {}
                }
            }
            let violations = check(&history, &config(shape));
            let found = violations.iter().find(|violation| violation.oracle == "linearizable");
            assert!(found.is_some_and(|found| found.at < history.end), "seed {seed}: not while it went on");
        }
    }
    assert!(60 < happened, "{happened}");
}

#[test]
fn two_writes_that_swapped_their_revisions_are_caught() {
    let mut happened = 0;
    for seed in 0..40 {
        let mut history = generate(seed, Shape { clients: 1, unknown_percent: 0, ..RICH });
        let mut puts = history.events.iter_mut().filter_map(|(_, observation)| match observation {
            Observation::Return { outcome: Outcome::Ok(header, Body::Put(_)), .. } => Some(&mut header.revision),
            _ => None,
        });
        if let (Some(one), Some(other)) = (puts.next(), puts.next()) {
            std::mem::swap(one, other);
            happened += 1;
            assert!(!check(&history, &config(RICH)).is_empty(), "seed {seed}");
        }
    }
    assert!(30 < happened);
}
