//! A message arrives: is it possible at all, is it of our term, and who handles it.
//!
//! Members are trusted to follow the protocol, but not to be free of bugs or of other versions: a message that no
//! correct member could send is dropped here, before it can reach an assertion. What is checked needs no state; the
//! handlers check what depends on theirs. Who sent it does not matter: a member that our configuration does not name
//! may be in a newer one (dissertation 4.1). Keeping strangers out is the shell's business.

use crate::Raft;
use crate::election::Ballot;
use crate::message::{Body, Message};
use crate::types::{Entry, Index, NodeId, Payload, Term};

/// Past any term or index that is ever reached, and far from overflow.
const NUMBER_MAX: u64 = 1 << 62;

impl Raft {
    pub(crate) fn receive(&mut self, from: NodeId, message: Message) {
        if from == NodeId(0) || from == self.config.id || !is_possible(&message) {
            return;
        }
        let Message { term, body } = message;
        let own_term = self.hard_state.term;
        match body {
            Body::VoteRequest { pre_vote, last_index, last_term, force } => {
                return self.vote_requested(from, term, &Ballot { pre_vote, last_index, last_term, force });
            }
            // Carries the term asked about, which nobody has entered.
            Body::VoteResponse { pre_vote: true, granted: true } => {
                if term == own_term.next() {
                    self.voted(from, true, true);
                }
                return;
            }
            _ => {}
        }
        if term < own_term {
            return self.teach_term(from, &body);
        }
        if own_term < term {
            self.become_follower(term);
        }
        self.show_active(from);
        self.handle(from, body);
    }

    /// Handles a message of our own term.
    fn handle(&mut self, from: NodeId, body: Body) {
        match body {
            Body::VoteRequest { .. } => unreachable!("handled for any term"),
            Body::VoteResponse { pre_vote, granted } => self.voted(from, pre_vote, granted),
            Body::AppendRequest { prev_index, prev_term, entries, commit } => {
                if self.follow(from) {
                    self.append_requested(from, prev_index, prev_term, entries, commit);
                }
            }
            Body::Heartbeat { commit, round } => {
                if self.follow(from) {
                    self.heartbeat(from, commit, round);
                }
            }
            Body::Snapshot { meta } => {
                if self.follow(from) {
                    self.snapshot_arrived(from, meta);
                }
            }
            Body::AppendAccepted { matched } => self.append_accepted(from, matched),
            Body::AppendRejected { needs_snapshot: true, .. } => self.snapshot_needed(from),
            Body::AppendRejected { prev_index, hint_index, hint_term, needs_snapshot: false } => {
                self.append_rejected(from, prev_index, hint_index, hint_term);
            }
            Body::TimeoutNow => {
                if self.follow(from) {
                    self.told_to_campaign();
                }
            }
            Body::HeartbeatResponse { round } => self.heartbeat_answered(from, round),
            Body::ReadRequest { context } => self.read_requested(from, context),
            Body::ReadResponse { context, index } => self.read_answered(from, context, index),
            Body::Propose { data } => {
                // Too much is in flight, or we do not lead: the proposer's client will not hear an answer, and retries.
                let _ = self.propose(data, false);
            }
        }
    }

    /// Somebody who believes to lead an old term must learn that it is over, or a member that returns with a newer term
    /// would ignore it, and be ignored, for ever.
    fn teach_term(&mut self, from: NodeId, body: &Body) {
        if matches!(body, Body::AppendRequest { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. }) {
            self.send(from, Body::AppendAccepted { matched: Index(0) });
        }
    }
}

/// Whether a correct member could send this.
fn is_possible(message: &Message) -> bool {
    let term = message.term;
    let is_position =
        |index: Index, of: Term| index.0 <= NUMBER_MAX && of.0 <= NUMBER_MAX && (index.0 == 0) == (of.0 == 0);
    let body_is_possible = match &message.body {
        Body::VoteRequest { last_index, last_term, .. } => is_position(*last_index, *last_term) && *last_term < term,
        Body::AppendRequest { prev_index, prev_term, entries, .. } => {
            is_position(*prev_index, *prev_term)
                && *prev_term <= term
                && continues(*prev_index, *prev_term, entries, term)
        }
        Body::AppendAccepted { matched } => matched.0 <= NUMBER_MAX,
        Body::AppendRejected { prev_index, hint_index, .. } => prev_index.0 <= NUMBER_MAX && hint_index.0 <= NUMBER_MAX,
        Body::Snapshot { meta } => {
            is_position(meta.index, meta.term) && meta.term <= term && meta.configuration.is_possible()
        }
        Body::VoteResponse { .. }
        | Body::Heartbeat { .. }
        | Body::HeartbeatResponse { .. }
        | Body::ReadRequest { .. }
        | Body::ReadResponse { .. }
        | Body::TimeoutNow
        | Body::Propose { .. } => true,
    };
    0 < term.0 && term.0 <= NUMBER_MAX && body_is_possible
}

fn continues(prev_index: Index, prev_term: Term, entries: &[Entry], term: Term) -> bool {
    let (mut index, mut newest) = (prev_index, prev_term);
    entries.iter().all(|entry| {
        let fits = entry.index == index.next() && newest <= entry.term && 0 < entry.term.0 && entry.term <= term;
        let fits = fits && !matches!(&entry.payload, Payload::Config(config) if !config.configuration.is_possible());
        (index, newest) = (entry.index, entry.term);
        fits
    })
}
