//! Plain HTTP, without the transport: a method, a path and a query give a reply.
//!
//! Paths, bodies and codes are etcd's, down to the quoted `"true"` in `/health`: probes, load balancers and
//! dashboards parse them.

use evenkeel_proto::etcdserverpb::AlarmType;
use serde_json::json;

use crate::front::{Facts, Inspect};
use crate::version;

/// Which port asks. Each shows only what etcd shows there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything but `/members`.
    Client,
    /// Health and metrics.
    Metrics,
    /// Versions, members and whether a downgrade is under way.
    Peer,
}

/// What to send back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body's type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Reply {
    fn text(status: u16, body: impl Into<String>) -> Reply {
        Reply { status, content_type: TEXT, body: body.into() }
    }

    fn json(body: &serde_json::Value) -> Reply {
        Reply { status: 200, content_type: JSON, body: body.to_string() }
    }
}

/// Answers one request. `inspect` is `None` as long as the member is not there yet.
pub async fn respond(
    inspect: Option<&dyn Inspect>,
    surface: Surface,
    method: &str,
    path: &str,
    query: Option<&str>,
) -> Reply {
    let known = matches!(
        (surface, path),
        (Surface::Client | Surface::Peer, "/version")
            | (Surface::Client | Surface::Metrics, "/health" | "/metrics")
            | (Surface::Client, "/debug/vars")
            | (Surface::Peer, "/members" | "/downgrade/enabled")
    ) || (surface != Surface::Peer && Checks::find(path).is_some());
    if !known {
        return Reply::text(404, "404 page not found\n");
    }
    if method != "GET" {
        return Reply::text(405, "Method Not Allowed\n");
    }
    let query = Query::parse(query.unwrap_or_default());
    let Some(inspect) = inspect else {
        return Reply::text(503, "the member is starting\n");
    };
    match path {
        "/version" => versions(&inspect.facts()),
        "/metrics" => {
            let body = inspect.metrics().render(&inspect.facts());
            Reply { status: 200, content_type: METRICS, body }
        }
        "/health" => health(inspect, &query).await,
        "/debug/vars" => debug_vars(&inspect.facts()),
        "/members" => members(&inspect.facts()),
        "/downgrade/enabled" => Reply::text(200, inspect.facts().downgrade_enabled.to_string()),
        _ => Checks::find(path).expect("known").run(inspect, &query).await,
    }
}

fn versions(facts: &Facts) -> Reply {
    let cluster = facts.cluster_version.as_deref();
    Reply::json(&json!({
        "etcdserver": facts.release.server(),
        "etcdcluster": cluster.unwrap_or("not_decided"),
        "storage": facts.storage_version.unwrap_or("unknown"),
        "evenkeel": version::EVENKEEL,
    }))
}

fn debug_vars(facts: &Facts) -> Reply {
    Reply::json(&json!({
        "cmdline": ["evenkeel"],
        "raft.status": {
            "id": format!("{:x}", facts.member_id),
            "lead": format!("{:x}", facts.leader),
            "term": facts.raft_term,
            "commit": facts.committed,
            "applied": facts.applied,
        },
    }))
}

fn members(facts: &Facts) -> Reply {
    let member = |member: &crate::front::MemberFacts| {
        json!({
            "id": member.id,
            "name": member.name,
            "peerURLs": member.peer_urls,
            "clientURLs": member.client_urls,
            "isLearner": member.is_learner,
        })
    };
    Reply::json(&facts.members.iter().map(member).collect())
}

/// `/health`: alarms, then the leader, then a read.
async fn health(inspect: &dyn Inspect, query: &Query<'_>) -> Reply {
    let serializable = query.get("serializable") == Some("true");
    let facts = inspect.facts();
    let alarm = facts.alarms.iter().map(|kind| alarm_name(*kind)).find(|name| !query.excludes(name));
    let reason = if let Some(alarm) = alarm {
        format!("ALARM {alarm}")
    } else if !serializable && facts.leader == 0 {
        "RAFT NO LEADER".to_owned()
    } else {
        inspect.read(serializable).await.err().map_or_else(String::new, |error| format!("RANGE ERROR:{error}"))
    };
    let healthy = reason.is_empty();
    let body = format!(r#"{{"health":"{healthy}","reason":{}}}"#, json!(reason));
    if healthy {
        inspect.metrics().health_success.inc();
        Reply::text(200, body)
    } else {
        inspect.metrics().health_failures.inc();
        tracing::warn!(output = body, "/health error");
        Reply::text(503, body + "\n")
    }
}

fn alarm_name(kind: i32) -> &'static str {
    match AlarmType::try_from(kind) {
        Ok(AlarmType::Nospace) => "NOSPACE",
        Ok(AlarmType::Corrupt) => "CORRUPT",
        _ => "UNKNOWN",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

const LIVEZ: &[Check] = &[Check::SerializableRead];
const READYZ: &[Check] = &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, inspect: &dyn Inspect) -> Result<(), String> {
        match self {
            Check::DataCorruption if inspect.facts().alarms.contains(&(AlarmType::Corrupt as i32)) => {
                Err("alarm activated: CORRUPT".into())
            }
            Check::NonLearner if inspect.facts().is_learner => Err("not supported for learner".into()),
            Check::DataCorruption | Check::NonLearner => Ok(()),
            Check::SerializableRead => inspect.read(true).await,
            Check::LinearizableRead => inspect.read(false).await,
        }
    }
}

/// `/livez` and `/readyz`: all checks of a kind, or one of them by its own path.
struct Checks {
    kind: &'static str,
    checks: &'static [Check],
    only: Option<Check>,
}

impl Checks {
    fn find(path: &str) -> Option<Checks> {
        let (kind, checks, rest) = if let Some(rest) = path.strip_prefix("/livez") {
            ("/livez", LIVEZ, rest)
        } else {
            ("/readyz", READYZ, path.strip_prefix("/readyz")?)
        };
        if rest.is_empty() {
            return Some(Checks { kind, checks, only: None });
        }
        let name = rest.strip_prefix('/')?;
        let only = checks.iter().copied().find(|check| check.name() == name)?;
        Some(Checks { kind, checks, only: Some(only) })
    }

    async fn run(&self, inspect: &dyn Inspect, query: &Query<'_>) -> Reply {
        let mut report = String::new();
        let mut healthy = true;
        for check in self.checks.iter().copied() {
            let wanted = match self.only {
                Some(only) => only == check,
                None => !query.excludes(check.name()),
            };
            if !wanted {
                continue;
            }
            let outcome = check.run(inspect).await;
            self.count(inspect, check, outcome.is_ok());
            match outcome {
                Ok(()) => report += &format!("[+]{} ok\n", check.name()),
                Err(error) => {
                    report += &format!("[-]{} failed: {error}\n", check.name());
                    healthy = false;
                }
            }
        }
        if !healthy {
            tracing::error!(path = self.kind, reason = report, "Health check error");
            return Reply::text(503, report + "\n");
        }
        let verbose = query.get("verbose").is_some();
        Reply::text(200, if verbose { report + "ok\n" } else { "ok\n".into() })
    }

    fn count(&self, inspect: &dyn Inspect, check: Check, healthy: bool) {
        let kind = self.kind.trim_start_matches('/');
        let metrics = inspect.metrics();
        metrics.healthcheck.with_label_values(&[kind, check.name()]).set(i64::from(healthy));
        let status = if healthy { "success" } else { "error" };
        metrics.healthchecks.with_label_values(&[kind, check.name(), status]).inc();
    }
}

/// The part of a URL behind the question mark. Names and values that matter here need no decoding.
struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Query<'a> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn excludes(&self, name: &str) -> bool {
        self.0.contains(&("exclude", name))
    }
}

#[cfg(test)]
mod tests;
