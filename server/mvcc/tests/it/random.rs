//! Random commands and queries over few keys, so that they meet.

use crate::pool::Pool;
use evenkeel_mvcc::*;
use proptest::collection::vec;
use proptest::prelude::*;

pub fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(&["a", "a\0", "b", "ba", "c", "d", "e", "\0", "\u{7f}"][..])
        .prop_map(|k| Key::from(k.as_bytes()))
}

pub fn interval() -> impl Strategy<Value = Interval> {
    let end = prop_oneof![
        4 => Just(Vec::new()),
        2 => Just(vec![0u8]),
        4 => key().prop_map(|key| key.to_vec()),
        1 => Just(b"zz".to_vec()),
    ];
    (key(), end).prop_map(|(key, end)| Interval::from_wire(&key, &end))
}

/// Revisions around those a short run reaches, and the extremes.
pub fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => Just(0),
        8 => 1..40i64,
        1 => prop::sample::select(&[-1, -2, i64::MIN, i64::MAX, i64::MAX - 1][..]),
    ]
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0), 3 => 1..30i64, 1 => prop::sample::select(&[-1, i64::MIN, i64::MAX][..])]
}

pub fn lease() -> impl Strategy<Value = LeaseId> {
    prop_oneof![
        5 => Just(LeaseId::NONE),
        5 => prop::sample::select(&[1, 2, -3, i64::MIN][..]).prop_map(LeaseId),
    ]
}

pub fn range() -> impl Strategy<Value = RangeQuery> {
    let order = prop::sample::select(&[SortOrder::None, SortOrder::None, SortOrder::Ascend, SortOrder::Descend][..]);
    let target = prop::sample::select(
        &[
            SortTarget::Key,
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ][..],
    );
    let limit = prop_oneof![Just(0), 1..5i64, prop::sample::select(&[-1, i64::MAX, i64::MIN][..])];
    let filters = prop_oneof![2 => Just([0; 4]), 1 => [bound(), bound(), bound(), bound()]];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (interval(), revision(), limit, order, target, flags, filters).prop_map(
        |(interval, revision, limit, order, target, (keys_only, count_only), filters)| {
            let [min_mod, max_mod, min_create, max_create] = filters;
            RangeQuery {
                interval,
                revision,
                limit,
                order,
                target,
                keys_only,
                count_only,
                min_mod,
                max_mod,
                min_create,
                max_create,
            }
        },
    )
}

/// Values are numbers until [`place_values`] gives each its own place.
fn put() -> impl Strategy<Value = Put> {
    let value = (0..5u32).prop_map(|crc| ValueRef { segment: 0, offset: 0, len: u32::MAX, crc });
    let flags = (any::<bool>(), prop::bool::weighted(0.15), prop::bool::weighted(0.15));
    (key(), value, lease(), flags).prop_map(|(key, value, lease, (prev_kv, ignore_value, ignore_lease))| Put {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    })
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (interval(), any::<bool>()).prop_map(|(interval, prev_kv)| DeleteRange { interval, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let result = prop::sample::select(
        &[CompareResult::Equal, CompareResult::NotEqual, CompareResult::Greater, CompareResult::Less][..],
    );
    let target = prop_oneof![
        (0..4i64).prop_map(CompareTarget::Version),
        (0..30i64).prop_map(CompareTarget::Create),
        (0..30i64).prop_map(CompareTarget::Mod),
        (0..5u32).prop_map(|value| CompareTarget::Value(bytes_of(value))),
        lease().prop_map(|lease| CompareTarget::Lease(lease.0)),
    ];
    (interval(), result, target).prop_map(|(interval, result, target)| Compare { interval, result, target })
}

fn txn() -> impl Strategy<Value = Txn> {
    let op = prop_oneof![3 => put().prop_map(Op::Put), 2 => delete().prop_map(Op::DeleteRange), 3 => range().prop_map(Op::Range)];
    let flat = (vec(compare(), 0..2), vec(op.clone(), 0..4), vec(op.clone(), 0..4))
        .prop_map(|(compare, success, failure)| Txn { compare, success, failure });
    flat.prop_recursive(3, 24, 4, move |nested| {
        let op = prop_oneof![2 => op.clone(), 1 => nested.prop_map(Op::Txn)];
        (vec(compare(), 0..2), vec(op.clone(), 0..4), vec(op, 0..4)).prop_map(|(compare, success, failure)| Txn {
            compare,
            success,
            failure,
        })
    })
}

/// Of the first few commands, so that it is right now and then.
fn granted_at() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 3 => (1..12u64).prop_map(Some)]
}

fn checkpoint() -> impl Strategy<Value = LeaseCheckpoint> {
    (lease(), -1..100i64, granted_at()).prop_map(|(id, remaining_seconds, granted_at)| LeaseCheckpoint {
        id,
        remaining_seconds,
        granted_at,
    })
}

pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => put().prop_map(Command::Put),
        4 => delete().prop_map(Command::DeleteRange),
        8 => txn().prop_map(Command::Txn),
        3 => revision().prop_map(|revision| Command::Compact { revision: Revision(revision) }),
        3 => (lease(), prop::sample::select(&[0, 60, -5, 9_000_000_000, 9_000_000_001][..]))
            .prop_map(|(id, ttl_seconds)| Command::LeaseGrant { id, ttl_seconds }),
        1 => (lease(), granted_at()).prop_map(|(id, granted_at)| Command::LeaseRevoke { id, granted_at }),
        1 => vec(checkpoint(), 0..3).prop_map(Command::LeaseCheckpoint),
    ]
}

/// Every value a put brings gets a place of its own.
pub fn place_values(command: &mut Command, pool: &Pool) {
    match command {
        Command::Put(put) => place(put, pool),
        Command::Txn(txn) => place_in_txn(txn, pool),
        _ => {}
    }
}

fn place_in_txn(txn: &mut Txn, pool: &Pool) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match op {
            Op::Put(put) => place(put, pool),
            Op::Txn(txn) => place_in_txn(txn, pool),
            _ => {}
        }
    }
}

fn place(put: &mut Put, pool: &Pool) {
    put.value = pool.place(&bytes_of(put.value.crc));
}

/// Some values are equal, some have a common beginning, one is empty.
fn bytes_of(value: u32) -> Vec<u8> {
    [&b""[..], b"a", b"aa", b"b", b"ab"][value as usize].to_vec()
}
