//! Equal histories: what members answer to HashKV for one revision, with the same compaction behind it, is one number.
//!
//! The client's view of [`crate::state_hash`]: later, and blind for what is no key, but it needs nobody's word from
//! inside.

use std::collections::BTreeMap;

use crate::ids::*;
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "hash-kv";

/// One member's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// Who answered.
    pub member: MemberId,
    /// Of the history up to here.
    pub revision: Revision,
    /// From here on.
    pub compacted: Revision,
    /// The number.
    pub hash: u32,
}

/// Compares answers.
pub fn agree(at: Moment, answers: &[HashKv]) -> Verdict {
    let mut first: BTreeMap<(Revision, Revision), &HashKv> = BTreeMap::new();
    for answer in answers {
        let twin = first.entry((answer.revision, answer.compacted)).or_insert(answer);
        if twin.hash != answer.hash {
            let HashKv { member, revision, compacted, hash } = answer;
            let (other, others) = (twin.member, twin.hash);
            let message =
                format!("HashKV of {revision} since {compacted} is {hash:08x} on {member} and {others:08x} on {other}");
            return Err(Violation::new(NAME, at, message).with([Related::Revision(*revision)]));
        }
    }
    Ok(())
}
