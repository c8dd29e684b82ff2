//! The reserve: room on the disk that is kept for returns (`lifecycle.md` 11).
//!
//! A file of real blocks. When a batch that may use it meets a full disk, the file is emptied and the batch tried again;
//! once there is ample room the file is made again. It never decides whether a commit succeeds: without it the journal
//! works, only with less to fall back on.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{fs::FallocateFlags, io::Errno};

use super::{
    error::CommitError,
    file_system::{directory_of, free_bytes, private},
};

/// Pause between two attempts to make the reserve again.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// Room is ample when the reserve would leave as much again: else making it would fill the disk that just got room.
const AMPLE: u64 = 2;

/// The reserve of one journal.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
    tried_at: Option<Instant>,
}

impl Reserve {
    /// Takes over the reserve in `directory`, or makes it if there is room.
    pub(super) fn prepare(directory: &Path, bytes: u64) -> Self {
        let path = directory.join("reserve");
        // Length alone proves nothing: a sparse file has none of the blocks it promises.
        let held = bytes > 0
            && path.metadata().is_ok_and(|facts| facts.len() == bytes && facts.blocks().saturating_mul(512) >= bytes);
        if bytes == 0 {
            // Configured away: what an earlier start set aside is of no use to anyone.
            let _ = std::fs::remove_file(&path);
        }
        let mut reserve = Self { path, bytes, held, tried_at: None };
        reserve.restore();
        reserve
    }

    /// Bytes that are set aside now.
    pub(super) const fn held_bytes(&self) -> u64 {
        if self.held { self.bytes } else { 0 }
    }

    /// It should be there and is not.
    pub(super) const fn is_missing(&self) -> bool {
        self.bytes > 0 && !self.held
    }

    /// Free bytes of its disk beside those that are kept for returns while it is given up.
    pub(super) fn free_beside(&self) -> u64 {
        let kept = if self.is_missing() { self.bytes } else { 0 };
        free_bytes(directory_of(&self.path)).saturating_sub(kept)
    }

    /// It is missing, and [`RETRY`] has passed since it was tried last.
    pub(super) fn is_due(&self) -> bool {
        self.is_missing() && self.tried_at.is_none_or(|at| at.elapsed() >= RETRY)
    }

    /// Makes it again if there is ample room; asks the disk at most once per [`RETRY`].
    pub(super) fn restore(&mut self) {
        if !self.is_due() {
            return;
        }
        self.tried_at = Some(Instant::now());
        if free_bytes(directory_of(&self.path)) < self.bytes.saturating_mul(AMPLE) {
            return;
        }
        match self.allocate() {
            Ok(()) => self.held = true,
            Err(error) => {
                // What it got before it failed must not stay taken.
                let _ = std::fs::remove_file(&self.path);
                tracing::warn!(path = %self.path.display(), %error, "cannot set the disk reserve aside");
            }
        }
    }

    /// Runs `attempt`, and on a full disk, where `allowed`, once more with the reserve's room given to it. What is not
    /// allowed to use the reserve does not get its room after it was given up either.
    pub(super) fn help<T>(
        &mut self,
        allowed: bool,
        mut attempt: impl FnMut() -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        if !allowed && self.is_missing() && free_bytes(directory_of(&self.path)) < self.bytes {
            return Err(CommitError::Full(format!("its last {} bytes are kept for returns", self.bytes)));
        }
        match attempt() {
            Err(CommitError::Full(_)) if allowed && self.give_up() => attempt(),
            outcome => outcome,
        }
    }

    #[cfg(test)]
    pub(super) const fn let_the_pause_pass(&mut self) {
        self.tried_at = None;
    }

    fn give_up(&mut self) -> bool {
        if !self.held {
            return false;
        }
        let empty = || -> io::Result<()> {
            let file = private().truncate(true).open(&self.path)?;
            // Some file systems give freed blocks out again only once the freeing itself is on the disk.
            file.sync_all()
        };
        if let Err(error) = empty() {
            tracing::warn!(path = %self.path.display(), %error, "cannot give the disk reserve up");
            return false;
        }
        self.held = false;
        self.tried_at = Some(Instant::now());
        tracing::warn!(path = %self.path.display(), bytes = self.bytes, "the disk is full: gave its reserve up");
        true
    }

    fn allocate(&self) -> io::Result<()> {
        let mut file = private().create(true).truncate(true).open(&self.path)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&mut file, self.bytes)?,
            outcome => outcome?,
        }
        file.sync_all()
    }
}

fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    // Not zeros: a file system that compresses would keep no room for them.
    let block: Vec<u8> = (0..4096u32).flat_map(|word| word.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> CommitError {
        CommitError::Full("no room".into())
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn it_holds_real_blocks_and_a_second_start_takes_it_over() {
        let directory = directory();
        assert_eq!(Reserve::prepare(directory.path(), 1 << 20).held_bytes(), 1 << 20);
        let facts = directory.path().join("reserve").metadata().expect("the reserve");
        assert!(facts.blocks() * 512 >= 1 << 20);
        let second = Reserve::prepare(directory.path(), 1 << 20);
        assert_eq!((second.held_bytes(), second.tried_at), (1 << 20, None));
    }

    #[test]
    fn a_full_disk_empties_it_for_a_return_and_the_batch_is_tried_once_more() {
        let directory = directory();
        let mut reserve = Reserve::prepare(directory.path(), 1 << 20);
        let file = directory.path().join("reserve");
        let outcome = reserve
            .help(true, || if file.metadata().is_ok_and(|facts| facts.len() == 0) { Ok(()) } else { Err(full()) });
        assert_eq!(outcome, Ok(()));
        assert_eq!(reserve.held_bytes(), 0);
    }

    #[test]
    fn a_batch_that_may_not_use_it_leaves_it_alone() {
        let directory = directory();
        let mut reserve = Reserve::prepare(directory.path(), 1 << 20);
        let mut attempts = 0;
        let outcome: Result<(), _> = reserve.help(false, || {
            attempts += 1;
            Err(full())
        });
        assert_eq!((outcome, attempts, reserve.held_bytes()), (Err(full()), 1, 1 << 20));
    }

    #[test]
    fn room_that_is_too_small_for_it_is_for_returns_alone() {
        let directory = directory();
        let mut reserve = Reserve::prepare(directory.path(), u64::MAX);
        assert!(matches!(reserve.help(false, || Ok(())), Err(CommitError::Full(_))));
        assert_eq!(reserve.help(true, || Ok(())), Ok(()));
    }

    #[test]
    fn a_failing_disk_is_not_a_full_one() {
        let directory = directory();
        let mut reserve = Reserve::prepare(directory.path(), 1 << 20);
        let outcome: Result<(), _> = reserve.help(true, || Err(CommitError::Fatal("fsync".into())));
        assert_eq!((outcome, reserve.held_bytes()), (Err(CommitError::Fatal("fsync".into())), 1 << 20));
    }

    #[test]
    fn it_is_made_again_after_its_pause_when_there_is_room() {
        let directory = directory();
        let mut reserve = Reserve::prepare(directory.path(), 1 << 20);
        assert!(reserve.give_up());
        reserve.restore();
        assert!(reserve.is_missing(), "the pause has not passed");
        reserve.let_the_pause_pass();
        reserve.restore();
        assert_eq!(reserve.held_bytes(), 1 << 20);
    }

    #[test]
    fn it_never_takes_the_last_room() {
        let directory = directory();
        let reserve = Reserve::prepare(directory.path(), u64::MAX);
        assert!(reserve.is_missing());
        assert!(!directory.path().join("reserve").exists());
    }

    #[test]
    fn where_blocks_cannot_be_preallocated_they_are_written() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        fill(&mut file, 40_000).expect("room for 40 kB");
        assert_eq!(file.metadata().expect("its facts").len(), 40_000);
    }
}
