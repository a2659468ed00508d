//! Calls by service, method and code, under the names of go-grpc-prometheus.
//!
//! Handlers count, not a transport layer: layers do not exist in simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, RwLock};

use prometheus::{IntCounter, IntCounterVec};
use tonic::Code;

use super::Maker;

const METHOD_LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];
/// gRPC's codes are 0 to 16.
const CODES: usize = 17;

type Key = (&'static str, &'static str);

#[derive(Clone)]
pub(super) struct Methods {
    started: IntCounterVec,
    handled: IntCounterVec,
    known: Arc<RwLock<BTreeMap<Key, Arc<Method>>>>,
}

struct Method {
    labels: [&'static str; 3],
    started: IntCounter,
    handled: [OnceLock<IntCounter>; CODES],
    family: IntCounterVec,
}

impl Methods {
    pub(super) fn new(make: &Maker<'_>) -> Methods {
        let [kind, service, method] = METHOD_LABELS;
        Methods {
            started: make.counters(
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
                &METHOD_LABELS,
            ),
            handled: make.counters(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                &[kind, service, method, "grpc_code"],
            ),
            known: Arc::default(),
        }
    }

    pub(super) fn begin(&self, service: &'static str, name: &'static str, kind: &'static str) -> RpcGuard {
        let known = self.known.read().expect("not poisoned").get(&(service, name)).cloned();
        let method = known.unwrap_or_else(|| self.add(service, name, kind));
        method.started.inc();
        RpcGuard { method, code: Code::Cancelled }
    }

    fn add(&self, service: &'static str, name: &'static str, kind: &'static str) -> Arc<Method> {
        let labels = [kind, service, name];
        let method = Arc::new(Method {
            labels,
            started: self.started.with_label_values(&labels),
            handled: [const { OnceLock::new() }; CODES],
            family: self.handled.clone(),
        });
        let mut known = self.known.write().expect("not poisoned");
        Arc::clone(known.entry((service, name)).or_insert(method))
    }
}

/// One call under way. Dropped without [`RpcGuard::done`], it counts as cancelled by its client.
pub struct RpcGuard {
    method: Arc<Method>,
    code: Code,
}

impl RpcGuard {
    /// The call has ended with this code.
    pub fn done(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for RpcGuard {
    fn drop(&mut self) {
        let method = &self.method;
        let counter = method.handled[self.code as usize].get_or_init(|| {
            let [kind, service, name] = method.labels;
            method.family.with_label_values(&[kind, service, name, code_name(self.code)])
        });
        counter.inc();
    }
}

/// Go's names of the codes.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
