//! The whole disk: its files and names, its room, its power, and the faults that it was told to have.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use fuser::Errno;

use super::{
    contents::{Contents, Survival},
    names::{Names, Node, ROOT},
};
use crate::hostfactory::random::Random;

/// A block, by which room is counted.
pub(super) const BLOCK: u64 = 4096;

/// What fails, counted from the moment it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The nth write to a file ends with EIO and does nothing.
    Write {
        /// 1 = the next one.
        nth: u64,
    },
    /// The nth fsync of a file ends with EIO, and what it should have saved is never saved by a later one.
    Sync {
        /// 1 = the next one.
        nth: u64,
    },
}

/// What has happened on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes to files.
    pub writes: u64,
    /// Answered fsyncs, of files and directories.
    pub syncs: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Calls refused because the power was off.
    pub powerless: u64,
}

/// What a power cut met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// Writes of whole pages that were not synced.
    pub pages: usize,
    /// Changes of names that were not synced.
    pub names: usize,
}

/// Everything that a mounted disk is.
#[derive(Debug)]
pub(super) struct Image {
    names: Names,
    files: BTreeMap<Node, Contents>,
    modes: BTreeMap<Node, u32>,
    next: Node,
    pub(super) capacity: u64,
    pub(super) fsync_lies: bool,
    pub(super) faults: Vec<Fault>,
    powered: bool,
    /// Changes and fsyncs that are still carried out before the power fails.
    cut_after: Option<u64>,
    counts: Counts,
}

type Outcome<T> = Result<T, Errno>;

impl Image {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            names: Names::new(),
            files: BTreeMap::new(),
            modes: BTreeMap::from([(ROOT, 0o700)]),
            next: ROOT + 1,
            capacity,
            fsync_lies: false,
            faults: Vec::new(),
            powered: true,
            cut_after: None,
            counts: Counts::default(),
        }
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) const fn has_power(&self) -> bool {
        self.powered
    }

    pub(super) const fn cut(&mut self) {
        self.powered = false;
    }

    pub(super) const fn cut_after(&mut self, changes: u64) {
        self.cut_after = Some(changes);
    }

    pub(super) fn unsynced(&self) -> Unsynced {
        Unsynced { pages: self.files.values().map(Contents::unsynced_pages).sum(), names: self.names.unsynced() }
    }

    /// The power is back: what has survived is what there is.
    pub(super) fn restore(&mut self, survival: Survival, random: &mut Random) {
        self.names = self.names.after_cut(survival, random);
        let names = &self.names;
        self.files.retain(|node, _| names.leads_to(*node));
        for contents in self.files.values_mut() {
            *contents = contents.after_cut(survival, random);
        }
        self.powered = true;
        self.cut_after = None;
        self.faults.clear();
    }

    // ---- looking ----

    fn power(&mut self) -> Outcome<()> {
        if self.powered {
            return Ok(());
        }
        self.counts.powerless += 1;
        Err(Errno::EIO)
    }

    pub(super) fn find(&mut self, directory: Node, name: &OsStr) -> Outcome<Node> {
        self.power()?;
        self.names.find(directory, name).ok_or(Errno::ENOENT)
    }

    pub(super) fn list(&mut self, directory: Node) -> Outcome<Vec<(OsString, Node)>> {
        self.power()?;
        let names = self.names.list(directory).ok_or(Errno::ENOTDIR)?;
        Ok(names.iter().map(|(name, node)| (name.clone(), *node)).collect())
    }

    pub(super) fn facts(&mut self, node: Node) -> Outcome<Facts> {
        self.power()?;
        let mode = self.modes.get(&node).copied().unwrap_or(0o600);
        if self.names.is_directory(node) {
            return Ok(Facts { directory: true, mode, length: 0, allocated: 0 });
        }
        let contents = self.files.get(&node).ok_or(Errno::ENOENT)?;
        let (length, allocated) = (contents.live().len() as u64, contents.allocated() as u64);
        Ok(Facts { directory: false, mode, length, allocated })
    }

    pub(super) fn read(&mut self, node: Node, offset: u64, size: u32) -> Outcome<&[u8]> {
        self.power()?;
        let live = self.files.get(&node).ok_or(Errno::ENOENT)?.live();
        let from = index(offset)?.min(live.len());
        let to = (from + index(u64::from(size))?).min(live.len());
        Ok(&live[from..to])
    }

    pub(super) fn free_bytes(&mut self) -> Outcome<u64> {
        self.power()?;
        Ok(self.capacity.saturating_sub(self.used()))
    }

    fn used(&self) -> u64 {
        self.files.values().map(|contents| contents.allocated() as u64).sum()
    }

    // ---- changing ----

    /// Before every change: the power may fail now instead.
    fn step(&mut self) -> Outcome<()> {
        if let Some(left) = &mut self.cut_after {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => self.powered = false,
            }
        }
        self.power()
    }

    /// Whether a fault of this kind strikes now.
    fn strikes(&mut self, kind: impl Fn(&mut Fault) -> Option<&mut u64>) -> bool {
        let mut struck = false;
        self.faults.retain_mut(|fault| match kind(fault) {
            Some(left) => {
                *left -= 1;
                struck |= *left == 0;
                *left > 0
            }
            None => true,
        });
        self.counts.faults += u64::from(struck);
        struck
    }

    pub(super) fn create(&mut self, directory: Node, name: &OsStr, mode: u32) -> Outcome<Node> {
        let node = self.enter(directory, name, mode)?;
        self.files.insert(node, Contents::default());
        self.names.link(directory, name, node);
        Ok(node)
    }

    pub(super) fn make_directory(&mut self, directory: Node, name: &OsStr, mode: u32) -> Outcome<Node> {
        let node = self.enter(directory, name, mode)?;
        self.names.make_directory(directory, name, node);
        Ok(node)
    }

    fn enter(&mut self, directory: Node, name: &OsStr, mode: u32) -> Outcome<Node> {
        self.step()?;
        if self.names.find(directory, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let node = self.next;
        self.next += 1;
        self.modes.insert(node, mode & 0o7777);
        Ok(node)
    }

    pub(super) fn unlink(&mut self, directory: Node, name: &OsStr) -> Outcome<()> {
        self.step()?;
        self.names.find(directory, name).ok_or(Errno::ENOENT)?;
        self.names.unlink(directory, name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (Node, &OsStr), to: (Node, &OsStr)) -> Outcome<()> {
        self.step()?;
        self.names.find(from.0, from.1).ok_or(Errno::ENOENT)?;
        self.names.rename(from, to);
        Ok(())
    }

    pub(super) fn set_mode(&mut self, node: Node, mode: u32) -> Outcome<()> {
        self.step()?;
        self.modes.insert(node, mode & 0o7777);
        Ok(())
    }

    pub(super) fn write(&mut self, node: Node, offset: u64, bytes: &[u8]) -> Outcome<()> {
        self.step()?;
        self.counts.writes += 1;
        if self.strikes(|fault| if let Fault::Write { nth } = fault { Some(nth) } else { None }) {
            return Err(Errno::EIO);
        }
        let offset = index(offset)?;
        self.make_room(node, offset + bytes.len())?.write(offset, bytes);
        Ok(())
    }

    pub(super) fn set_length(&mut self, node: Node, length: u64) -> Outcome<()> {
        self.step()?;
        let length = index(length)?;
        self.file(node)?.set_length(length);
        Ok(())
    }

    pub(super) fn reserve(&mut self, node: Node, end: u64) -> Outcome<()> {
        self.step()?;
        let end = index(end)?;
        self.make_room(node, end)?.reserve(end);
        Ok(())
    }

    fn file(&mut self, node: Node) -> Outcome<&mut Contents> {
        self.files.get_mut(&node).ok_or(Errno::ENOENT)
    }

    /// The file, if there is room for it up to `end`.
    fn make_room(&mut self, node: Node, end: usize) -> Outcome<&mut Contents> {
        let (used, capacity) = (self.used(), self.capacity);
        let file = self.file(node)?;
        let more = (file.allocated_with(end) - file.allocated()) as u64;
        if more > 0 && used + more > capacity {
            return Err(Errno::ENOSPC);
        }
        Ok(file)
    }

    pub(super) fn sync(&mut self, node: Node) -> Outcome<()> {
        self.step()?;
        if self.strikes(|fault| if let Fault::Sync { nth } = fault { Some(nth) } else { None }) {
            self.file(node)?.fail_sync();
            return Err(Errno::EIO);
        }
        self.counts.syncs += 1;
        if !self.fsync_lies {
            self.file(node)?.sync();
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, node: Node) -> Outcome<()> {
        self.step()?;
        self.counts.syncs += 1;
        if !self.fsync_lies {
            self.names.sync(node);
        }
        Ok(())
    }
}

/// What `stat` shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) directory: bool,
    pub(super) mode: u32,
    pub(super) length: u64,
    pub(super) allocated: u64,
}

fn index(offset: u64) -> Outcome<usize> {
    // Far beyond what a test writes, and far below what memory has.
    if offset > 1 << 30 { Err(Errno::EFBIG) } else { usize::try_from(offset).map_err(|_| Errno::EFBIG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file() -> (Image, Node) {
        let mut image = Image::new(1 << 20);
        let node = image.create(ROOT, OsStr::new("file"), 0o600).expect("there is room");
        (image, node)
    }

    #[test]
    fn what_was_written_reads_at_once_and_a_full_disk_takes_no_more() {
        let (mut image, node) = with_file();
        image.write(node, 10, b"bytes").expect("there is room");
        assert_eq!(image.read(node, 10, 100).expect("it is there"), b"bytes");
        image.capacity = BLOCK;
        image.write(node, 20, b"in place").expect("its block is there");
        assert_eq!(image.write(node, BLOCK, b"more").map_err(Errno::code), Err(Errno::ENOSPC.code()));
        assert_eq!(image.free_bytes().expect("it has power"), 0);
    }

    #[test]
    fn the_nth_fault_strikes_once() {
        let (mut image, node) = with_file();
        image.faults.push(Fault::Write { nth: 2 });
        let outcomes: Vec<bool> = (0..4).map(|_| image.write(node, 0, b"x").is_ok()).collect();
        assert_eq!(outcomes, [true, false, true, true]);
        image.faults.push(Fault::Sync { nth: 1 });
        assert!(image.sync(node).is_err());
        assert_eq!(image.counts().faults, 2);
    }

    #[test]
    fn without_power_nothing_works_and_after_it_only_what_was_synced_is_there() {
        let (mut image, node) = with_file();
        image.write(node, 0, b"synced").expect("there is room");
        image.sync(node).expect("the disk is well");
        image.sync_directory(ROOT).expect("the disk is well");
        image.write(node, 0, b"lost..").expect("there is room");
        image.cut();
        assert!(image.sync(node).is_err() && image.read(node, 0, 9).is_err() && image.facts(node).is_err());
        image.restore(Survival::Nothing, &mut Random::of(1, "image"));
        assert_eq!(image.read(node, 0, 9).expect("its name was synced"), b"synced");
    }

    #[test]
    fn a_file_whose_name_was_not_synced_can_be_gone_although_it_was_itself() {
        let (mut image, node) = with_file();
        image.sync(node).expect("the disk is well");
        image.restore(Survival::Nothing, &mut Random::of(1, "image"));
        assert!(image.find(ROOT, OsStr::new("file")).is_err());
    }

    #[test]
    fn the_power_fails_after_so_many_changes() {
        let (mut image, node) = with_file();
        image.cut_after(2);
        let outcomes: Vec<bool> = (0..4).map(|_| image.write(node, 0, b"x").is_ok()).collect();
        assert_eq!(outcomes, [true, true, false, false]);
        assert!(!image.has_power());
    }

    #[test]
    fn an_fsync_that_lies_saves_nothing() {
        let (mut image, node) = with_file();
        image.sync_directory(ROOT).expect("the disk is well");
        image.fsync_lies = true;
        image.write(node, 0, b"x").expect("there is room");
        image.sync(node).expect("it says so");
        image.restore(Survival::Nothing, &mut Random::of(1, "image"));
        assert_eq!(image.read(node, 0, 9).expect("its name was synced"), b"");
    }
}
