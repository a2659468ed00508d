//! A member that stops in good order: first leadership, then clients, then itself.
//!
//! 1. A leader hands over ([`crate::handover`]). Clients notice nothing: their requests wait, and go to the next leader.
//! 2. The front takes no new connections, and tells clients to go elsewhere. Streams end; requests in flight get their
//!    answers, for driver, log, state and network still run.
//! 3. The tasks end.
//!
//! The first two may take, together, as long as a request may. A member without a peer has nothing to wait for.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

use crate::member::Member;

/// How far it has come.
#[derive(Default)]
pub struct Leaving {
    begun: watch::Sender<bool>,
    front_closed: watch::Sender<bool>,
    in_flight: AtomicUsize,
    answered: Notify,
}

/// A request that wants its answer before the member ends.
pub(crate) struct InFlight<'a>(&'a Leaving);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 && *self.0.begun.borrow() {
            self.0.answered.notify_one();
        }
    }
}

impl Leaving {
    /// A request has arrived.
    pub(crate) fn request(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self)
    }

    /// The front serves nobody any more.
    pub(crate) fn front_closed(&self) {
        self.front_closed.send_replace(true);
    }
}

impl Member {
    /// The first two steps.
    pub(crate) async fn leave(&self) {
        self.hand_over().await;
        let leaving = self.leave_taking();
        leaving.begun.send_replace(true);
        let _ = leaving.front_closed.subscribe().wait_for(|closed| *closed).await;
        while leaving.in_flight.load(Ordering::Acquire) != 0 {
            leaving.answered.notified().await;
        }
        // Another member that stops may have chosen this one meanwhile.
        self.hand_over().await;
    }

    /// Resolves when clients are to go elsewhere: the member leaves, or stops at once.
    pub async fn leaving(&self) {
        let mut begun = self.leave_taking().begun.subscribe();
        tokio::select! {
            biased;
            () = self.stopping() => {}
            _ = async { begun.wait_for(|begun| *begun).await.map(|_| ()) } => {}
        }
    }
}
