//! Steps that are an operator's work: who takes part, which release runs, who leads. All through the real services.
//!
//! An operator does one thing at a time, and insists: a request that got no answer is sent again until its outcome is
//! known, because a change that nobody knows of would leave a member that nobody starts.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::NodeId;
use evenkeel_scenario::step::Step;
use evenkeel_scenario::verb::{self, Action, DowngradeAction, MemberChange, Order, Wait};
use evenkeel_scenario::{Event, Value, Word};
use pb::downgrade_request::DowngradeAction as Wanted;
use tokio::sync::MutexGuard;

use super::connection::Connection;
use super::names::release;
use super::steps::Stage;
use crate::disk::Crash;
use evenkeel::version::release::Release;

/// One request is given up after this.
const REQUEST_PATIENCE: Duration = Duration::from_secs(7);
/// Between two tries of the same.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How long a roll waits for the cluster version: the leader looks every 4 s.
const AGREEMENT_PATIENCE: Duration = Duration::from_secs(10);
/// An operator that insists gives up after this.
const OPERATOR_PATIENCE: Duration = Duration::from_secs(40);
/// A removed member's process ends so soon after that, and after the end of all faults: whoever is asked tells it.
const REMOVED_PATIENCE: Duration = Duration::from_secs(15);

/// Swaps in one roll: members that crash may have to be taken more than once.
const SWAPS_MAX: u32 = 50;

/// Failures that leave no doubt, although their codes do.
const KNOWN_ENDS: [&str; 2] = ["unhealthy cluster", "leader transfer took too long"];

/// Members that the script may add.
pub fn joiners(steps: &[Step]) -> u64 {
    let joins = |step: &&Step| {
        matches!(&step.action, Action::Member(member)
            if matches!(member.change, MemberChange::Add | MemberChange::AddLearner))
    };
    steps.iter().filter(joins).map(|step| step.repeat.as_ref().map_or(1, |repeat| repeat.times)).sum()
}

/// How a request ended.
enum Told<T> {
    /// As wanted.
    Done(T),
    /// It was not done, for this reason.
    Refused(String),
    /// Nobody knows.
    Silence,
}

impl<T> Told<T> {
    fn of(outcome: Result<tonic::Response<T>, tonic::Status>) -> Told<T> {
        match outcome {
            Ok(response) => Told::Done(response.into_inner()),
            Err(status) if is_refusal(&status) => Told::Refused(status.message().into()),
            Err(_) => Told::Silence,
        }
    }
}

fn is_refusal(status: &tonic::Status) -> bool {
    use tonic::Code;
    let in_doubt = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Unknown];
    KNOWN_ENDS.iter().any(|end| status.message().contains(end)) || !in_doubt.contains(&status.code())
}

impl Stage {
    /// Notes how a step's request ended, for expressions: `STEP.done`, `STEP.refused('why')`.
    fn ended(&self, id: &str, refused: Option<&str>) {
        let mut event = Event {
            name: if refused.is_some() { "refused" } else { "done" }.to_owned(),
            at: self.feed.nanos(),
            until: Some(self.feed.nanos()),
            node: None,
            step: Some(id.to_owned()),
            fields: Default::default(),
        };
        if let Some(reason) = refused {
            event.fields.insert("reason".to_owned(), Value::Text(reason.to_owned()));
            let text = crate::chain::Value::Text;
            self.feed.log("step_refused", &[("step", text(id)), ("reason", text(reason))]);
        }
        self.feed.note(event);
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Told<T> {
        tokio::select! {
            biased;
            outcome = call => Told::of(outcome),
            () = self.feed.time().sleep(REQUEST_PATIENCE) => Told::Silence,
        }
    }

    /// Sends a request to the leader, or to whoever serves, until its outcome is known. `insist`: refusals are tried
    /// again as well. The error is the last refusal.
    async fn ask<T, F>(&self, insist: bool, mut request: impl FnMut(Connection) -> F) -> (Result<T, String>, bool)
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let give_up = self.feed.now() + OPERATOR_PATIENCE;
        let (mut last, mut silent, mut turn) = (String::from("nobody answers"), false, 0);
        while self.feed.now() < give_up {
            let serving: Vec<u64> = self.cluster.members().filter(|m| m.is_up()).map(|m| m.number).collect();
            let leader = self.cluster.leader().filter(|leader| serving.contains(leader));
            let asked = leader.or_else(|| serving.get(turn % serving.len().max(1)).copied());
            turn += 1;
            if let Some(number) = asked {
                match self.bounded(request(self.connections[number as usize - 1].clone())).await {
                    Told::Done(answer) => return (Ok(answer), silent),
                    Told::Refused(reason) if !insist => return (Err(reason), silent),
                    Told::Refused(reason) => last = reason,
                    Told::Silence => silent = true,
                }
            }
            self.feed.time().sleep(RETRY_INTERVAL).await;
        }
        (Err(last), silent)
    }

    pub(super) async fn transfer(&self, step: &verb::Transfer, id: &str) {
        let (Some(leader), Some(to)) = (self.cluster.leader(), self.members(&step.to, id, &[]).first().copied()) else {
            return self.ended(id, Some("there is no leader, or nobody to lead"));
        };
        let request = pb::MoveLeaderRequest { target_id: self.cluster.names.id(to) };
        let mut service = self.connections[leader as usize - 1].maintenance();
        match self.bounded(service.move_leader(request)).await {
            Told::Done(_) => self.ended(id, None),
            Told::Refused(reason) => self.ended(id, Some(&reason)),
            Told::Silence => self.ended(id, Some("no answer")),
        }
    }

    pub(super) async fn defrag(&self, step: &verb::Defrag, id: &str) {
        for number in self.members(&step.node, id, &[]) {
            let mut service = self.connections[number as usize - 1].maintenance();
            if let Told::Refused(reason) = self.bounded(service.defragment(pb::DefragmentRequest {})).await {
                return self.ended(id, Some(&reason));
            }
        }
        self.ended(id, None);
    }

    pub(super) async fn downgrade(&self, step: &verb::Downgrade, id: &str) {
        let action = match step.action {
            DowngradeAction::Validate => Wanted::Validate,
            DowngradeAction::Enable => Wanted::Enable,
            DowngradeAction::Cancel => Wanted::Cancel,
        };
        let version = step.to.map_or_else(String::new, |to| to.name().to_owned());
        let request = pb::DowngradeRequest { action: action as i32, version };
        let ask = |connection: Connection| {
            let request = request.clone();
            async move { connection.maintenance().downgrade(request).await }
        };
        match self.ask(false, ask).await {
            (Ok(_), _) => self.ended(id, None),
            // The silent one had been heard.
            (Err(reason), true) if reason.contains("downgrade job in progress") => self.ended(id, None),
            (Err(reason), _) => self.ended(id, Some(&reason)),
        }
    }

    /// The operator's time for one thing. None when it became calm while another was done: then nothing new is begun.
    async fn turn(&self, id: &str) -> Option<MutexGuard<'_, ()>> {
        let turn = self.operator.lock().await;
        if self.is_calm() {
            self.ended(id, Some("all faults had ended before it was its turn"));
            return None;
        }
        Some(turn)
    }

    pub(super) async fn member(self: &Arc<Self>, step: &verb::Member, id: &str) {
        let Some(_turn) = self.turn(id).await else { return };
        let insist = step.wait == Wait::Healthy;
        let about = step.node.as_ref().and_then(|node| self.members(node, id, &[]).first().copied());
        let outcome = match (step.change, about) {
            (MemberChange::Add, _) => self.add(false, insist).await,
            (MemberChange::AddLearner, _) => self.add(true, insist).await,
            (_, None) => Err("there is no such member".into()),
            (MemberChange::Promote, Some(number)) => self.promote(number, insist).await,
            (MemberChange::Remove, Some(number)) => self.remove(number, insist).await,
            (MemberChange::Update, Some(number)) => self.update(number, insist).await,
            (MemberChange::Replace, Some(number)) => self.replace(number).await,
        };
        self.ended(id, outcome.err().as_deref());
        if insist {
            self.healthy().await;
        }
    }

    /// A new machine joins.
    async fn add(&self, learner: bool, insist: bool) -> Result<(), String> {
        let number = self.cluster.spare().ok_or("there is no machine left")?;
        *self.joining.lock().expect("one thread") = Some(number);
        let outcome = self.added(number, learner, insist).await;
        *self.joining.lock().expect("one thread") = None;
        outcome
    }

    async fn added(&self, number: u64, learner: bool, insist: bool) -> Result<(), String> {
        let request = pb::MemberAddRequest { peer_urls: vec![self.cluster.peer_url(number)], is_learner: learner };
        let unanswered = &AtomicBool::new(false);
        let ask = |connection: Connection| {
            // It may be in the log, and needed for a quorum before anybody can say so.
            if unanswered.swap(true, Ordering::Relaxed) {
                self.begin(number);
            }
            let request = request.clone();
            async move {
                let outcome = connection.cluster().member_add(request).await;
                unanswered.store(!outcome.as_ref().is_err_and(is_refusal), Ordering::Relaxed);
                outcome
            }
        };
        // When nobody tells its id, it is learnt later.
        match self.ask(insist, ask).await {
            (Ok(answer), _) => {
                if let Some(member) = answer.member {
                    self.cluster.names.learn(number, member.id);
                }
            }
            (Err(reason), true) if reason.contains("Peer URLs already exists") => {}
            // When nobody says, what is in a log may be in force.
            (Err(_), true)
                if self
                    .settled(|member| member.peer_urls.contains(&request.peer_urls[0]))
                    .await
                    .unwrap_or(self.cluster.names.id(number) != 0) => {}
            (Err(reason), _) => {
                self.cluster.kill(number, Crash::Kill);
                return Err(reason);
            }
        }
        self.cluster.names.joined(number);
        self.begin(number);
        Ok(())
    }

    /// Whether such a member belongs, once nobody works any more on a change that got no answer: that a second try was
    /// refused says nothing of the first. `None` when nobody tells.
    async fn settled(&self, who: impl Fn(&pb::Member) -> bool) -> Option<bool> {
        self.feed.time().sleep(REQUEST_PATIENCE).await;
        let list = |connection: Connection| async move {
            connection.cluster().member_list(pb::MemberListRequest { linearizable: true }).await
        };
        self.ask(true, list).await.0.ok().map(|answer| answer.members.iter().any(who))
    }

    /// Has the machine's process join, unless it runs.
    fn begin(&self, number: u64) {
        if !self.cluster.machine(number).is_up() {
            self.cluster.kill(number, Crash::Kill);
            self.cluster.will_join(number);
            self.cluster.start(number);
        }
    }

    async fn promote(&self, number: u64, insist: bool) -> Result<(), String> {
        let id = self.cluster.names.id(number);
        let ask = |connection: Connection| async move {
            connection.cluster().member_promote(pb::MemberPromoteRequest { id }).await
        };
        match self.ask(insist, ask).await {
            (Ok(_), _) => Ok(()),
            (Err(reason), true) if reason.contains("can only promote a learner member") && !reason.contains("sync") => {
                Ok(())
            }
            (Err(reason), _) => Err(reason),
        }
    }

    /// The member leaves; its process ends by itself.
    async fn remove(&self, number: u64, insist: bool) -> Result<(), String> {
        let id = self.cluster.names.id(number);
        let ask = |connection: Connection| async move {
            connection.cluster().member_remove(pb::MemberRemoveRequest { id }).await
        };
        match self.ask(insist, ask).await {
            (Ok(_), _) => {}
            (Err(reason), true) if reason.contains("member not found") => {}
            (Err(_), true) if self.settled(|member| member.id == id).await == Some(false) => {}
            (Err(reason), _) => return Err(reason),
        }
        self.cluster.names.left(number);
        self.leaving.lock().expect("one thread").insert(number, self.feed.now());
        Ok(())
    }

    /// Whether an operator is at work, perhaps on a change of who belongs.
    pub fn is_operated(&self) -> bool {
        self.operator.try_lock().is_err()
    }

    /// Whether some member's process has still to find out that it was removed.
    pub fn anybody_leaves(&self) -> bool {
        self.leaving.lock().expect("one thread").keys().any(|number| self.cluster.machine(*number).is_up())
    }

    /// Who should have ended long ago, once it is calm, in a sentence.
    pub fn overstays(&self) -> Option<String> {
        if !self.is_calm() {
            return None;
        }
        let now = self.feed.now();
        let leaving = self.leaving.lock().expect("one thread");
        let stays = |(number, since): &(&u64, &Duration)| {
            self.cluster.machine(**number).is_up() && **since + REMOVED_PATIENCE < now
        };
        let (number, since) = leaving.iter().find(stays)?;
        let (patience, since) = (REMOVED_PATIENCE.as_secs(), since.as_secs_f64());
        Some(format!(
            "n{number} was removed, and its process still runs {patience} s after {since:.3} s, when it could know"
        ))
    }

    async fn update(&self, number: u64, insist: bool) -> Result<(), String> {
        let id = self.cluster.names.id(number);
        let peer_urls = vec![self.cluster.peer_url(number), self.cluster.spare_peer_url(number)];
        let ask = |connection: Connection| {
            let request = pb::MemberUpdateRequest { id, peer_urls: peer_urls.clone() };
            async move { connection.cluster().member_update(request).await }
        };
        self.ask(insist, ask).await.0.map(|_| ())
    }

    /// The member's machine gets a new disk and comes back with it in the member's place.
    async fn replace(&self, number: u64) -> Result<(), String> {
        self.trouble();
        self.cluster.kill(number, Crash::Kill);
        self.cluster.will_replace(number);
        self.cluster.start(number);
        self.relief();
        Ok(())
    }

    /// Cluster and stored data have come down to where a member of release `to` can open them; or patience is over.
    async fn ready_for(&self, number: u64, to: Release) {
        let give_up = self.feed.now() + AGREEMENT_PATIENCE;
        while !self.may_run(number, to) && self.feed.now() < give_up {
            self.feed.time().sleep(RETRY_INTERVAL).await;
        }
    }

    /// Neither the cluster version nor the member's stored data is above this release.
    pub(super) fn may_run(&self, number: u64, release: Release) -> bool {
        let reached = |level: Option<&str>| Release::ALL.iter().any(|r| *r <= release && level == Some(r.minor()));
        let storage = self.cluster.machine(number).look.with(|seen| seen.storage);
        reached(self.feed.lock().agreed.version.as_deref()) && reached(storage)
    }

    /// The cluster version is what all members run now; or patience is over. A downgrade lowers it beforehand.
    async fn agreed(&self, to: Release) {
        let give_up = self.feed.now() + AGREEMENT_PATIENCE;
        while self.feed.lock().agreed.version.as_deref() != Some(to.minor()) && self.feed.now() < give_up {
            self.feed.time().sleep(RETRY_INTERVAL).await;
        }
    }

    /// All members run, serve and follow one leader; or patience is over.
    pub(super) async fn healthy(&self) -> bool {
        let give_up = self.feed.now() + OPERATOR_PATIENCE;
        let healthy = || {
            let leader = self.cluster.leader().map(|number| NodeId(self.cluster.names.id(number)));
            leader.is_some()
                && self.cluster.members().all(|machine| {
                    machine.is_up() && machine.look.with(|seen| seen.ready && seen.standing.leader == leader)
                })
        };
        while self.feed.now() < give_up {
            if healthy() {
                return true;
            }
            self.feed.time().sleep(RETRY_INTERVAL).await;
        }
        false
    }

    pub(super) async fn roll(&self, step: &verb::Roll, id: &str) {
        let Some(_turn) = self.turn(id).await else { return };
        let to = release(step.to);
        for number in self.cluster.numbers() {
            self.cluster.begin_roll(number, to);
        }
        let mut left: Vec<u64> = self.cluster.numbers().collect();
        let (mut done, mut swapped) = (BTreeSet::new(), 0_u32);
        let pick = self.draws.label(&format!("step/{id}/order"));
        while !left.is_empty() && swapped < SWAPS_MAX && !self.is_calm() {
            let leader = self.cluster.leader();
            let place = match step.order {
                Order::FollowersThenLeader => left.iter().position(|n| Some(*n) != leader),
                Order::LeaderFirst => left.iter().position(|n| Some(*n) == leader),
                Order::ByNumber => None,
                Order::Random => Some(self.draws.below(pick, left.len() as u64) as usize),
            };
            let number = left.remove(place.unwrap_or(0));
            if step.wait == Wait::Healthy {
                self.ready_for(number, to).await;
            }
            self.swap(number, to).await;
            if step.wait == Wait::Healthy {
                self.healthy().await;
            }
            swapped += 1;
            self.feed.note(Event {
                name: "swapped".to_owned(),
                at: self.feed.nanos(),
                until: Some(self.feed.nanos()),
                node: Some(number),
                step: Some(id.to_owned()),
                fields: [("n".to_owned(), Value::Number(f64::from(swapped)))].into(),
            });
            done.insert(number);
            // A member that came back at the old release after a crash is taken again.
            let back = |n: &u64| self.cluster.machine(*n).release() != to;
            left.extend(done.iter().copied().filter(back));
            done.retain(|n| !left.contains(n));
        }
        for number in self.cluster.numbers() {
            self.cluster.end_roll(number);
        }
        if step.wait == Wait::Healthy {
            self.agreed(to).await;
        }
    }

    /// Restarts a member cleanly with another release.
    async fn swap(&self, number: u64, to: evenkeel::version::Release) {
        self.trouble();
        self.cluster.stop(number).await;
        self.cluster.set_release(number, to);
        if !self.cluster.machine(number).is_meant_to_run() {
            self.cluster.start(number);
        }
        self.relief();
    }
}
