//! Request in, reply out, as one table per path.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_core::future::BoxFuture;

use super::*;
use crate::metrics::Metrics;
use crate::version::Release;

#[derive(Default)]
struct Fake {
    metrics: Metrics,
    facts: Facts,
    stale: Option<&'static str>,
    linear: Option<&'static str>,
}

impl Inspect for Fake {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn read(&self, serializable: bool) -> BoxFuture<'_, Result<(), String>> {
        let error = if serializable { self.stale } else { self.linear };
        Box::pin(async move { error.map_or(Ok(()), |error| Err(error.to_owned())) })
    }

    fn leaving(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

fn healthy() -> Fake {
    Fake { facts: Facts { leader: 7, member_id: 0xabc, ..Facts::default() }, ..Fake::default() }
}

fn ask(fake: &Fake, surface: Surface, request: &str) -> Reply {
    let (method, target) = request.split_once(' ').expect("METHOD PATH");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let reply = pin!(respond(Some(fake), surface, method, path, query));
    match reply.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => reply,
        Poll::Pending => panic!("{request} waits"),
    }
}

fn check(fake: &Fake, request: &str, status: u16, body: &str) {
    let reply = ask(fake, Surface::Client, request);
    assert_eq!((reply.status, reply.body.as_str()), (status, body), "{request}");
}

const HEALTHY: &str = r#"{"health":"true","reason":""}"#;

#[test]
fn a_healthy_member_says_so_everywhere() {
    let fake = healthy();
    check(&fake, "GET /health", 200, HEALTHY);
    check(&fake, "GET /livez", 200, "ok\n");
    check(&fake, "GET /readyz", 200, "ok\n");
    check(&fake, "GET /livez?verbose", 200, "[+]serializable_read ok\nok\n");
    let all = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    check(&fake, "GET /readyz?verbose", 200, all);
    check(&fake, "GET /readyz/linearizable_read?verbose", 200, "[+]linearizable_read ok\nok\n");
    check(
        &fake,
        "GET /readyz?verbose&exclude=linearizable_read&exclude=data_corruption",
        200,
        "[+]serializable_read ok\n[+]non_learner ok\nok\n",
    );
}

#[test]
fn a_member_without_a_leader_lives_but_is_not_ready() {
    let mut fake = healthy();
    fake.facts.leader = 0;
    fake.linear = Some("etcdserver: no leader");
    check(&fake, "GET /health", 503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    check(&fake, "GET /health?serializable=true", 200, HEALTHY);
    check(&fake, "GET /livez", 200, "ok\n");
    let body = "[+]data_corruption ok\n[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: no leader\n\
        [+]non_learner ok\n\n";
    check(&fake, "GET /readyz", 503, body);
}

#[test]
fn alarms_make_a_member_unhealthy_unless_excluded() {
    let mut fake = healthy();
    fake.facts.alarms = vec![AlarmType::Nospace as i32];
    check(&fake, "GET /health", 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    check(&fake, "GET /health?exclude=NOSPACE", 200, HEALTHY);
    check(&fake, "GET /readyz", 200, "ok\n");
    fake.facts.alarms.push(AlarmType::Corrupt as i32);
    check(&fake, "GET /health?exclude=NOSPACE", 503, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
    check(&fake, "GET /readyz/data_corruption", 503, "[-]data_corruption failed: alarm activated: CORRUPT\n\n");
}

#[test]
fn a_failing_read_is_named() {
    let mut fake = healthy();
    fake.linear = Some("etcdserver: \"x\"");
    check(&fake, "GET /health", 503, "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: \\\"x\\\"\"}\n");
}

#[test]
fn a_learner_is_not_ready() {
    let mut fake = healthy();
    fake.facts.is_learner = true;
    check(&fake, "GET /readyz/non_learner", 503, "[-]non_learner failed: not supported for learner\n\n");
}

#[test]
fn versions_are_unknown_until_the_cluster_agrees() {
    let mut fake = healthy();
    let version = |fake: &Fake| -> serde_json::Value {
        serde_json::from_str(&ask(fake, Surface::Peer, "GET /version").body).expect("JSON")
    };
    for release in Release::ALL {
        fake.facts.release = release;
        assert_eq!(version(&fake)["etcdserver"], release.server());
    }
    assert_eq!(
        (&version(&fake)["etcdcluster"], &version(&fake)["storage"]),
        (&json!("not_decided"), &json!("unknown"))
    );
    fake.facts.cluster_version = Some("3.7.0".into());
    fake.facts.storage_version = Some("3.7.0");
    assert_eq!((&version(&fake)["etcdcluster"], &version(&fake)["storage"]), (&json!("3.7.0"), &json!("3.7.0")));
}

#[test]
fn each_port_shows_its_own_paths_and_only_to_get() {
    use Surface::{Client, Metrics, Peer};
    let fake = healthy();
    for (path, surfaces) in [
        ("/version", &[Client, Peer][..]),
        ("/health", &[Client, Metrics]),
        ("/livez", &[Client, Metrics]),
        ("/readyz/non_learner", &[Client, Metrics]),
        ("/metrics", &[Client, Metrics]),
        ("/debug/vars", &[Client]),
        ("/members", &[Peer]),
        ("/downgrade/enabled", &[Peer]),
        ("/", &[]),
        ("/livez/linearizable_read", &[]),
        ("/healthy", &[]),
        ("/livezx", &[]),
    ] {
        for surface in [Client, Metrics, Peer] {
            let status = if surfaces.contains(&surface) { (200, 405) } else { (404, 404) };
            let get = ask(&fake, surface, &format!("GET {path}")).status;
            let post = ask(&fake, surface, &format!("POST {path}")).status;
            assert_eq!((get, post), status, "{path} on {surface:?}");
        }
    }
}

#[test]
fn checks_are_counted() {
    let fake = healthy();
    ask(&fake, Surface::Client, "GET /health");
    ask(&fake, Surface::Client, "GET /livez");
    let text = ask(&fake, Surface::Metrics, "GET /metrics").body;
    assert!(text.contains("\netcd_server_health_success 1\n"), "{text}");
    assert!(text.contains(r#"etcd_server_healthcheck{name="serializable_read",type="livez"} 1"#), "{text}");
    assert!(text.contains(r#"etcd_server_id{server_id="abc"} 1"#), "{text}");
}
