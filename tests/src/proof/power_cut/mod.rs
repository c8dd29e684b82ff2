//! Power cuts: hfd's state directory lies on a disk that loses what was not synced, and the power fails at random
//! moments under load. What was acknowledged before has to be known afterwards and to end right, as after a kill.
//!
//! ```text
//!   moment   when it fails: at a change of the disk, at any time, during a start
//!   rounds   load, cut, restore, start, ask; judged from time to time
//!   faults   the disk fails otherwise: EIO, no room
//! ```
//! A cut is judged by what callers had on their standard output when the next life answers. An acknowledgement that
//! leaves between the cut and the kill stands for an fsync that was answered before the cut, so it counts as well; only
//! the controls, which acknowledge without one, stop hfd before they cut.

pub mod faults;
mod moment;
mod rounds;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub use self::rounds::{Plan, Report, Seen, again_with, control};
use super::{
    lossy::{LossyDisk, Survival},
    site::Site,
};
use crate::{
    daemon::{Daemon, DaemonSpec},
    hostfactory::random::Random,
};

/// Room on the disk; far more than a proof uses.
const ROOM: u64 = 256 << 20;

/// What is wrong with the journal or the disk, for the controls: each has to be seen as loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Weakness {
    /// hfd commits with `synchronous=NORMAL`: without an fsync.
    Normal,
    /// The disk answers an fsync and does nothing.
    LyingFsync,
}

/// A site whose state directory is on a disk that can fail. The daemon has to end before the disk, and the disk before
/// the site's directory: the fields end in the order written.
#[derive(Debug)]
pub struct Ground {
    /// What runs and what fails.
    pub host: Host,
    /// Everything else.
    pub site: Site,
}

/// hfd and its disk.
#[derive(Debug)]
pub struct Host {
    /// The daemon, when one was started.
    pub daemon: Option<Daemon>,
    /// The disk.
    pub disk: LossyDisk,
    /// How hfd is started.
    pub spec: DaemonSpec,
}

impl Ground {
    /// Makes one; hfd is not started.
    ///
    /// # Errors
    /// When the disk can't be mounted.
    pub fn open(seed: u64) -> Result<Self> {
        let mut site = Site::open(seed);
        let place = site.dir().join("disk");
        let disk = LossyDisk::mount(&place, ROOM)?;
        site.spec.state_dir = place.join("state");
        site.spec.set("journal.reserve", "256KiB");
        let host = Host { daemon: None, disk, spec: site.spec.clone() };
        Ok(Self { host, site })
    }

    /// Leaves the directory for whoever looks into a failure; the journal is copied off the disk, which ends.
    pub fn keep(&mut self) -> PathBuf {
        let kept = self.site.keep();
        self.host.keep(&kept);
        kept
    }
}

impl Host {
    /// Starts hfd and waits until it has seen the cluster.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn start(&mut self) -> Result<()> {
        let daemon = Daemon::start_only(self.spec.clone());
        Site::wait_synced(self.daemon.insert(daemon))
    }

    /// kill -9, and nothing left of it.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill9();
        }
    }

    /// Copies the journal off the disk, which ends, into the directory that is kept.
    fn keep(&self, kept: &Path) {
        copy_files(&self.spec.state_dir, &kept.join("state-of-the-disk"));
    }

    /// The power is back and hfd is started again.
    ///
    /// # Errors
    /// When the disk can't be mounted, or hfd ends instead of serving.
    pub fn come_back(&mut self, survival: Survival, random: &mut Random) -> Result<()> {
        self.disk.restore(survival, random)?;
        self.start()
    }

    /// The power fails now, and is back with hfd started again.
    ///
    /// # Errors
    /// See [`Self::come_back`].
    pub fn cut_and_come_back(&mut self, survival: Survival, random: &mut Random) -> Result<()> {
        self.disk.cut();
        self.kill();
        self.come_back(survival, random)
    }
}

/// Which of `ids` hfd does not know.
///
/// # Errors
/// When it does not answer.
pub fn unknown(site: &Site, ids: &[String]) -> Result<Vec<String>> {
    let list = site.ask(&["get", "requests", "--limit", "1000000"])?;
    let items = list["items"].as_array().context("a list of requests")?;
    let known: BTreeSet<&str> = items.iter().filter_map(|item| item["requestId"].as_str()).collect();
    Ok(ids.iter().filter(|id| !known.contains(id.as_str())).cloned().collect())
}

fn copy_files(from: &Path, to: &Path) {
    // Without power there is nothing to copy, and the failure that is being reported matters more than this one.
    let copied = std::fs::create_dir_all(to).and_then(|()| {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    });
    if let Err(error) = copied {
        eprintln!("the journal could not be copied from the disk: {error}");
    }
}
