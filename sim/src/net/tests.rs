//! What the network may do to a message, and what it may not.

use std::time::Duration;

use bytes::Bytes;
use evenkeel::env::MessageKind::{self, Append, Heartbeat, Snapshot, Vote};
use evenkeel_raft::NodeId;
use evenkeel_scenario::Decisions;

use super::*;
use crate::draw::Draws;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const MS: Duration = Duration::from_millis(1);

fn board(seed: u64, quality: Quality) -> Switchboard {
    let mut board = Switchboard::new(&Draws::new(Decisions::new(seed)), quality);
    board.add(N1, "n1");
    board.add(N2, "n2");
    board.up(Duration::ZERO, N1);
    board.up(Duration::ZERO, N2);
    board
}

fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// Sends `count` numbered messages from n1 to n2, one per `gap`, and returns the numbers in order of arrival.
fn run(board: &mut Switchboard, kind: MessageKind, count: u32, gap: Duration) -> Vec<u32> {
    let mut now = Duration::ZERO;
    for n in 0..count {
        board.send(now, N1, N2, kind, number(n));
        now += gap;
    }
    drain(board)
}

fn drain(board: &mut Switchboard) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(due) = board.next_due() {
        if let Some(Arrival::Message { bytes, to, .. }) = board.pop_due(due) {
            assert_eq!(to, N2);
            numbers.push(u32::from_be_bytes(bytes[..].try_into().unwrap()));
        }
    }
    numbers
}

fn rule(kinds: Kinds, effect: Effect) -> Rule {
    Rule { from: N1, to: N2, kinds, effect }
}

fn jitter() -> Quality {
    Quality { latency: MS..MS * 50, ..Quality::default() }
}

#[test]
fn one_lane_keeps_its_order_whatever_the_latencies() {
    assert_eq!(run(&mut board(1, jitter()), Append, 500, MS), (0..500).collect::<Vec<_>>());
}

#[test]
fn heartbeats_do_not_wait_for_entries_nor_entries_for_snapshots() {
    let mut board = board(1, Quality { bandwidth: Some(1000), ..Quality::default() });
    let due = |board: &mut Switchboard, kind, len| match board.send(MS, N1, N2, kind, Bytes::from(vec![0; len])) {
        Fate::Arrives(due) => due,
        other => panic!("{other:?}"),
    };
    let snapshot = due(&mut board, Snapshot, 10_000);
    let append = due(&mut board, Append, 1000);
    let behind = due(&mut board, Append, 1000);
    let heartbeat = due(&mut board, Heartbeat, 10);
    assert!(heartbeat < append);
    assert!(append < behind);
    assert!(behind < snapshot);
    assert!(snapshot >= Duration::from_secs(10));
}

#[test]
fn a_cut_is_one_way_of_some_kinds_and_ends_when_it_is_taken_back() {
    let mut board = board(1, jitter());
    let cut = board.add_rule(rule(Kinds::named(["raft.append", "raft.vote"]).unwrap(), Effect::Cut));
    let fate = |board: &mut Switchboard, from, to, kind| board.send(MS, from, to, kind, number(0));
    assert_eq!(fate(&mut board, N1, N2, Append), Fate::Cut);
    assert_eq!(fate(&mut board, N1, N2, Vote), Fate::Cut);
    assert!(matches!(fate(&mut board, N1, N2, Heartbeat), Fate::Arrives(_)));
    assert!(matches!(fate(&mut board, N2, N1, Append), Fate::Arrives(_)));
    assert!(board.remove_rule(cut));
    assert!(!board.remove_rule(cut));
    assert!(matches!(fate(&mut board, N1, N2, Append), Fate::Arrives(_)));
    assert_eq!(Kinds::named(["raft.append", "raft.apend"]), Err("raft.apend"));
}

#[test]
fn loss_and_duplication_hit_their_share() {
    let mut lossy = board(1, Quality { loss: 0.25, ..jitter() });
    let arrived = run(&mut lossy, Append, 4000, MS);
    assert!((2850..3150).contains(&arrived.len()), "{}", arrived.len());
    assert_eq!(lossy.counters().of(Append).lost as usize, 4000 - arrived.len());

    let mut twice = board(1, jitter());
    twice.add_rule(rule(Kinds::ALL, Effect::Duplicate(0.25)));
    let arrived = run(&mut twice, Append, 3000, MS);
    assert!((3650..3850).contains(&arrived.len()), "{}", arrived.len());
    let mut unique = arrived.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique, (0..3000).collect::<Vec<_>>());
}

#[test]
fn a_reordered_message_is_overtaken_and_the_others_stay_in_order() {
    let mut board = board(1, jitter());
    board.add_rule(rule(Kinds::ALL, Effect::Reorder(0.1, MS * 500..MS * 900)));
    let arrived = run(&mut board, Append, 1000, MS);
    assert_eq!(arrived.len(), 1000);
    let overtaken = arrived.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((20..150).contains(&overtaken), "{overtaken}");
}

#[test]
fn slow_adds_to_the_latency_like_a_queue_that_fills() {
    let mut board = board(1, Quality { latency: MS..MS, ..Quality::default() });
    board.add_rule(rule(Kinds::ALL, Effect::Slow(MS * 300..MS * 300)));
    for (at, under_way) in [(0, 1), (100, 51), (400, 201), (600, 301), (5000, 301)] {
        assert_eq!(board.send(MS * at, N1, N2, Append, number(0)), Fate::Arrives(MS * (at + under_way)), "{at} ms");
    }
}

#[test]
fn a_fault_leaves_the_choices_about_other_messages_alone() {
    let fates = |board: &mut Switchboard| -> Vec<Fate> {
        (0..200).map(|i| board.send(MS * i, N2, N1, Append, number(0))).collect()
    };
    let plain = fates(&mut board(7, jitter()));
    let mut faulty = board(7, jitter());
    faulty.add_rule(rule(Kinds::ALL, Effect::Drop(0.5)));
    run(&mut faulty, Append, 100, MS);
    assert_eq!(fates(&mut faulty), plain);
}

#[test]
fn messages_to_an_earlier_life_vanish_and_the_sender_is_told() {
    let mut board = board(1, jitter());
    board.send(MS, N1, N2, Append, number(1));
    board.down(Duration::ZERO, N2, End::Silent);
    assert_eq!(board.send(MS, N1, N2, Append, number(2)), Fate::Dead);
    assert_eq!(board.send(MS * 2, N1, N2, Append, number(3)), Fate::Dead);
    board.up(Duration::ZERO, N2);
    board.send(MS * 3, N1, N2, Append, number(4));
    let mut arrivals = Vec::new();
    while let Some(due) = board.next_due() {
        arrivals.extend(board.pop_due(due));
    }
    let message = Arrival::Message { id: 4, from: N1, to: N2, kind: Append, bytes: number(4) };
    assert_eq!(arrivals, [Arrival::Down { to: N1, peer: N2 }, message]);
    assert_eq!(board.counters().of(Append).dead, 3);
}

#[test]
fn a_member_learns_that_a_connected_process_is_gone_and_only_then() {
    let second = MS * 1000;
    // How the process ends, whether it comes back at once, and whether the way is cut.
    for (end, returns, cut, told) in [
        (End::Refused, false, None, true),
        (End::Silent, false, None, false),
        (End::Refused, true, None, false),
        (End::Refused, false, Some(Kinds::ALL), false),
        (End::Refused, false, Kinds::named(["raft.append"]).ok(), true),
    ] {
        let mut board = board(1, jitter());
        if let Some(kinds) = cut {
            board.add_rule(rule(kinds, Effect::Cut));
        }
        board.down(second, N2, end);
        if returns {
            board.up(second, N2);
        }
        let mut arrivals = Vec::new();
        while let Some(due) = board.next_due() {
            arrivals.extend(board.pop_due(due));
        }
        let reset = Arrival::Reset { to: N1, peer: N2, wrongly: false };
        assert_eq!(arrivals, if told { vec![reset] } else { vec![] }, "{end:?} {returns} {cut:?}");
    }
}

#[test]
fn a_broken_connection_loses_what_is_under_way_and_nothing_else() {
    let mut board = board(1, jitter());
    board.send(MS, N1, N2, Append, number(1));
    board.break_connection(N2, N1);
    assert_eq!(drain(&mut board), [1]);
    board.send(MS * 100, N1, N2, Append, number(2));
    board.break_connection(N1, N2);
    board.send(MS * 100, N1, N2, Append, number(3));
    assert_eq!(drain(&mut board), [3]);
}

#[test]
fn a_refused_connection_seems_the_end_of_a_process_that_lives() {
    let mut board = board(1, jitter());
    board.refuse_connection(MS, N1, N2);
    assert_eq!(board.next_due(), None, "they are not connected yet");
    board.refuse_connection(MS * 1000, N1, N2);
    let due = board.next_due().expect("the news is under way");
    assert_eq!(board.pop_due(due), Some(Arrival::Reset { to: N1, peer: N2, wrongly: true }));
}

#[test]
fn a_cut_shows_only_after_a_while() {
    let mut board = board(1, jitter());
    board.add_rule(rule(Kinds::ALL, Effect::Cut));
    let mut told = Vec::new();
    for i in 0..60 {
        let now = MS * 100 * i;
        board.send(now, N1, N2, Heartbeat, number(0));
        if board.pop_due(now + MS) == Some(Arrival::Down { to: N1, peer: N2 }) {
            told.push(i);
        }
    }
    assert_eq!(told, [20, 40]);
}

#[test]
fn a_link_holds_a_bounded_number_of_messages() {
    let mut board = board(1, jitter());
    let full = (0..5000).filter(|n| board.send(MS, N1, N2, Append, number(*n)) == Fate::Full).count();
    assert_eq!(full, 5000 - 4096);
    drain(&mut board);
    assert!(matches!(board.send(MS * 100, N1, N2, Append, number(0)), Fate::Arrives(_)));
}
