use bytes::Bytes;

use super::*;

fn request(key: &'static str, range_end: &'static str) -> pb::WatchCreateRequest {
    let (key, range_end) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(range_end.as_bytes()));
    pb::WatchCreateRequest { key, range_end, ..Default::default() }
}

#[test]
fn what_is_watched_is_read_as_etcd_reads_it() {
    for (key, range_end, interval) in [
        ("a", "", Interval::from_wire(b"a", b"")),
        ("a", "c", Interval::from_wire(b"a", b"c")),
        ("a", "\0", Interval::from_wire(b"a", b"\0")),
        ("", "", Interval::from_wire(b"\0", b"")),
        ("", "\0", Interval::from_wire(b"\0", b"\0")),
    ] {
        assert_eq!(
            watch_spec(&request(key, range_end)).map(|spec| spec.interval),
            Ok(interval),
            "{key:?} {range_end:?}"
        );
    }
}

#[test]
fn what_cannot_be_watched_is_refused_with_etcds_reasons() {
    let negative = pb::WatchCreateRequest { start_revision: -1, ..request("b", "a") };
    for (request, reason) in [
        (request("b", "b"), "mvcc: watcher range is empty"),
        (request("b", "a"), "mvcc: watcher range is empty"),
        (negative, "etcdserver: mvcc: required revision has been compacted"),
    ] {
        assert_eq!(watch_spec(&request), Err(reason), "{request:?}");
    }
}

#[test]
fn every_option_arrives() {
    let plain = watch_spec(&request("a", "")).unwrap();
    assert_eq!(plain, WatchSpec::from_now(Interval::from_wire(b"a", b"")));
    let all = pb::WatchCreateRequest {
        start_revision: i64::MAX,
        progress_notify: true,
        filters: vec![1, 0, 7],
        prev_kv: true,
        fragment: true,
        ..request("a", "")
    };
    let expected = WatchSpec {
        start_revision: i64::MAX,
        no_put: true,
        no_delete: true,
        prev_kv: true,
        progress_notify: true,
        fragment: true,
        ..plain
    };
    assert_eq!(watch_spec(&all), Ok(expected));
}

#[test]
fn jitter_is_below_a_tenth_and_differs_between_streams() {
    let interval = Duration::from_secs(600);
    let spread: Vec<Duration> = (0..100).map(|seed| jitter(interval, seed)).collect();
    assert!(spread.iter().all(|jitter| *jitter < interval / 10));
    assert!(spread.iter().any(|jitter| *jitter < interval / 40));
    assert!(spread.iter().any(|jitter| interval * 3 / 40 < *jitter));
}
