use std::sync::Arc;

use evenkeel_raft::message::{Body, Message};
use evenkeel_raft::{Config, Configuration, Entry, Input, Restored, SnapshotMeta, Term};

use super::*;

const LIVE: NodeId = NodeId(2);
const BEHIND: NodeId = NodeId(3);
const LIMITS: Limits = Limits { entries: 10, bytes: usize::MAX };

/// The leader of three, of whom one answers everything and one nothing but what a test has it say.
struct Leader {
    raft: Raft,
    retention: Retention,
    /// What was sent to the one behind.
    sent: Vec<Body>,
    /// How often it was to get a snapshot.
    wanted: usize,
}

impl Leader {
    fn elected() -> Leader {
        let voters = [NodeId(1), LIVE, BEHIND].into();
        let snapshot =
            SnapshotMeta { configuration: Configuration { voters, ..Default::default() }, ..Default::default() };
        let config = Config { pre_vote: false, ..Config::new(NodeId(1), 7) };
        let raft = Raft::new(config, Restored { snapshot, ..Default::default() });
        let mut leader = Leader { raft, retention: Retention::default(), sent: Vec::new(), wanted: 0 };
        leader.raft.step(Input::Campaign);
        leader.settle();
        assert_eq!(leader.raft.standing().leader, Some(NodeId(1)));
        leader
    }

    fn hears(&mut self, from: NodeId, body: Body) {
        let term = self.raft.standing().term;
        self.raft.step(Input::Message { from, message: Message { term, body } });
    }

    /// Writes, has the live one answer, and applies, until nothing is owed.
    fn settle(&mut self) {
        while let Some(ready) = self.raft.take_ready() {
            let write = ready.write;
            let promised = write.iter().flat_map(|write| write.messages.clone());
            let messages: Vec<(NodeId, Message)> = ready.messages.into_iter().chain(promised).collect();
            if let Some(write) = &write {
                self.raft.step(Input::Persisted { write: write.seq });
            }
            self.wanted += ready.snapshots_wanted.len();
            for (to, message) in messages {
                match message.body {
                    body if to == BEHIND => self.sent.push(body),
                    Body::VoteRequest { pre_vote, .. } => {
                        self.hears(LIVE, Body::VoteResponse { pre_vote, granted: true });
                    }
                    Body::AppendRequest { prev_index, entries, .. } => {
                        let matched = entries.last().map_or(prev_index, |entry| entry.index);
                        self.hears(LIVE, Body::AppendAccepted { matched });
                    }
                    _ => {}
                }
            }
            if let Some(Entry { index, .. }) = ready.committed.last() {
                self.raft.step(Input::Applied { index: *index });
            }
        }
    }

    fn writes(&mut self, count: usize) {
        for _ in 0..count {
            self.raft.propose(Arc::from(&b"x"[..]), false).expect("it leads");
            self.settle();
            let now = Duration::ZERO;
            let upto = self.retention.forgettable(&self.raft, self.raft.committed(), LIMITS, now);
            self.raft.step(Input::Compact { upto });
        }
    }

    /// The one behind says that it holds nothing.
    fn is_told_of_emptiness(&mut self) {
        self.sent.clear();
        let (hint_index, hint_term) = (Index(0), Term(0));
        let prev_index = Index(0);
        self.hears(BEHIND, Body::AppendRejected { prev_index, hint_index, hint_term, needs_snapshot: true });
        self.settle();
    }
}

#[test]
fn whoever_had_a_snapshot_is_asked_before_it_gets_another_one() {
    for (during, after) in [(0, 0), (0, 1), (5, 1), (5, 30)] {
        let mut leader = Leader::elected();
        leader.writes(50);
        leader.is_told_of_emptiness();
        assert_eq!(leader.wanted, 1);
        let index = leader.raft.committed();
        leader.retention.began(BEHIND, index);
        leader.writes(during);

        leader.retention.ended(BEHIND, Duration::ZERO);
        leader.raft.step(Input::SnapshotDone { peer: BEHIND });
        leader.writes(after);
        leader.raft.step(Input::Tick);
        leader.settle();
        let rounds = leader.sent.iter().rev().find_map(|body| match body {
            Body::Heartbeat { round, .. } => Some(*round),
            _ => None,
        });
        let round = rounds.expect("a leader shows life");
        leader.hears(BEHIND, Body::HeartbeatResponse { round });
        leader.settle();
        let probes = leader.sent.iter().filter(|body| matches!(body, Body::AppendRequest { .. })).count();
        assert_eq!((leader.wanted, probes), (1, 1), "{during} entries during the transfer, {after} after it");

        leader.hears(BEHIND, Body::AppendAccepted { matched: index });
        leader.settle();
        assert_eq!(leader.wanted, 1);
        let last = leader.sent.iter().rev().find_map(|body| match body {
            Body::AppendRequest { prev_index, entries, .. } => {
                Some(entries.last().map_or(*prev_index, |entry| entry.index))
            }
            _ => None,
        });
        assert_eq!(last, Some(leader.raft.last_index()), "it gets what it lacks from the log");
    }
}
