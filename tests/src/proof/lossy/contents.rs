//! The bytes of one file: as they read now, as they are on the disk, and what lies between.
//!
//! After a power cut each 4 KiB page is as it was after some number of the unsynced writes to it, whichever page, in
//! any order; a torn page is so sector by sector. Lengths are a file system's own records: those that were set survive
//! in their order, and a byte that a surviving truncation cut off never comes back.

use std::collections::BTreeMap;

use crate::hostfactory::random::Random;

/// What a disk writes whole.
pub(super) const SECTOR: usize = 512;
const SECTORS_PER_PAGE: u64 = 8;
/// Of a thousand pages with unsynced writes, those that are torn.
const TORN: usize = 250;

/// What becomes of unsynced changes when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// All are lost.
    Nothing,
    /// All have reached the disk.
    Everything,
    /// Some have, page by page, partly torn.
    Random,
    /// All have but the last write of each file, of which some sectors have.
    TornLast,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write { offset, bytes: new } => {
                let end = offset + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(new);
            }
        }
    }

    fn length_after(&self, before: usize) -> usize {
        match self {
            Self::Length(length) => *length,
            Self::Write { offset, bytes } => before.max(offset + bytes.len()),
        }
    }

    /// The part of it that falls into one sector.
    fn apply_to_sector(&self, start: usize, sector: &mut [u8; SECTOR]) {
        match self {
            Self::Length(length) => sector[length.saturating_sub(start).min(SECTOR)..].fill(0),
            Self::Write { offset, bytes } => {
                let (from, to) = ((*offset).max(start), (offset + bytes.len()).min(start + SECTOR));
                if from < to {
                    sector[from - start..to - start].copy_from_slice(&bytes[from - offset..to - offset]);
                }
            }
        }
    }
}

/// One file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Blocks set aside beyond what is written.
    reserved: usize,
}

impl Contents {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// Bytes that it takes from the disk, in blocks of a page.
    pub(super) fn allocated(&self) -> usize {
        self.live.len().max(self.reserved).next_multiple_of(4096)
    }

    /// The same once something was written or set aside up to `end`.
    pub(super) fn allocated_with(&self, end: usize) -> usize {
        self.allocated().max(end.next_multiple_of(4096))
    }

    /// Writes of whole pages that are not synced. Smaller ones (a process id, a header) are always about.
    pub(super) fn unsynced_pages(&self) -> usize {
        let page = |change: &&Change| matches!(change, Change::Write { bytes, .. } if bytes.len() >= 4096);
        self.pending.iter().filter(page).count()
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.reserved = self.reserved.min(length);
        self.change(Change::Length(length));
    }

    /// Sets blocks aside, and makes the file as long when it is shorter.
    pub(super) fn reserve(&mut self, end: usize) {
        self.reserved = self.reserved.max(end);
        if self.live.len() < end {
            self.change(Change::Length(end));
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// The disk has all of it.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// The disk refused: as on Linux the pages then count as clean. They read as before as long as the machine has
    /// power, and no later fsync writes them.
    pub(super) fn fail_sync(&mut self) {
        self.pending.clear();
    }

    /// What is there after a power cut.
    pub(super) fn after_cut(&self, survival: Survival, random: &mut Random) -> Self {
        let mut bytes = self.durable.clone();
        match survival {
            Survival::Nothing => {}
            Survival::Everything => self.pending.iter().for_each(|change| change.apply(&mut bytes)),
            Survival::Random => bytes = self.some(random),
            Survival::TornLast => self.all_but_torn(random, &mut bytes),
        }
        let reserved = self.reserved.min(bytes.len());
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new(), reserved }
    }

    fn all_but_torn(&self, random: &mut Random, bytes: &mut Vec<u8>) {
        let last = self.pending.iter().rposition(|change| matches!(change, Change::Write { .. }));
        for (index, change) in self.pending.iter().enumerate() {
            let Change::Write { offset, bytes: new } = change else {
                change.apply(bytes);
                continue;
            };
            if Some(index) != last {
                change.apply(bytes);
                continue;
            }
            // Sectors of the disk, not of the write: the first and the last may be short.
            let sectors: Vec<usize> = (offset / SECTOR..(offset + new.len()).div_ceil(SECTOR)).collect();
            let lost = random.within(0..=sectors.len().saturating_sub(1));
            bytes.resize(bytes.len().max(offset + new.len()), 0);
            for (nth, sector) in sectors.into_iter().enumerate() {
                if nth == lost || random.chance(300) {
                    continue;
                }
                let (from, to) = ((sector * SECTOR).max(*offset), ((sector + 1) * SECTOR).min(offset + new.len()));
                bytes[from..to].copy_from_slice(&new[from - offset..to - offset]);
            }
        }
    }

    fn some(&self, random: &mut Random) -> Vec<u8> {
        let lengths: Vec<usize> = self.positions(|change| matches!(change, Change::Length(_)));
        let kept = random.within(0..=lengths.len());
        // Nothing that follows a lost length can have been written over what that length would have made room for.
        let end = lengths.get(kept).copied().unwrap_or(self.pending.len());
        let last_kept = lengths[..kept].last().map_or(0, |last| last + 1);
        let seen = last_kept + random.within(0..=end - last_kept);
        let length = self.pending[..seen].iter().fold(self.durable.len(), |length, change| change.length_after(length));

        let mut bytes = self.durable.clone();
        for &position in &lengths[..kept] {
            self.pending[position].apply(&mut bytes);
        }
        bytes.resize(length, 0);
        for (page, sectors) in self.touched(end) {
            let torn = random.chance(TORN);
            let upto = random.within(0..=self.pending.len());
            for sector in sectors {
                let upto = if torn { random.within(0..=self.pending.len()) } else { upto };
                let start = usize::try_from(page * SECTORS_PER_PAGE + sector).expect("files are small") * SECTOR;
                let cut_off = |at: &&usize| matches!(self.pending[**at], Change::Length(to) if to < start + SECTOR);
                let begin = lengths[..kept].iter().rfind(cut_off).map_or(0, |last| last + 1);
                self.put_sector(&mut bytes, start, upto.clamp(begin, end));
            }
        }
        bytes
    }

    fn positions(&self, wanted: impl Fn(&Change) -> bool) -> Vec<usize> {
        self.pending.iter().enumerate().filter(|(_, change)| wanted(change)).map(|(position, _)| position).collect()
    }

    /// Sectors with writes among the first `end` changes, by page.
    fn touched(&self, end: usize) -> BTreeMap<u64, Vec<u64>> {
        let mut pages: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for change in &self.pending[..end] {
            if let Change::Write { offset, bytes } = change {
                for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
                    let sector = sector as u64;
                    pages.entry(sector / SECTORS_PER_PAGE).or_default().push(sector % SECTORS_PER_PAGE);
                }
            }
        }
        for sectors in pages.values_mut() {
            sectors.sort_unstable();
            sectors.dedup();
        }
        pages
    }

    /// Puts the sector as it was after the first `upto` changes.
    fn put_sector(&self, bytes: &mut [u8], start: usize, upto: usize) {
        if start >= bytes.len() {
            return;
        }
        let mut sector = [0; SECTOR];
        if let Some(old) = self.durable.get(start..) {
            let there = old.len().min(SECTOR);
            sector[..there].copy_from_slice(&old[..there]);
        }
        for change in &self.pending[..upto] {
            change.apply_to_sector(start, &mut sector);
        }
        let there = (bytes.len() - start).min(SECTOR);
        bytes[start..start + there].copy_from_slice(&sector[..there]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(seed: u64) -> Random {
        Random::of(seed, "contents")
    }

    fn written(sectors: usize, byte: u8) -> Contents {
        let mut contents = Contents::default();
        contents.write(0, &vec![byte; sectors * SECTOR]);
        contents.sync();
        contents
    }

    #[test]
    fn what_was_synced_is_never_lost_and_what_was_not_can_be() {
        let mut contents = written(16, b'a');
        contents.write(16 * SECTOR, &[b'b'; 4096]);
        let mut outcomes = [false; 2];
        for seed in 0..200 {
            let after = contents.after_cut(Survival::Random, &mut dice(seed));
            assert_eq!(after.live[..16 * SECTOR], [b'a'; 16 * SECTOR], "seed {seed}");
            let survived = after.live.len() == 16 * SECTOR + 4096 && after.live[16 * SECTOR..].contains(&b'b');
            outcomes[usize::from(survived)] = true;
        }
        assert_eq!(outcomes, [true, true], "both lost and kept in 200 cuts");
    }

    #[test]
    fn pages_survive_in_any_order_and_some_are_torn_at_sectors() {
        let mut contents = written(16, b'a');
        contents.write(0, &[b'b'; 4096]);
        contents.write(4096, &[b'c'; 4096]);
        let (mut second_alone, mut torn) = (false, false);
        for seed in 0..400 {
            let after = contents.after_cut(Survival::Random, &mut dice(seed)).live;
            let whole = |byte: u8, page: usize| after[page * 4096..][..4096].iter().all(|found| *found == byte);
            second_alone |= whole(b'a', 0) && whole(b'c', 1);
            torn |= after[..4096].contains(&b'a') && after[..4096].contains(&b'b');
            for sector in after.chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}: torn inside a sector");
            }
        }
        assert!(second_alone, "the later write without the earlier one");
        assert!(torn, "a page of both");
    }

    #[test]
    fn a_page_written_twice_can_be_left_as_the_first_write_made_it() {
        let mut contents = written(8, b'a');
        contents.write(0, &[b'b'; 4096]);
        contents.write(0, &[b'c'; 4096]);
        let found: std::collections::BTreeSet<u8> =
            (0..200).map(|seed| contents.after_cut(Survival::Random, &mut dice(seed)).live[0]).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [b'a', b'b', b'c']);
    }

    #[test]
    fn a_truncation_that_survived_is_not_undone_by_halves() {
        let mut contents = written(16, b'a');
        contents.set_length(0);
        contents.write(0, &[b'b'; 2 * SECTOR]);
        let mut old = false;
        for seed in 0..300 {
            let after = contents.after_cut(Survival::Random, &mut dice(seed)).live;
            if after.len() == 16 * SECTOR {
                old = true;
                assert!(after.iter().all(|byte| *byte == b'a'), "seed {seed}: new bytes in the old file");
            } else {
                assert!(!after.contains(&b'a'), "seed {seed}: old bytes behind the truncation");
            }
        }
        assert!(old, "the truncation itself can be lost");
    }

    #[test]
    fn after_a_failed_fsync_its_bytes_still_read_but_no_later_fsync_saves_them() {
        let mut contents = written(8, b'a');
        contents.write(0, &[b'b'; 4096]);
        contents.fail_sync();
        contents.sync();
        assert_eq!(contents.live()[0], b'b');
        assert_eq!(contents.after_cut(Survival::Everything, &mut dice(1)).live()[0], b'a');
    }

    #[test]
    fn a_torn_last_write_is_never_whole_and_all_before_it_is() {
        let mut contents = written(32, b'a');
        contents.write(0, &[b'b'; 4096]);
        contents.write(8192, &[b'c'; 4096]);
        for seed in 0..50 {
            let after = contents.after_cut(Survival::TornLast, &mut dice(seed)).live;
            assert!(after[..4096].iter().all(|byte| *byte == b'b'));
            assert!(after[8192..][..4096].contains(&b'a'), "seed {seed}");
        }
    }
}
