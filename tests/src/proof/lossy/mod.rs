//! A disk that can fail: a file system in user space that keeps, beside what programs see, what would be there after a
//! power cut.
//!
//! ```text
//!   hfd ──write/fsync/rename──> kernel (FUSE) ──> serve ──> image ─┬─ contents: per file  live │ unsynced │ durable
//!                                                                 └─ names: directories  live │ unsynced │ durable
//! ```
//! A write is seen at once and is durable when an fsync of its file was answered; a name when one of its directory was.
//! At a cut, what was not synced survives by the dice, page by page and partly torn ([`Survival`]).
//!
//! A [`LossyDisk`] is unmounted when it is dropped. A test process that is killed leaves a dead mount; the next disk that
//! is mounted detaches it.

mod contents;
mod image;
mod names;
mod serve;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fuser::{BackgroundSession, Config, MountOption};
use rustix::io::Errno;

pub use self::{
    contents::Survival,
    image::{Counts, Fault, Unsynced},
};
use self::{
    image::Image,
    serve::{Served, Shared},
};
use crate::hostfactory::random::Random;

/// What the mounts are called in the kernel's table.
const SOURCE: &str = "hfd-lossy-disk";
/// Longest wait for the last user of a disk to go.
const LEAVING: Duration = Duration::from_secs(20);

/// A mounted disk.
#[derive(Debug)]
pub struct LossyDisk {
    shared: Arc<Shared>,
    path: PathBuf,
    session: Option<BackgroundSession>,
}

impl LossyDisk {
    /// Mounts an empty disk with room for `capacity` bytes at `path`, which is made.
    ///
    /// # Errors
    /// When it cannot be mounted: that needs root and `/dev/fuse`.
    pub fn mount(path: &Path, capacity: u64) -> Result<Self> {
        detach_the_dead()?;
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let mut disk =
            Self { shared: Arc::new(Shared::new(Image::new(capacity))), path: path.to_owned(), session: None };
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&mut self) -> Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName(SOURCE.to_owned()), MountOption::RW];
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let served = Served { shared: self.shared.clone(), owner };
        let session = fuser::spawn_mount(served, &self.path, &config)
            .with_context(|| format!("mounting {} (root and /dev/fuse are needed)", self.path.display()))?;
        self.session = Some(session);
        Ok(())
    }

    /// Takes it out of the tree; whether the last user has gone `within` then. A look of another test at it, or the
    /// end of a killed process, may still be under way.
    fn detach(&mut self, within: Duration) -> Result<bool> {
        let Some(session) = self.session.take() else { return Ok(true) };
        unmount_lazily(&self.path)?;
        let begun = Instant::now();
        while !session.guard.is_finished() {
            if begun.elapsed() >= within {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(1));
        }
        session.join().context("the disk's thread")?;
        Ok(true)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has happened on it so far.
    pub fn counts(&self) -> Counts {
        self.shared.image().counts()
    }

    /// Makes it fail.
    pub fn fault(&self, fault: Fault) {
        self.shared.image().faults.push(fault);
    }

    /// Changes its room. What is on it stays, whether it fits or not.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.image().capacity = bytes;
    }

    /// Its room, free or not.
    pub fn capacity(&self) -> u64 {
        self.shared.image().capacity
    }

    /// Bytes that can still be written.
    ///
    /// # Panics
    /// When it has no power.
    pub fn free_bytes(&self) -> u64 {
        self.shared.image().free_bytes().unwrap_or_else(|_| panic!("the disk has no power"))
    }

    /// From now on every fsync is answered and does nothing.
    pub fn let_fsync_lie(&self) {
        self.shared.image().fsync_lies = true;
    }

    /// The power fails now: from here on every call ends with EIO. Tells what was not synced.
    pub fn cut(&self) -> Unsynced {
        let mut image = self.shared.image();
        image.cut();
        image.unsynced()
    }

    /// The power will fail in the place of the change or fsync that comes after `changes` more of them.
    pub fn cut_after(&self, changes: u64) {
        self.shared.image().cut_after(changes);
    }

    /// Waits until the power has failed, at most `within`; tells whether it has.
    pub fn wait_for_cut(&self, within: Duration) -> bool {
        let waited =
            self.shared.power_failed.wait_timeout_while(self.shared.image(), within, |image| image.has_power());
        !waited.expect("the disk's code does not panic").0.has_power()
    }

    /// The power is back. The disk has what was synced and of the rest what `survival` and the dice leave. Nobody may
    /// have a file of it open.
    ///
    /// # Errors
    /// When somebody has, or it cannot be mounted again.
    pub fn restore(&mut self, survival: Survival, random: &mut Random) -> Result<()> {
        // Mounted anew, so that nothing the kernel remembers outlives the cut.
        ensure!(self.detach(LEAVING)?, "{} is in use", self.path.display());
        self.shared.image().restore(survival, random);
        self.attach()
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if let Err(error) = self.detach(Duration::ZERO) {
            eprintln!("{error:#}");
        }
    }
}

/// Detaches mounts of ours whose process is gone. Those of other running tests are not touched: they answer.
fn detach_the_dead() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the table of mounts")?;
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (source, place) = (fields.next(), fields.next());
        let (Some(SOURCE), Some(place)) = (source, place) else { continue };
        let place = Path::new(place);
        let dead = rustix::fs::statfs(place).err() == Some(Errno::NOTCONN);
        if dead {
            unmount_lazily(place)?;
        }
    }
    Ok(())
}

fn unmount_lazily(place: &Path) -> Result<()> {
    let status = Command::new("umount").arg("--lazy").arg(place).status().context("running umount")?;
    let still_there = || rustix::fs::statfs(place).err() == Some(Errno::NOTCONN);
    ensure!(
        status.success() || !still_there(),
        "{} cannot be unmounted: {}",
        place.display(),
        io::Error::last_os_error()
    );
    Ok(())
}
