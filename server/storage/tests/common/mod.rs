//! A small disk in memory that knows what is durable, and helpers shared by the tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use evenkeel_raft::{Entry, Index, Payload, Term};
use evenkeel_storage::wal::Identity;
use evenkeel_storage::{Disk, File, OpenMode, Options, Pending};

pub const IDENTITY: Identity = Identity { cluster_id: 0xc1, member_id: 0x3e };

pub fn options(segment_bytes: u32) -> Options {
    Options { cache_bytes: 64 << 10, segment_bytes, ..Options::new(IDENTITY) }
}

/// Runs a future to its end on this thread.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A stream of choices.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed ^ 0x9e37_79b9_7f4a_7c15)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An entry with bytes that occur nowhere else.
pub fn entry(term: u64, index: u64, len: usize, salt: u64) -> Entry {
    let payload = if len == 0 { Payload::Empty } else { Payload::Data(noise(len, index << 32 | salt).to_vec().into()) };
    Entry { term: Term(term), index: Index(index), payload }
}

pub fn noise(len: usize, seed: u64) -> Bytes {
    let mut chance = Chance::new(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| chance.below(u64::MAX).to_le_bytes()).collect();
    bytes.truncate(len);
    bytes.into()
}

pub fn payload(entry: &Entry) -> &[u8] {
    match &entry.payload {
        Payload::Empty => &[],
        Payload::Data(data) => data,
        Payload::Config(config) => &config.data,
    }
}

/// What of the unsynced survives a power loss.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    None,
    /// A prefix or any subset, each write perhaps torn, chosen per file and directory.
    Some,
}

#[derive(Clone)]
enum Change {
    Write(u64, Bytes),
    SetLen(u64),
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    view: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum NameChange {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

#[derive(Clone, Default)]
struct Dir {
    durable: BTreeMap<String, usize>,
    view: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    dirs: BTreeMap<String, Dir>,
    /// After this many more changes everything fails with this error.
    fuse: Option<(u64, ErrorKind)>,
    changes: u64,
}

#[derive(Clone, Default)]
pub struct TestDisk {
    state: Arc<Mutex<State>>,
}

impl TestDisk {
    pub fn new() -> TestDisk {
        TestDisk::default()
    }
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
    /// An independent copy of the disk as it is.
    pub fn copy(&self) -> TestDisk {
        TestDisk { state: Arc::new(Mutex::new(self.lock().clone())) }
    }
    pub fn set_fuse(&self, changes: u64, kind: ErrorKind) {
        self.lock().fuse = Some((changes, kind));
    }
    pub fn clear_fuse(&self) {
        self.lock().fuse = None;
    }
    /// Changes made so far.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }
    /// The power fails and comes back.
    pub fn crash(&self, keep: Keep, chance: &mut Chance) {
        let mut state = self.lock();
        state.fuse = None;
        for inode in &mut state.inodes {
            for change in chosen(std::mem::take(&mut inode.pending), keep, chance) {
                inode.crash_apply(change, keep, chance);
            }
            inode.view = inode.durable.clone();
        }
        for dir in state.dirs.values_mut() {
            for change in chosen(std::mem::take(&mut dir.pending), keep, chance) {
                apply_name(&mut dir.durable, change);
            }
            dir.view = dir.durable.clone();
        }
    }
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let mut state = self.lock();
        let inode = state.lookup(path).unwrap();
        state.inodes[inode].view.clone()
    }
    /// Changes a file behind everyone's back.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let inode = state.lookup(path).unwrap();
        edit(&mut state.inodes[inode].view);
        state.inodes[inode].durable = state.inodes[inode].view.clone();
    }
    pub fn remove_quietly(&self, path: &str) {
        let (dir, name) = split(path);
        let mut state = self.lock();
        let dir = state.dirs.get_mut(dir).unwrap();
        dir.view.remove(name).unwrap();
        dir.durable.remove(name);
    }
    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        state.changes += 1;
        if let Some((left, kind)) = &mut state.fuse {
            if *left == 0 {
                return Err((*kind).into());
            }
            *left -= 1;
        }
        change(&mut state)
    }
}

/// Which unsynced changes survive.
fn chosen<T>(pending: Vec<T>, keep: Keep, chance: &mut Chance) -> Vec<T> {
    match keep {
        Keep::None => Vec::new(),
        Keep::Some => match chance.below(3) {
            0 => {
                let prefix = chance.below(pending.len() as u64 + 1) as usize;
                pending.into_iter().take(prefix).collect()
            }
            1 => pending.into_iter().filter(|_| chance.one_in(2)).collect(),
            _ => pending,
        },
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let offset = offset as usize;
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Inode {
    fn crash_apply(&mut self, change: Change, keep: Keep, chance: &mut Chance) {
        match change {
            Change::SetLen(len) => self.durable.resize(len as usize, 0),
            Change::Write(offset, data) => {
                let torn = matches!(keep, Keep::Some) && chance.one_in(2);
                let rarity = 1 + chance.below(6);
                for (sector, part) in data.chunks(512).enumerate() {
                    if !torn || chance.one_in(rarity) {
                        write(&mut self.durable, offset + 512 * sector as u64, part);
                    }
                }
            }
        }
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Link(name, inode) => drop(names.insert(name, inode)),
        NameChange::Rename(from, to, inode) => {
            names.remove(&from);
            names.insert(to, inode);
        }
        NameChange::Unlink(name) => drop(names.remove(&name)),
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl State {
    fn dir(&mut self, dir: &str) -> io::Result<&mut Dir> {
        self.dirs.get_mut(dir).ok_or(ErrorKind::NotFound.into())
    }
    fn lookup(&mut self, path: &str) -> io::Result<usize> {
        let (dir, name) = split(path);
        self.dir(dir)?.view.get(name).copied().ok_or(ErrorKind::NotFound.into())
    }
    fn rename_in_view(&mut self, path: &str, change: NameChange) -> io::Result<()> {
        let dir = self.dir(split(path).0)?;
        apply_name(&mut dir.view, change.clone());
        dir.pending.push(change);
        Ok(())
    }
}

impl Disk for TestDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.lock().dirs.entry(dir.to_owned()).or_default();
        Ok(())
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        Ok(self.lock().dir(dir)?.view.keys().cloned().collect())
    }
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let found = self.lock().lookup(path);
        let inode = match found {
            Err(error) if error.kind() == ErrorKind::NotFound && mode == OpenMode::Create => self.change(|state| {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.rename_in_view(path, NameChange::Link(split(path).1.to_owned(), inode))?;
                Ok(inode)
            })?,
            other => other?,
        };
        Ok(Arc::new(TestFile { disk: self.clone(), inode, writable: mode != OpenMode::Read }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        assert_eq!(split(from).0, split(to).0);
        self.change(|state| {
            let inode = state.lookup(from)?;
            let change = NameChange::Rename(split(from).1.to_owned(), split(to).1.to_owned(), inode);
            state.rename_in_view(from, change)
        })
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(|state| {
            state.lookup(path)?;
            state.rename_in_view(path, NameChange::Unlink(split(path).1.to_owned()))
        })
    }
    fn sync_dir(&self, dir: &str) -> Pending {
        let result = self.change(|state| {
            if !dir.is_empty() {
                let dir = state.dir(dir)?;
                dir.pending.clear();
                dir.durable = dir.view.clone();
            }
            Ok(())
        });
        Box::pin(ready(result))
    }
}

struct TestFile {
    disk: TestDisk,
    inode: usize,
    writable: bool,
}

impl TestFile {
    fn change(&self, change: Change) -> io::Result<()> {
        assert!(self.writable, "written through a handle opened for reading");
        self.disk.change(|state| {
            let inode = &mut state.inodes[self.inode];
            match &change {
                Change::Write(offset, data) => write(&mut inode.view, *offset, data),
                Change::SetLen(len) => inode.view.resize(*len as usize, 0),
            }
            inode.pending.push(change);
            Ok(())
        })
    }
    fn sync_now(&self) -> io::Result<()> {
        self.disk.change(|state| {
            let inode = &mut state.inodes[self.inode];
            inode.pending.clear();
            inode.durable = inode.view.clone();
            Ok(())
        })
    }
}

impl File for TestFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].view.len() as u64)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        let bytes = state.inodes[self.inode].view.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&self, offset: u64, data: Bytes) -> Pending {
        Box::pin(ready(self.change(Change::Write(offset, data))))
    }
    fn set_len(&self, len: u64) -> Pending {
        Box::pin(ready(self.change(Change::SetLen(len))))
    }
    fn sync(&self) -> Pending {
        Box::pin(ready(self.sync_now()))
    }
    fn write_at_and_sync(&self, offset: u64, data: Bytes) -> Pending {
        Box::pin(ready(self.change(Change::Write(offset, data)).and_then(|()| self.sync_now())))
    }
}
