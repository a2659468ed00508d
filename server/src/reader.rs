//! Values, read from where the log put them.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_mvcc::{Response, Store, ValueRef, Values, VersionKind};
use evenkeel_storage::{Hold, Place, ValueError, ValueLog};

/// Reads values and keeps count of how many bytes of each segment still live.
#[derive(Clone)]
pub struct Reader {
    log: Arc<ValueLog>,
}

impl Reader {
    /// A reader of `log`, whose counts become those of `store`.
    pub fn new(log: Arc<ValueLog>, store: &Store) -> Result<Reader, ValueError> {
        let reader = Reader { log };
        for at in values_of(store) {
            reader.log.add_live(at.segment, u64::from(at.len))?;
        }
        Ok(reader)
    }

    /// The bytes of a value. An error means that this member's disk cannot be trusted.
    pub fn bytes(&self, at: &ValueRef) -> Result<Bytes, ValueError> {
        if at.len == 0 {
            return Ok(Bytes::new());
        }
        self.log.read(at.segment, at.offset, at.len, at.crc)
    }

    /// As [`Reader::bytes`], for whoever reads everything once: the cache is left to others.
    pub fn bytes_once(&self, at: &ValueRef) -> Result<Bytes, ValueError> {
        if at.len == 0 {
            return Ok(Bytes::new());
        }
        self.log.read_once(at.segment, at.offset, at.len, at.crc)
    }

    /// Keeps all values that are in the log now.
    pub fn hold(&self) -> Hold {
        self.log.hold()
    }

    /// A value just written, likely to be read soon.
    pub fn remember(&self, at: &ValueRef, value: &[u8]) {
        if at.len > 0 {
            self.log.remember(at.segment, at.offset, value);
        }
    }

    /// A version that refers to `at` came to be.
    pub fn written(&self, at: &ValueRef) {
        if at.len > 0 {
            self.log.add_live(at.segment, u64::from(at.len)).expect("a value just written is in a segment");
        }
    }

    /// Versions that referred to these are gone.
    pub fn freed<'a>(&self, gone: impl IntoIterator<Item = &'a ValueRef>) {
        for at in gone.into_iter().filter(|at| at.len > 0) {
            self.log.sub_live(at.segment, u64::from(at.len));
        }
    }

    /// Counts values that belong to no version yet, so that their segments stay.
    pub fn pin(&self, places: &[Place]) -> Pin {
        for place in places {
            self.log.add_live(place.segment, u64::from(place.len)).expect("a value just written is in a segment");
        }
        Pin { log: Arc::clone(&self.log), places: places.to_vec() }
    }

    /// Keeps the segments with the values that an answer shows, which may be read long after the state has moved on.
    pub fn pin_shown(&self, answer: &Response) -> Option<Pin> {
        let mut places: Vec<Place> = Vec::new();
        answer.each_row(&mut |row| {
            let segment = row.value.segment;
            if row.value.len > 0 && places.iter().all(|place| place.segment != segment) {
                places.push(Place { segment, offset: 0, len: 1 });
            }
        });
        (!places.is_empty()).then(|| self.pin(&places))
    }

    /// The state `old` was replaced by one whose values were pinned.
    pub fn replaced(&self, old: &Store) {
        for at in values_of(old) {
            self.log.sub_live(at.segment, u64::from(at.len));
        }
    }

    /// The log underneath.
    pub fn log(&self) -> &Arc<ValueLog> {
        &self.log
    }

    /// Bytes of all segments.
    pub fn disk_bytes(&self) -> u64 {
        self.log.segments().iter().map(|segment| u64::from(segment.file_bytes)).sum()
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

/// The values of all versions, those that several versions of a key share once.
fn values_of(store: &Store) -> impl Iterator<Item = ValueRef> {
    let mut before = None;
    store.versions().filter_map(move |row| {
        let VersionKind::Put(at) = row.kind else {
            before = None;
            return None;
        };
        let shared = before.replace((row.key.clone(), at)).is_some_and(|(key, value)| key == row.key && value == at);
        (at.len > 0 && !shared).then_some(at)
    })
}

/// Values counted as in use until this is dropped, or for good once [`Pin::keep`] was called.
pub struct Pin {
    log: Arc<ValueLog>,
    places: Vec<Place>,
}

impl Pin {
    /// A version refers to the values now.
    pub fn keep(mut self) {
        self.places.clear();
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.places).finish()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        for place in &self.places {
            self.log.sub_live(place.segment, u64::from(place.len));
        }
    }
}

impl Values for Reader {
    type Error = ValueError;

    fn load(&self, at: &ValueRef) -> Result<Vec<u8>, ValueError> {
        self.bytes(at).map(|bytes| bytes.to_vec())
    }
}
