//! What nobody asks about any more is let go, so that a run may go on for ever.
//!
//! Two things make history old: it was compacted for certain, so that no member may show it; and it is [`KEPT`] revisions
//! behind, so that no answer under way, no member that lags and no watch still speaks of it. An answer that does, all the
//! same, is believed. Without compactions nothing is ever forgotten.

use super::Linearizable;
use crate::ids::*;

/// So many of the newest revisions are always remembered.
pub const KEPT: i64 = 1 << 14;
/// So many are forgotten at a time: each time looks at many versions.
const AT_ONCE: i64 = KEPT / 4;

impl Linearizable {
    /// Forgets, if there is enough to forget.
    pub(super) fn forget(&mut self) {
        let oldest = self.certainly_compacted().min(Revision(self.model.head().0 - KEPT));
        if oldest.0 - self.model.oldest().0 < AT_ONCE {
            return;
        }
        let before = self.model.oldest();
        self.model.forget(oldest);
        self.past.drain(..(oldest.0 - before.0) as usize);
        self.sightings.forget(oldest);
        self.unattributed.forget(oldest);
        while let Some((_, value)) = self.spoken_for.pop_front_if(|(newest, _)| *newest < oldest) {
            self.writers.remove(&value);
        }
    }

    /// The place of a revision in what is remembered of the past.
    pub(super) fn place(&self, revision: Revision) -> Option<usize> {
        usize::try_from(revision.0 - self.model.oldest().0 - 1).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::*;
    use crate::violation::Verdict;

    struct Client {
        truth: Linearizable,
        operations: u64,
    }

    impl Client {
        fn ask(&mut self, request: Request, revision: i64, body: Body) -> Verdict {
            self.operations += 1;
            let (at, id) = (self.operations, OpId(self.operations));
            let header =
                Header { member: MemberId(1), revision: Revision(revision), term: Term(1), ..Header::default() };
            self.truth.call(Moment::new(at * 1_000, 2 * at), id, request)?;
            self.truth.returned(Moment::new(at * 1_000 + 500, 2 * at + 1), id, Outcome::Ok(header, body))
        }

        fn key(revision: i64) -> String {
            format!("k{}", revision % 16)
        }

        /// Revisions 2 to `last`, one put each, and a compaction to shortly before the head for every `compact_every` of them.
        fn writing(last: i64, compact_every: i64) -> Client {
            let mut client = Client { truth: Linearizable::new(0), operations: 0 };
            for revision in 2..=last {
                let (key, value) = (Client::key(revision).into(), format!("v{revision}").into());
                let put = Put { key, value, ..Put::default() };
                client.ask(Request::Put(put), revision, Body::Put(PutReply { prev_kv: None })).unwrap();
                if revision % compact_every == 0 {
                    let wanted = Revision(revision - 10);
                    client.ask(Request::Compact { revision: wanted }, revision, Body::Compact).unwrap();
                }
            }
            client
        }

        /// A read of the key that `written` wrote, in a cluster at `head`.
        fn reads(&mut self, head: i64, written: i64, value: &str) -> Verdict {
            let (version, created) = ((written - 2) / 16 + 1, 2 + (written - 2) % 16);
            let kv = KeyValue {
                key: Client::key(written).into(),
                value: value.to_owned().into(),
                created: Revision(created),
                modified: Revision(written),
                version,
                lease: LeaseId::NONE,
            };
            let reply = RangeReply { kvs: vec![kv], more: false, count: 1 };
            let range = Range::of(KeyRange::one(Client::key(written)));
            self.ask(Request::Range(range), head, Body::Range(reply))
        }
    }

    #[test]
    fn what_is_compacted_and_far_behind_is_forgotten_and_the_rest_is_still_judged() {
        const LAST: i64 = KEPT + 4 * AT_ONCE;
        let mut client = Client::writing(LAST, 1_000);
        let oldest = client.truth.model.oldest().0;
        assert!((LAST - KEPT - 2 * AT_ONCE..=LAST - KEPT).contains(&oldest), "{oldest}");
        let most = (KEPT + 2 * AT_ONCE) as usize;
        assert!(client.truth.past.len() <= most && client.truth.writers.len() <= most);
        assert!(client.truth.spoken_for.len() <= most);

        client.reads(LAST, LAST - 5, &format!("v{}", LAST - 5)).unwrap();
        let violation = client.reads(LAST, LAST - 5, "v2").expect_err("this value is not there");
        assert!(violation.message.contains("row 0 is"), "{}", violation.message);
    }

    #[test]
    fn without_compactions_nothing_is_forgotten() {
        let client = Client::writing(KEPT + 2 * AT_ONCE, i64::MAX);
        assert_eq!(
            (client.truth.model.oldest(), client.truth.spoken_for.len() as i64),
            (Revision(1), KEPT + 2 * AT_ONCE - 1)
        );
    }
}
