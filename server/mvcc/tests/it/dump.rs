//! Records and bytes.

use crate::pool::loaded;
use crate::random;
use crate::store::Pair;
use evenkeel_mvcc::codec::*;
use evenkeel_mvcc::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A store written to bytes and read back.
fn through_bytes(store: &Store) -> Store {
    let mut bytes = Vec::new();
    encode_header(&store.header(), &mut bytes);
    store.lease_records().for_each(|lease| encode_lease(&lease, &mut bytes));
    store.versions().for_each(|row| encode_version(&row, &mut bytes));
    let mut input = bytes.as_slice();
    let mut restored = Restore::new(decode_header(&mut input).unwrap()).unwrap();
    for _ in 0..store.lease_count() {
        restored.lease(decode_lease(&mut input).unwrap()).unwrap();
    }
    while !input.is_empty() {
        restored.version(decode_version(&mut input).unwrap()).unwrap();
    }
    restored.finish().unwrap()
}

fn row() -> impl Strategy<Value = VersionRow> {
    let value = any::<(u32, u32, u32, u32)>()
        .prop_map(|(segment, offset, len, crc)| VersionKind::Put(ValueRef { segment, offset, len, crc }));
    (vec(any::<u8>(), 0..20), any::<i64>(), any::<u32>(), any::<i64>(), any::<i64>(), any::<i64>(), value, 0..3u8)
        .prop_map(|(key, main, sub, create, version, lease, kind, form)| {
            let row = VersionRow {
                key: Key::from(key),
                main: Revision(main),
                sub,
                create: Revision(create),
                version,
                lease: LeaseId(lease),
                kind,
            };
            match form {
                0 => row,
                1 => VersionRow { create: row.main, version: 1, lease: LeaseId::NONE, ..row },
                _ => VersionRow {
                    create: Revision(0),
                    version: 0,
                    lease: LeaseId::NONE,
                    kind: VersionKind::Tombstone,
                    ..row
                },
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_restored_store_is_the_same_and_lives_on(
        commands in vec(random::command(), 1..40),
        more in vec(random::command(), 1..20),
        queries in vec(random::range(), 1..10),
    ) {
        let mut pair = Pair::new();
        for command in commands {
            pair.apply(command);
        }
        let copy = through_bytes(&pair.store);
        prop_assert_eq!(copy.state_hash(), pair.store.state_hash());
        prop_assert_eq!(copy.header(), pair.store.header());
        prop_assert_eq!(copy.usage(), pair.store.usage());
        for query in &queries {
            prop_assert_eq!(loaded(copy.range(query, &pair.pool)), loaded(pair.store.range(query, &pair.pool)));
        }
        pair.store = copy;
        for command in more {
            pair.apply(command);
            pair.compare();
        }
    }

    #[test]
    fn records_survive_bytes(row in row(), numbers in any::<(i64, i64, u64, u64)>(), rest in vec(any::<u8>(), 0..5)) {
        let (a, b, c, d) = numbers;
        let header = Header { revision: Revision(a), compacted: Revision(b), applied_index: c, applied_term: d };
        let lease = LeaseRecord { id: LeaseId(a), ttl_seconds: b, remaining_seconds: a.wrapping_add(b), granted_at: c };
        let mut bytes = Vec::new();
        encode_version(&row, &mut bytes);
        encode_header(&header, &mut bytes);
        encode_lease(&lease, &mut bytes);
        let len = bytes.len();
        bytes.extend(&rest);
        let mut input = bytes.as_slice();
        prop_assert_eq!(decode_version(&mut input), Ok(row));
        prop_assert_eq!(decode_header(&mut input), Ok(header));
        prop_assert_eq!(decode_lease(&mut input), Ok(lease));
        prop_assert_eq!(input, rest.as_slice());
        let mut cut = &bytes[..len - 1];
        let cut = decode_version(&mut cut).and(decode_header(&mut cut).map(drop)).and(decode_lease(&mut cut).map(drop));
        prop_assert_eq!(cut, Err(CodecError::Truncated));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in vec(any::<u8>(), 0..80)) {
        let _ = decode_header(&mut bytes.as_slice());
        let _ = decode_lease(&mut bytes.as_slice());
        let _ = decode_version(&mut bytes.as_slice());
    }

    #[test]
    fn any_records_are_a_store_or_an_error(
        header in (-3..20i64, -3..20i64),
        leases in vec((random::lease(), any::<i64>()), 0..3),
        rows in vec((random::key(), -1..20i64, 0..2u32, row()), 0..8),
        sorted in any::<bool>(),
    ) {
        let header = Header { revision: Revision(header.0), compacted: Revision(header.1), applied_index: 3, applied_term: 1 };
        let leases = leases.into_iter().map(|(id, ttl)| LeaseRecord { id, ttl_seconds: ttl, remaining_seconds: 0, granted_at: 1 });
        let mut rows: Vec<VersionRow> = rows
            .into_iter()
            .map(|(key, main, sub, row)| {
                let main = Revision(main);
                let lease = LeaseId(row.lease.0 % 3);
                VersionRow { key, main, sub, create: if row.version == 1 { main } else { row.create }, lease, ..row }
            })
            .collect();
        if sorted {
            rows.sort_by(|a, b| (&a.key, a.main, a.sub).cmp(&(&b.key, b.main, b.sub)));
        }
        if let Ok(store) = restore(header, leases, rows.iter().cloned()) {
            prop_assert!(store.versions().eq(rows));
            prop_assert_eq!(store.state_hash(), state_hash_of(&store));
        }
    }
}

#[test]
fn a_huge_key_length_is_not_believed() {
    let mut bytes = vec![0xff; 9];
    bytes.push(0x01);
    assert_eq!(decode_version(&mut bytes.as_slice()), Err(CodecError::Truncated));
}

#[test]
fn a_number_of_more_than_64_bits_is_refused() {
    assert_eq!(decode_lease(&mut [0xff; 20].as_slice()), Err(CodecError::TooLarge));
    let mut bytes = vec![0xff; 9];
    bytes.extend([0x02, 0, 0]);
    assert_eq!(decode_lease(&mut bytes.as_slice()), Err(CodecError::TooLarge));
}

#[test]
fn records_that_make_no_sense_are_refused() {
    let header = Header { revision: Revision(9), compacted: Revision(3), applied_index: 9, applied_term: 1 };
    let row = |key: &str, main: i64| VersionRow {
        key: Key::from(key.as_bytes()),
        main: Revision(main),
        sub: 0,
        create: Revision(main),
        version: 1,
        lease: LeaseId::NONE,
        kind: VersionKind::Put(ValueRef::EMPTY),
    };
    let tombstone = |key: &str, main: i64| VersionRow {
        create: Revision(0),
        version: 0,
        kind: VersionKind::Tombstone,
        ..row(key, main)
    };
    let check = |rows: Vec<VersionRow>, expected: Result<u64, RestoreError>| {
        assert_eq!(restore(header, [], rows).map(|store| store.version_count()), expected);
    };
    check(vec![row("a", 2), row("b", 9)], Ok(2));
    check(vec![row("b", 2), row("a", 9)], Err(RestoreError::OutOfOrder));
    check(vec![row("a", 2), row("a", 2)], Err(RestoreError::OutOfOrder));
    check(vec![row("a", 10)], Err(RestoreError::BadVersion));
    check(vec![row("", 2)], Err(RestoreError::BadVersion));
    check(vec![VersionRow { version: 0, ..row("a", 2) }], Err(RestoreError::BadVersion));
    check(vec![VersionRow { lease: LeaseId(7), ..row("a", 2) }], Err(RestoreError::LeaseNotFound));
    check(vec![tombstone("a", 2)], Err(RestoreError::BelowFloor));
    check(vec![tombstone("a", 3)], Ok(1));
    check(vec![row("a", 2), row("a", 3)], Err(RestoreError::BelowFloor));
    let bad = |revision: i64, compacted: i64| {
        let header = Header { revision: Revision(revision), compacted: Revision(compacted), ..header };
        assert_eq!(restore(header, [], []).map(|_| ()), Err(RestoreError::BadHeader));
    };
    bad(0, -1);
    bad(5, 6);
    bad(5, -2);
    bad(i64::MAX, 3);
    let lease = |id: i64| LeaseRecord { id: LeaseId(id), ttl_seconds: 5, remaining_seconds: 0, granted_at: 1 };
    assert_eq!(restore(header, [lease(0)], []).map(|_| ()), Err(RestoreError::BadLease));
    assert_eq!(restore(header, [lease(1), lease(1)], []).map(|_| ()), Err(RestoreError::BadLease));
}
