//! The other ways to make a case smaller or plainer. Each proposes candidates and keeps the first that still fails.

use evenkeel_scenario::ops::{Ask, Keys, SIZE_DEFAULT, WATCH_FOR};
use evenkeel_scenario::step::Trigger;
use evenkeel_scenario::{Action, Cluster, Nanos, RunLength, Selector, Spread};

use super::items::{Item, items, without};
use super::{Case, Shrinker};
use crate::repro::concrete::{link_of, node_of};

const MS: i64 = 1_000_000;
/// A run goes on for so long after the moment of its failure: that moment is noticed at the next look.
const AFTER: Nanos = Nanos::from_millis(200);
/// No run ends before this.
const END_MIN: Nanos = Nanos::from_secs(1);
/// So much before the failure is kept at first, the least first.
const WINDOWS: [i64; 5] = [250 * MS, 500 * MS, 1_000 * MS, 2_000 * MS, 4_000 * MS];
/// By then there is a leader, most often.
const FIRST_LEADER: i64 = 1_500 * MS;
/// With more than this left, thresholds are lowered to need fewer.
const FEW_ITEMS: usize = 6;
/// Gaps that are tried, the shortest first.
const GAPS: [i64; 6] = [10 * MS, 50 * MS, 200 * MS, 500 * MS, 1_000 * MS, 2_000 * MS];
/// With more of them than this, times and operations are made plainer together, but not one by one.
const SINGLY_MAX: usize = 12;
/// Precisions to which times are rounded, the roundest first.
const ROUND: [i64; 6] = [1_000 * MS, 500 * MS, 100 * MS, 10 * MS, MS, 1_000];

/// The end of a run that fails at this moment, on a round number.
pub(super) fn just_after(at_ns: u64) -> Nanos {
    let end = at_ns as i64 + AFTER.0;
    Nanos((end / (100 * MS) + 1) * 100 * MS)
}

fn rounded(value: Nanos, to: i64) -> Nanos {
    Nanos((value.0 + to / 2) / to * to)
}

impl Shrinker<'_> {
    fn edit(&self, change: impl FnOnce(&mut Case)) -> Case {
        let mut case = self.best.clone();
        change(&mut case);
        case
    }

    /// Nothing is expected but what is not met: the rest would only be in the way.
    pub(super) fn only_its_expectation(&mut self) {
        let name = self.signature.as_str().to_owned();
        if self.best.resolved.expects.iter().any(|expect| expect.id != name) {
            let bare = self.edit(|case| case.resolved.expects.retain(|expect| expect.id == name));
            self.improve("only its expectation", vec![bare]);
        }
    }

    /// The run ends soon after its failure.
    pub(super) fn earlier_end(&mut self) -> bool {
        let RunLength::For(now) = self.best.resolved.run else {
            let end = just_after(self.at_ns);
            let cut = self.edit(|case| case.resolved.run = RunLength::For(end));
            return self.improve("cut after the failure", vec![cut]);
        };
        // What is noticed only after the end may be noticed after an earlier one.
        let after = just_after(self.at_ns);
        let ends = if after < now { vec![after] } else { vec![Nanos(now.0 / 2), Nanos(now.0 / 4 * 3)] };
        let ends = ends.into_iter().map(|end| rounded(end, 100 * MS)).filter(|end| END_MIN <= *end && *end < now);
        let candidates = ends.map(|end| self.edit(|case| case.resolved.run = RunLength::For(end))).collect();
        self.improve("cut after the failure", candidates)
    }

    /// Only what happens shortly before the failure, moved to where a leader has just been elected: such runs are
    /// short, and everything after this is cheap.
    pub(super) fn later_start(&mut self) -> bool {
        let at = |resolved: &evenkeel_scenario::Resolved, item: &Item| match *item {
            Item::Op(group, place) => resolved.clients[group].knobs.ops.0[place].at.0,
            Item::Step(place) => match resolved.steps[place].trigger {
                Trigger::At(at) => at.0,
                _ => i64::MAX,
            },
        };
        let mut candidates = Vec::new();
        for window in WINDOWS {
            let from = self.at_ns as i64 - window;
            let shift = from - FIRST_LEADER;
            if shift <= 500 * MS {
                break;
            }
            let resolved = &self.best.resolved;
            let gone: Vec<Item> = items(resolved).into_iter().filter(|item| at(resolved, item) < from).collect();
            let mut case = without(&self.best, &gone);
            shift_times(&mut case, shift);
            case.resolved.run = RunLength::For(Nanos(just_after(self.at_ns).0 - shift));
            candidates.push(case);
        }
        self.improve("started later", candidates)
    }

    /// Fewer members, and whom things were about counted anew.
    pub(super) fn fewer_members(&mut self) -> bool {
        let now = self.best.resolved.cluster.nodes;
        let candidates = [1, 2, 3, 5].into_iter().filter(|nodes| *nodes < now).flat_map(|nodes| {
            // Who is left may be the first ones or the last ones.
            [0, now - nodes].map(|shift| {
                self.edit(|case| {
                    case.resolved.cluster.nodes = nodes;
                    renumber(case, |number| (number + 2 * nodes - 1 - shift % nodes) % nodes + 1);
                })
            })
        });
        let candidates = candidates.collect();
        self.improve("fewer members", candidates)
    }

    /// Settings at their defaults: all of them, or one by one.
    pub(super) fn plain_settings(&mut self) -> bool {
        let mut plain = Cluster::defaults().expect("every key of the cluster has a default");
        let now = self.best.resolved.cluster.clone();
        if self.lowered {
            plain.snapshot_count = now.snapshot_count;
            plain.snapshot_catchup = now.snapshot_catchup;
            plain.checkpoint_every = now.checkpoint_every;
        }
        let mut candidates = Vec::new();
        let mut calm = plain.clone();
        calm.net.latency = Spread::fixed(Nanos::from_millis(2));
        calm.disk.fsync = Spread::fixed(Nanos::from_millis(1));
        for whole in [calm, plain.clone()] {
            let kept = Cluster {
                nodes: now.nodes,
                mutants: now.mutants.clone(),
                switches: now.switches.clone(),
                release: now.release,
                ..whole
            };
            if kept == now {
                break;
            }
            candidates.push(kept);
        }
        macro_rules! each {
            ($($($path:ident).+ = $value:expr;)*) => {$(
                if now.$($path).+ != $value {
                    let mut one = now.clone();
                    one.$($path).+ = $value;
                    candidates.push(one);
                }
            )*};
        }
        if candidates.len() == 2 {
            each! {
                net.loss = plain.net.loss;
                net.duplicate = plain.net.duplicate;
                net.reorder = plain.net.reorder;
                net.latency = Spread::fixed(Nanos::from_millis(2));
                disk.fsync = Spread::fixed(Nanos::from_millis(1));
                disk.torn = plain.disk.torn;
                disk.error_rate = plain.disk.error_rate;
                clock = plain.clock.clone();
                tick = plain.tick;
                election_ticks = plain.election_ticks;
                heartbeat_ticks = plain.heartbeat_ticks;
                pre_vote = plain.pre_vote;
                check_quorum = plain.check_quorum;
                tick_advance = plain.tick_advance;
                snapshot_count = plain.snapshot_count;
                snapshot_catchup = plain.snapshot_catchup;
                segment_bytes = plain.segment_bytes;
                checkpoint_every = plain.checkpoint_every;
                snapshot_rate = plain.snapshot_rate;
                snapshot_piece = plain.snapshot_piece;
                raft_log_bytes = plain.raft_log_bytes;
                lease_checkpoint = plain.lease_checkpoint;
                watch_progress = plain.watch_progress;
                watch_fragment = plain.watch_fragment;
                watch_batch = plain.watch_batch;
                watch_log = plain.watch_log;
            }
        }
        let make = |cluster| self.edit(|case| case.resolved.cluster = cluster);
        let candidates = candidates.into_iter().map(make).collect();
        if !self.improve("plainer settings", candidates) {
            return false;
        }
        if !self.is_late() {
            self.plain_settings();
        }
        true
    }

    /// Thresholds that are reached with fewer operations, where a failure needs many.
    pub(super) fn lower_thresholds(&mut self) -> bool {
        let many = FEW_ITEMS < items(&self.best.resolved).len();
        let now = &self.best.resolved.cluster;
        let lower = [(1, 0), (2, 1), (5, 2), (now.snapshot_count / 2, now.snapshot_catchup / 2)];
        let lower = lower.into_iter().filter(|(count, _)| many && 0 < *count && *count < now.snapshot_count);
        let candidates = lower.map(|(count, catchup)| {
            self.edit(|case| {
                let cluster = &mut case.resolved.cluster;
                cluster.snapshot_count = count;
                cluster.snapshot_catchup = catchup.min(cluster.snapshot_catchup);
                cluster.checkpoint_every = count.min(cluster.checkpoint_every);
            })
        });
        let candidates = candidates.collect();
        let before = (self.best.clone(), self.at_ns);
        let helped = self.improve("lower thresholds", candidates) && self.fewer_items();
        if !helped {
            (self.best, self.at_ns) = before;
        }
        self.lowered |= helped;
        helped
    }

    /// Random load that is still there: fewer clients, slower, of fewer kinds.
    pub(super) fn less_load(&mut self) -> bool {
        let mut candidates = Vec::new();
        for (place, client) in self.best.resolved.clients.iter().enumerate() {
            if !client.knobs.ops.0.is_empty() {
                continue;
            }
            if self.explicit {
                candidates.push(self.edit(|case| {
                    case.resolved.clients.remove(place);
                }));
            }
            let half = |rate: f64| if rate < 2.0 { rate } else { (rate / 2.0).round() };
            if client.knobs.count > 1 {
                candidates.push(self.edit(|case| case.resolved.clients[place].knobs.count = 1));
            }
            if client.knobs.rate >= 2.0 {
                candidates.push(self.edit(|case| case.resolved.clients[place].knobs.rate = half(client.knobs.rate)));
            }
            if client.knobs.keys > 1 {
                candidates.push(self.edit(|case| case.resolved.clients[place].knobs.keys = 1));
            }
            let kinds = &client.knobs.mix.0;
            for kind in kinds.iter().filter(|_| kinds.len() > 1) {
                candidates.push(self.edit(|case| {
                    case.resolved.clients[place].knobs.mix.0.retain(|other| other.0 != kind.0);
                }));
            }
        }
        self.improve("less load", candidates)
    }

    /// Times of everything that has one, in order.
    fn times(&self) -> Vec<i64> {
        let resolved = &self.best.resolved;
        let steps =
            resolved.steps.iter().filter_map(|step| if let Trigger::At(at) = step.trigger { Some(at) } else { None });
        let ops = resolved.clients.iter().flat_map(|client| &client.knobs.ops.0).map(|op| op.at);
        let mut times: Vec<i64> = steps.chain(ops).map(|at| at.0).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The case with every time moved, its end with the last one.
    fn moved(&self, to: &dyn Fn(i64) -> i64) -> Case {
        self.edit(|case| {
            for step in &mut case.resolved.steps {
                if let Trigger::At(at) = &mut step.trigger {
                    *at = Nanos(to(at.0));
                }
            }
            for op in case.resolved.clients.iter_mut().flat_map(|client| &mut client.knobs.ops.0) {
                op.at = Nanos(to(op.at.0));
            }
            if let (RunLength::For(end), Some(last)) = (&mut case.resolved.run, self.times().last()) {
                *end = Nanos(end.0 + (to(*last) - last).max(-end.0 / 2));
            }
        })
    }

    /// Less waiting between one thing and the next.
    pub(super) fn shorter_gaps(&mut self) -> bool {
        let times = self.times();
        let squeezed = |longest: &dyn Fn(usize) -> i64| {
            let (mut before, mut shift, mut table) = (0, 0, Vec::new());
            for (place, time) in times.iter().enumerate() {
                let gap = time - before;
                shift += (gap - longest(place)).max(0);
                table.push((*time, time - shift));
                before = *time;
            }
            table
        };
        let mut tables: Vec<Vec<(i64, i64)>> = Vec::new();
        for gap in GAPS {
            // The first gap is the time to the first leader, which nothing shortens.
            tables.push(squeezed(&|place| if place == 0 { gap.max(1_000 * MS) } else { gap }));
            tables.push(squeezed(&|place| if place == 0 { gap.max(2_000 * MS) } else { gap }));
        }
        if times.len() <= SINGLY_MAX {
            for one in 0..times.len() {
                tables.extend(GAPS.map(|gap| squeezed(&|place| if place == one { gap } else { i64::MAX })));
            }
        }
        // Only what shortens by a tenth is worth a new case.
        let last = times.last().copied().unwrap_or(0);
        tables.retain(|table| table.last().is_some_and(|(_, to)| *to < last - last / 10));
        let move_by = |table: Vec<(i64, i64)>| {
            self.moved(&move |at| table.iter().find(|(from, _)| *from == at).map_or(at, |(_, to)| *to))
        };
        let candidates = tables.into_iter().map(move_by).collect();
        self.improve("shorter gaps", candidates)
    }

    /// Steps that last for round times, of plainer kinds.
    pub(super) fn plain_steps(&mut self) -> bool {
        let mut candidates = Vec::new();
        for (place, step) in self.best.resolved.steps.iter().enumerate() {
            for to in ROUND {
                let mut action = step.action.clone();
                if round_action(&mut action, to) && action != step.action {
                    candidates.push(self.edit(|case| case.resolved.steps[place].action = action));
                }
            }
        }
        self.improve("round durations", candidates)
    }

    /// Round times: of everything at once, then one by one.
    pub(super) fn round_times(&mut self) -> bool {
        let times = self.times();
        let is_round = |to: i64| times.iter().all(|at| at % to == 0);
        // Less than what counts as shorter: else the two would undo each other for ever.
        let latest = times.last().map_or(0, |last| last + last / 12);
        let fits = |time: i64, to: i64| rounded(Nanos(time), to).0 <= latest;
        let all = ROUND.into_iter().take_while(|to| !is_round(*to)).filter(|to| times.iter().all(|at| fits(*at, *to)));
        let mut candidates: Vec<Case> = all.map(|to| self.moved(&move |at| rounded(Nanos(at), to).0)).collect();
        if times.len() <= SINGLY_MAX {
            for time in times.iter().copied() {
                let coarser = ROUND.into_iter().take_while(|to| time % to != 0).filter(|to| fits(time, *to));
                candidates.extend(
                    coarser.map(|to| self.moved(&move |at| if at == time { rounded(Nanos(at), to).0 } else { at })),
                );
            }
        }
        let helped = self.improve("round times", candidates);
        if helped && !self.is_late() {
            self.round_times();
        }
        helped
    }

    /// Operations without what they need not have, on keys with short names.
    pub(super) fn plain_operations(&mut self) -> bool {
        let mut candidates = Vec::new();
        let renamed = self.edit(rename_keys);
        if renamed.resolved != self.best.resolved {
            candidates.push(renamed);
        }
        let all = self.edit(|case| {
            for op in case.resolved.clients.iter_mut().flat_map(|client| &mut client.knobs.ops.0) {
                if let Some(plain) = plainer(&op.ask).into_iter().next() {
                    op.ask = plain;
                }
            }
        });
        if all.resolved != self.best.resolved {
            candidates.push(all);
        }
        let is_small = items(&self.best.resolved).len() <= SINGLY_MAX;
        for (group, client) in self.best.resolved.clients.iter().enumerate().filter(|_| is_small) {
            for (place, op) in client.knobs.ops.0.iter().enumerate() {
                for ask in plainer(&op.ask) {
                    candidates.push(self.edit(|case| case.resolved.clients[group].knobs.ops.0[place].ask = ask));
                }
            }
        }
        let helped = self.improve("plainer operations", candidates);
        if helped && !self.is_late() {
            self.plain_operations();
        }
        helped
    }
}

/// Everything earlier by this much.
fn shift_times(case: &mut Case, shift: i64) {
    for step in &mut case.resolved.steps {
        if let Trigger::At(at) = &mut step.trigger {
            *at = Nanos(at.0 - shift);
        }
    }
    for op in case.resolved.clients.iter_mut().flat_map(|client| &mut client.knobs.ops.0) {
        op.at = Nanos(op.at.0 - shift);
    }
}

fn renumber(case: &mut Case, to: impl Fn(u64) -> u64) {
    let turn = |selector: &mut Selector| {
        if let Selector::Node(number) = selector {
            *number = to(*number);
        }
    };
    for step in &mut case.resolved.steps {
        if let Some(link) = link_of(&mut step.action) {
            turn(&mut link.from);
            turn(&mut link.to);
        }
        node_of(&mut step.action).into_iter().for_each(turn);
    }
    for op in case.resolved.clients.iter_mut().flat_map(|client| &mut client.knobs.ops.0) {
        turn(&mut op.on);
    }
}

/// Whether the action lasts, with its time rounded.
fn round_action(action: &mut Action, to: i64) -> bool {
    let round = |hold: &mut Nanos| *hold = Nanos(rounded(*hold, to).0.max(to));
    match action {
        Action::Restart(restart) => {
            round(&mut restart.down.low);
            restart.down.high = restart.down.low;
        }
        Action::Pause(pause) => round(&mut pause.hold),
        Action::Cut(cut) => cut.hold.iter_mut().for_each(round),
        Action::Slow(slow) => slow.hold.iter_mut().for_each(round),
        Action::Drop(drop) => drop.hold.iter_mut().for_each(round),
        Action::Dup(dup) => dup.hold.iter_mut().for_each(round),
        Action::Reorder(reorder) => reorder.hold.iter_mut().for_each(round),
        Action::DiskStep(disk) => disk.hold.iter_mut().for_each(round),
        _ => return false,
    }
    true
}

/// Plainer things to ask instead, the plainest first.
fn plainer(ask: &Ask) -> Vec<Ask> {
    let put = |key: &[u8]| Ask::Put { key: key.to_vec(), lease: None, size: SIZE_DEFAULT, prev_kv: false };
    let mut plain = Vec::new();
    match ask {
        Ask::Put { key, lease, .. } => {
            plain.push(put(key));
            plain.push(Ask::Put { key: key.clone(), lease: lease.clone(), size: SIZE_DEFAULT, prev_kv: false });
        }
        Ask::Read(read) => {
            let mut bare = read.clone();
            (bare.limit, bare.serializable, bare.count_only) = (0, false, false);
            (bare.keys_only, bare.descending, bare.when) = (false, false, Default::default());
            if !read.keys.is_one() && read.keys.from != b"\0" {
                let keys = Keys::one(&read.keys.from);
                plain.push(Ask::Read(evenkeel_scenario::ops::Read { keys, ..bare.clone() }));
            }
            plain.push(Ask::Read(bare.clone()));
            plain.push(Ask::Read(evenkeel_scenario::ops::Read { serializable: read.serializable, ..bare }));
        }
        Ask::Delete { keys, .. } => plain.push(Ask::Delete { keys: keys.clone(), prev_kv: false }),
        Ask::Cas { key, .. } => plain.push(put(key)),
        Ask::Txn(txn) => {
            plain.extend(txn.then.iter().filter(|ask| !matches!(ask, Ask::Txn(_))).cloned());
            for place in 0..txn.then.len() {
                let mut fewer = txn.clone();
                let gone = fewer.then.remove(place);
                if let Ask::Txn(inner) = gone {
                    fewer.then.splice(place..place, inner.then);
                }
                plain.extend((!fewer.then.is_empty()).then_some(Ask::Txn(fewer)));
            }
            for place in 0..txn.then.len() {
                plain.extend(plainer(&txn.then[place]).into_iter().map(|ask| {
                    let mut one = txn.clone();
                    one.then[place] = ask;
                    Ask::Txn(one)
                }));
            }
            let mut bare = txn.clone();
            bare.guards.clear();
            bare.otherwise.clear();
            plain.push(Ask::Txn(bare));
        }
        Ask::Watch(watch) => {
            let mut bare = watch.clone();
            (bare.prev_kv, bare.progress, bare.fragment) = (false, false, false);
            (bare.no_put, bare.no_delete, bare.hold) = (false, false, WATCH_FOR);
            plain.push(Ask::Watch(bare));
        }
        Ask::Compact(_) | Ask::Grant { .. } | Ask::KeepAlive(_) | Ask::Revoke(_) | Ask::TimeToLive(_) | Ask::Leases => {
        }
    }
    plain.retain(|other| other != ask);
    plain.dedup();
    plain
}

/// `a`, `b`, … in the order of the keys, so that ranges stay ranges.
fn rename_keys(case: &mut Case) {
    let mut keys = std::collections::BTreeSet::new();
    let ops = || case.resolved.clients.iter().flat_map(|client| &client.knobs.ops.0);
    for op in ops() {
        visit(&mut op.ask.clone(), &mut |key| {
            keys.insert(key.clone());
        });
    }
    if keys.len() > 26 || keys.iter().all(|key| key.len() == 1) {
        return;
    }
    let names: std::collections::BTreeMap<Vec<u8>, u8> = keys.into_iter().zip(b'a'..=b'z').collect();
    for op in case.resolved.clients.iter_mut().flat_map(|client| &mut client.knobs.ops.0) {
        visit(&mut op.ask, &mut |key| *key = vec![names[&*key]]);
    }
}

/// Every key that an operation names; both ends of ranges.
fn visit(ask: &mut Ask, see: &mut dyn FnMut(&mut Vec<u8>)) {
    let mut ends = |keys: &mut Keys| {
        for key in [&mut keys.from, &mut keys.to] {
            if !key.is_empty() && key.as_slice() != b"\0" {
                see(key);
            }
        }
    };
    match ask {
        Ask::Put { key, .. } | Ask::Cas { key, .. } => see(key),
        Ask::Read(read) => ends(&mut read.keys),
        Ask::Delete { keys, .. } => ends(keys),
        Ask::Watch(watch) => ends(&mut watch.keys),
        Ask::Txn(txn) => {
            txn.guards.iter_mut().for_each(|guard| see(&mut guard.key));
            txn.then.iter_mut().chain(&mut txn.otherwise).for_each(|ask| visit(ask, see));
        }
        Ask::Compact(_) | Ask::Grant { .. } | Ask::KeepAlive(_) | Ask::Revoke(_) | Ask::TimeToLive(_) | Ask::Leases => {
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_times_come_out_round() {
        assert_eq!(just_after(1_398_211_000), Nanos::from_millis(1600));
        assert_eq!(rounded(Nanos(1_449 * MS), 100 * MS), Nanos::from_millis(1400));
    }

    #[test]
    fn plainer_is_never_the_same_and_ends() {
        for text in
            ["txn if k version > 1 ; put k ; get k ; else ; get k", "get k serializable", "cas k", "range a..b limit=3"]
        {
            let mut ask = Ask::parse(text).unwrap();
            for _ in 0..10 {
                let Some(next) = plainer(&ask).into_iter().next() else { break };
                assert_ne!(next, ask);
                ask = next;
            }
            assert_eq!(plainer(&ask), vec![], "{ask}");
        }
    }
}
