//! The first ticks of a process life: when they come, and how many of them at once.
//!
//! A member that starts need not wait out a whole election timeout (etcd's `initial-election-tick-advance`). Alone it
//! never had a leader: all ticks of the timeout but one pass at once. Among others it looks every 50 ms, for at most 5 s,
//! how many members it is connected to; with more than one it would soon hear from a leader, and all ticks but two pass
//! at once. With a single other member that never happens: a leader that is merely slow must not be deposed by the only
//! one whose vote it needs.
//!
//! The first tick comes after an interval and a random part of one, so that members started together do not tick, time
//! out and campaign together. No time-out is ever shorter than the one configured.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::env::Clock;
use crate::member::SplitMix;

/// How often it looks for members.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often at most: for five seconds.
const POLLS_MAX: u32 = 100;
/// With so many other members connected the clock is moved.
const PEERS_MIN: usize = 2;
/// Keeps the phase apart from other numbers drawn from the seed.
const PHASE_SALT: u64 = 0x7068_6173;

/// When the first tick comes: between one interval and two.
pub fn first(seed: u64, tick: Duration) -> Duration {
    let drawn = SplitMix(seed ^ PHASE_SALT).next();
    tick + Duration::from_nanos(((u128::from(drawn) * tick.as_nanos()) >> 64) as u64)
}

/// See the module's text.
pub struct FirstTicks {
    state: State,
    election_ticks: u32,
    clock: Arc<dyn Clock>,
}

enum State {
    /// The only member.
    Alone,
    Looks {
        left: u32,
        next: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
    Over,
}

impl FirstTicks {
    /// For a member of a cluster of `members`, learners included, that starts now.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, members: usize) -> FirstTicks {
        let state = match members {
            0 | 1 => State::Alone,
            _ if !config.initial_election_tick_advance => State::Over,
            _ => State::Looks { left: POLLS_MAX, next: clock.sleep(POLL_INTERVAL) },
        };
        FirstTicks { state, election_ticks: config.election_ticks(), clock }
    }

    /// No ticks will come from here any more.
    pub fn are_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Resolves with the ticks that pass at once, when that is to happen; never again after that. May be dropped and
    /// asked again.
    pub async fn due(&mut self, connected: impl Fn() -> usize) -> u32 {
        loop {
            match &mut self.state {
                State::Over => return pending().await,
                State::Alone => {
                    self.state = State::Over;
                    return self.election_ticks - 1;
                }
                State::Looks { left, next } => {
                    next.as_mut().await;
                    *left -= 1;
                    if PEERS_MIN <= connected() {
                        self.state = State::Over;
                        return self.election_ticks - 2;
                    }
                    if *left == 0 {
                        self.state = State::Over;
                    } else {
                        *next = self.clock.sleep(POLL_INTERVAL);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
