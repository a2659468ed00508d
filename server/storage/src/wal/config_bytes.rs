//! The body of a configuration entry's record: three counted lists of member ids (voters, outgoing, learners), then
//! what the entry tells the state machine. All numbers are little-endian.

use std::collections::BTreeSet;

use bytes::BufMut;
use evenkeel_raft::{ConfigEntry, Configuration, NodeId};

use crate::bytes_in::{take_u32, take_u64};

pub(crate) fn encode(entry: &ConfigEntry) -> Vec<u8> {
    let Configuration { voters, outgoing, learners } = &entry.configuration;
    let mut out = Vec::new();
    for members in [voters, outgoing, learners] {
        out.put_u32_le(u32::try_from(members.len()).expect("few members"));
        members.iter().for_each(|member| out.put_u64_le(member.0));
    }
    out.extend_from_slice(&entry.data);
    out
}

/// `None` for bytes that no configuration gives.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<ConfigEntry> {
    let mut members = || -> Option<BTreeSet<NodeId>> {
        let count = take_u32(&mut bytes)?;
        (0..count).map(|_| take_u64(&mut bytes).map(NodeId)).collect()
    };
    let configuration = Configuration { voters: members()?, outgoing: members()?, learners: members()? };
    configuration.is_possible().then(|| ConfigEntry { configuration, data: bytes.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_joint_configuration_comes_back_whole() {
        let configuration =
            Configuration { voters: ids(&[1, 2]), outgoing: ids(&[2, 3, u64::MAX]), learners: ids(&[3]) };
        for data in [&b""[..], b"told"] {
            let entry = ConfigEntry { configuration: configuration.clone(), data: data.into() };
            assert_eq!(decode(&encode(&entry)), Some(entry));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
