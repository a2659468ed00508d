//! The server: everything that waits, sends, stores or measures around the two cores.
//!
//! [`serve`] is the one way in, for `main` and for the simulator alike. It is handed its configuration and its
//! world ([`env::Env`]) and reaches nothing else.
//!
//! A member is three tasks that own one thing each, joined by bounded queues:
//! [`node`] owns the Raft core, [`wal`] the log, [`apply`] the state. Services are thin: they translate requests
//! and ask the [`member::Member`] handle.

pub mod apply;
pub mod ask;
pub mod boot;
pub mod checkpoint;
pub mod collect;
pub mod config;
pub mod contacts;
pub mod env;
pub mod error;
pub mod first_ticks;
pub mod front;
pub mod handover;
pub mod lease;
pub mod leaving;
pub mod member;
pub mod membership;
pub mod metrics;
pub mod node;
pub mod parking;
pub mod peer;
pub mod places;
pub mod points;
pub mod publish;
pub mod queue;
pub mod quota;
pub mod reader;
pub mod reads;
pub mod records;
pub mod retention;
pub mod service;
pub mod snapshot_assembly;
pub mod snapshot_pace;
pub mod snapshot_receive;
pub mod snapshot_send;
pub mod snapshot_window;
pub mod state;
pub mod version;
pub mod waiters;
pub mod wal;

mod inspect;

#[cfg(not(madsim))]
pub mod flags;
#[cfg(not(madsim))]
pub mod http;
#[cfg(not(madsim))]
pub mod log;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_raft::{Index, NodeId};
use tokio::sync::{mpsc, watch};

pub use boot::ServeError;
use config::Config;
use env::{Env, Event};
use member::Member;

/// After a member has stopped, its clients may read for so long what it still had to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running member.
pub struct Server {
    member: Arc<Member>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Starts a member: boots from its disk, joins its peers, listens for clients, and serves them as soon as the
/// cluster knows this member.
pub async fn serve(config: Config, env: Env) -> Result<Server, ServeError> {
    let mut listeners = front::bind(&config).await.map_err(|e| ServeError::Listen(e.to_string()))?;
    let booted = boot::boot(&config, &env).await?;
    let base = booted.raft.first_index().prev().0;
    let log: Vec<_> = (base..=booted.raft.last_index().0)
        .filter_map(|index| Some((Index(index), booted.raft.term_at(Index(index))?)))
        .collect();
    env.observer.observe(Event::Booted {
        hard_state: booted.raft.hard_state(),
        last_index: booted.raft.last_index(),
        last_term: booted.raft.term_at(booted.raft.last_index()).unwrap_or_default(),
        applied: booted.raft.applied(),
        storage: booted.storage,
        release: config.release,
        log: &log,
    });
    let (inputs, input_queue) = queue::queue(node::INPUT_QUEUE);
    let (inbox, inbox_queue) = queue::queue(node::INBOX_QUEUE);
    let (log, log_queue) = mpsc::channel(wal::LOG_QUEUE);
    let (apply, apply_queue) = mpsc::channel(apply::APPLY_QUEUE);

    let reader = reader::Reader::new(booted.wal.values(), &booted.state.store)
        .map_err(|error| ServeError::Data(format!("data directory {}: {error}", config.data_dir)))?;
    let applied = Index(booted.state.store.applied().0);
    let member = Member::new(config, booted.ids, env, booted.state, booted.storage, reader, inputs.clone());
    member.places().restore(booted.places.into_iter().filter(|(index, _)| applied < *index));
    member.env().network.start(NodeId(booted.ids.member), booted.ids.cluster, inbox);

    let (has_persisted, persisted) = watch::channel(Default::default());
    let log_task = wal::LogTask {
        wal: booted.wal,
        member: Arc::clone(&member),
        works: log_queue,
        persisted: has_persisted,
        apply: apply.clone(),
    };
    let collector = collect::run(Arc::clone(&member), log.downgrade());
    let checkpointer = checkpoint::Checkpointer::new(&log, applied);
    let applier = apply::Applier::new(Arc::clone(&member), apply_queue, checkpointer);
    let node = node::Node::new(booted.raft, Arc::clone(&member), input_queue, inbox_queue, log, apply, persisted);
    listeners.serve_metrics(member.clone());
    let services = service::Services::new(Arc::clone(&member));
    let serving = serve_clients(Arc::clone(&member), listeners, services);
    let watched = |name, task| tokio::spawn(watched(Arc::clone(&member), name, task));
    let tasks = vec![
        watched("log", Box::pin(log_task.run()) as Task),
        watched("apply", Box::pin(applier.run())),
        watched("driver", Box::pin(node.run())),
        watched("collection", Box::pin(collector)),
        watched("lease", Box::pin(lease::expiry::run(Arc::clone(&member)))),
        watched("storage", Box::pin(version::storage::keep(Arc::clone(&member)))),
        watched("front", Box::pin(serving)),
    ];
    Ok(Server { member, tasks })
}

/// Serves clients from the moment the cluster knows this member until it leaves.
async fn serve_clients(member: Arc<Member>, listeners: front::Listeners, services: service::Services) {
    let served = async {
        tokio::select! {
            biased;
            () = member.leaving() => return,
            () = publish::attributes(&member) => {}
        }
        if member.ended().is_some() {
            return;
        }
        member.env().observer.observe(Event::Ready);
        member.became_ready();
        tracing::info!("ready to serve client requests");
        if let Err(error) = listeners.serve(services, member.clone()).await {
            member.fail(format!("serving clients failed: {error}"));
        }
    };
    let cut = async {
        member.stopping().await;
        member.env().clock.sleep(LAST_WORDS).await;
    };
    tokio::select! {
        biased;
        () = served => {}
        () = cut => {}
    }
    member.leave_taking().front_closed();
    member.stopping().await;
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a task without which the member is not whole: when it panics, or ends before the member does, the member
/// stops, so that whoever supervises the process notices.
async fn watched(member: Arc<Member>, name: &'static str, task: Task) {
    struct Fall(Arc<Member>, &'static str);
    impl Drop for Fall {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.fail(format!("the {} task has panicked", self.1));
            }
        }
    }
    let fall = Fall(member, name);
    task.await;
    if fall.0.ended().is_none() {
        fall.0.fail(format!("the {name} task has ended by itself"));
    }
}

impl Server {
    /// The member's handle.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Resolves when the member serves clients, or stops before it could.
    pub async fn ready(&self) {
        self.member.ready().await;
    }

    /// Resolves when the member has ended: `Ok` after [`Server::stop`], an error when it could not go on.
    pub async fn wait(&self) -> Result<(), String> {
        self.member.stopping().await;
        self.member.ended().unwrap_or(Ok(()))
    }

    /// Stops the member in good order (see [`leaving`]): leadership is handed over, requests in flight are answered,
    /// everything handed to the log is written, all tasks end.
    pub async fn stop(self) {
        let member = &self.member;
        tokio::select! {
            biased;
            () = member.stopping() => {}
            () = member.leave() => {}
            () = member.env().clock.sleep(member.request_timeout()) => {
                tracing::warn!("not everybody was served in time; stopping all the same");
            }
        }
        member.stop();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}
