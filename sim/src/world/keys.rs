//! What keys and values look like. Stores compare bytes, so names that lie close together, or at the ends of the order,
//! find what well-behaved ones do not: a key that another one begins with, the smallest and the largest byte, long ones.

use bytes::Bytes;
use evenkeel_check::history::KeyRange;
use evenkeel_scenario::client::KeyForm;

/// Bytes of short keys.
const ALPHABET: [u8; 5] = [0x00, 0xff, b'a', 0x01, 0xfe];
/// What comes after a stem; no two nested keys are the same, for none of these begins with the stem's letter.
const ENDS: [&[u8]; 8] = [b"", b"/", b"b", b"\0", b"\xff", b"0", b"//", b"b\0"];
/// Different stems.
const STEMS: u64 = 8;
/// Bytes that long keys have in common, and how many more they have at most.
const LONG: (u64, u64) = (60, 240);

/// The key at this place; another place has another key.
pub fn name(form: KeyForm, place: u64) -> Bytes {
    match form {
        KeyForm::Plain => format!("k/{place:04}").into(),
        KeyForm::Nested => {
            let mut key = vec![b'a'; 1 + (place % STEMS) as usize];
            match ENDS.get((place / STEMS) as usize) {
                Some(end) => key.extend_from_slice(end),
                None => key.extend_from_slice(format!("c{place}").as_bytes()),
            }
            key.into()
        }
        KeyForm::Bytes => {
            let (mut key, mut left, base) = (Vec::new(), place + 1, ALPHABET.len() as u64);
            while left > 0 {
                key.push(ALPHABET[((left - 1) % base) as usize]);
                left = (left - 1) / base;
            }
            key.into()
        }
        KeyForm::Long => {
            let mut key = vec![b'l'; (LONG.0 + place * 37 % LONG.1) as usize];
            key.extend_from_slice(format!("/{place}").as_bytes());
            key.into()
        }
    }
}

/// From the smaller of two places' keys to the larger one, which is left out.
pub fn between(form: KeyForm, from: u64, to: u64) -> KeyRange {
    let (from, to) = (name(form, from), name(form, to));
    if from < to { KeyRange::span(from, to) } else { KeyRange::span(to, from) }
}

/// All keys that begin with this one, as clients ask for them: up to what comes after the last of them.
pub fn beginning_with(key: &Bytes) -> KeyRange {
    let mut end = key.to_vec();
    while end.pop_if(|last| *last == u8::MAX).is_some() {}
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0), // Nothing comes after them.
    }
    KeyRange::span(key.clone(), end)
}

/// The value with other bytes where it is filled up.
pub fn noisy(value: &Bytes, seed: u64) -> Bytes {
    let tag = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let mut noise = seed | 1;
    let fill = (tag..value.len()).map(|place| {
        if place == tag {
            return b'.'; // So that tags stay apart.
        }
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (noise >> 56) as u8
    });
    value[..tag].iter().copied().chain(fill).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use evenkeel_scenario::Word;

    use super::*;

    #[test]
    fn no_two_places_share_a_key() {
        for (_, form) in KeyForm::ALL {
            let names: BTreeSet<Bytes> = (0..1_000).map(|place| name(*form, place)).collect();
            assert_eq!(names.len(), 1_000, "{form:?}");
            assert!(names.iter().all(|name| (1..=400).contains(&name.len())), "{form:?}");
        }
    }

    #[test]
    fn what_begins_with_a_key_is_between_it_and_its_end() {
        for (key, end) in
            [(&b"a"[..], &b"b"[..]), (b"a\xff", b"b"), (b"\xff", b"\0"), (b"\xff\xff", b"\0"), (b"\0", b"\x01")]
        {
            let range = beginning_with(&Bytes::from_static(key));
            assert_eq!(range.end.as_ref(), end, "{key:?}");
            assert!(range.contains(key) && range.contains(&[key, &[0xff]].concat()));
        }
    }

    #[test]
    fn noise_leaves_the_writer_readable() {
        let value = noisy(&Bytes::from_static(b"c5:17......"), 3);
        assert!(value.starts_with(b"c5:17.") && value.len() == 11, "{value:?}");
        assert_eq!(noisy(&Bytes::from_static(b"c5:17"), 3), "c5:17");
    }
}
