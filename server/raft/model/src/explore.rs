//! Breadth first through all states of a scope: the first violation found has the shortest trace.
#![allow(clippy::disallowed_methods, reason = "how long an exploration took is reported")]
#![allow(clippy::disallowed_types, reason = "a set of fingerprints that is only asked, never walked")]

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::recover;
use crate::scope::Scope;
use crate::world::{Action, Outcome, World};

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps from the beginning.
    pub depth: u32,
    /// Different states.
    pub states: u64,
    /// Time.
    pub time: Duration,
}

/// No end but the scope's own.
pub const EVERYTHING: Limits = Limits { depth: u32::MAX, states: u64::MAX, time: Duration::MAX };

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: u64,
    /// Steps taken.
    pub transitions: u64,
    /// Steps from the beginning to the last states looked at.
    pub depth: u32,
    /// States from which the recovery of the cluster was tried.
    pub recoveries: u64,
    /// Time taken.
    pub time: Duration,
    /// Nothing of the scope is left.
    pub is_complete: bool,
    /// The first claim that does not hold, with the way there.
    pub violation: Option<Violation>,
}

/// A claim that does not hold.
#[derive(Debug)]
pub struct Violation {
    /// Which.
    pub claim: String,
    /// The shortest way there, in words.
    pub trace: Vec<String>,
}

/// A way from the beginning, shared with the ways that branch off later.
#[derive(Debug)]
struct Path {
    before: Option<Arc<Path>>,
    action: Action,
}

/// Recovery is tried from one state of so many.
const RECOVERY_SAMPLE: u64 = 256;

/// Of a recovery that fails, so much is told.
const RECOVERY_LINES: usize = 40;

/// Looks at every state.
pub fn explore(scope: &Scope, limits: Limits) -> Report {
    let began = Instant::now();
    let mut seen = Seen::default();
    let mut level: Vec<(World, Option<Arc<Path>>)> = Vec::new();
    let mut report = Report {
        states: 1,
        transitions: 0,
        depth: 0,
        recoveries: 0,
        time: Duration::ZERO,
        is_complete: false,
        violation: None,
    };
    match caught(|| Ok(World::new(scope))) {
        Ok(beginning) => {
            seen.insert(beginning.fingerprint());
            level.push((beginning, None));
        }
        Err(claim) => report.violation = Some(Violation { claim, trace: Vec::new() }),
    }
    let mut is_cut = false;
    'levels: while !level.is_empty() && report.depth < limits.depth {
        report.depth += 1;
        let mut next = Vec::new();
        for (world, path) in level.drain(..) {
            if report.states >= limits.states || began.elapsed() >= limits.time {
                is_cut = true;
                break 'levels;
            }
            for action in world.actions(scope) {
                report.transitions += 1;
                let path = || Arc::new(Path { before: path.clone(), action });
                let mut successor = world.clone();
                let violation = step(&mut successor, scope, action);
                if violation.is_none() && world.includes(&successor) {
                    continue; // Nothing happened but that less may happen now.
                }
                let fingerprint = successor.fingerprint();
                if violation.is_none() && !seen.insert(fingerprint) {
                    continue;
                }
                report.states += 1;
                let violation = violation.or_else(|| {
                    let sampled = scope.recovers && fingerprint.is_multiple_of(RECOVERY_SAMPLE);
                    report.recoveries += u64::from(sampled);
                    sampled
                        .then(|| caught(|| recover::try_from(&successor, scope, &mut Outcome::default())).err())
                        .flatten()
                });
                if let Some(claim) = violation {
                    let trace = tell(scope, &path());
                    report.violation = Some(Violation { claim, trace });
                    break 'levels;
                }
                next.push((successor, Some(path())));
            }
        }
        level = next;
    }
    report.is_complete = level.is_empty() && !is_cut && report.violation.is_none();
    report.time = began.elapsed();
    report
}

fn step(world: &mut World, scope: &Scope, action: Action) -> Option<String> {
    caught(|| {
        let mut outcome = Outcome::default();
        world.act(scope, action, &mut outcome);
        outcome.violation.map_or(Ok(()), Err)
    })
    .err()
}

/// A failed assertion is a claim that does not hold.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// Goes the way again and tells what happens.
fn tell(scope: &Scope, path: &Arc<Path>) -> Vec<String> {
    let mut actions = Vec::new();
    let mut at = Some(path);
    while let Some(path) = at {
        actions.push(path.action);
        at = path.before.as_ref();
    }
    let mut world = World::new(scope);
    let mut trace = Vec::new();
    for (number, &action) in (1..).zip(actions.iter().rev()) {
        let mut outcome = Outcome::told();
        let panicked = caught(|| {
            world.act(scope, action, &mut outcome);
            Ok(())
        });
        let mut story = outcome.story.unwrap_or_default();
        if let Some(title) = story.first_mut() {
            *title = format!("{number}. {title}");
        }
        trace.extend(story);
        if panicked.is_err() {
            break;
        }
    }
    // Recovery is told as well, when that is what fails.
    let mut outcome = Outcome::told();
    if caught(|| recover::try_from(&world, scope, &mut outcome)).is_err() {
        trace.push("--- all faults end ---".to_owned());
        let story = outcome.story.unwrap_or_default();
        trace.extend(story.into_iter().take(RECOVERY_LINES));
    }
    trace
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are kept");
    }
    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type Seen = HashSet<u64, BuildHasherDefault<AsItIs>>;
