//! When the power fails, and what is left then.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::Host;
use crate::{
    daemon::Daemon,
    hostfactory::random::Random,
    proof::{
        lossy::{Survival, Unsynced},
        site::wait_until,
    },
};

/// Longest wait for a disk that is in use to come to its cut; then it is cut as it is.
const BUSY: Duration = Duration::from_secs(3);

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// In the place of a change or fsync that comes after so many, of an hfd that serves.
    AtChange(u64),
    /// The same, counted from the start.
    InStart(u64),
    /// After so long, of an hfd that serves; it is stopped first.
    After(Duration),
}

impl Moment {
    pub(super) fn choose(random: &mut Random) -> Self {
        match random.within(0..=99) {
            0..=44 => Self::AtChange(random.within(0..=80) as u64),
            45..=69 => Self::InStart(random.within(0..=25) as u64),
            _ => Self::After(Duration::from_micros(random.within(100..=300_000) as u64)),
        }
    }
}

/// Mostly dice; the extremes now and then.
pub(super) fn choose_survival(random: &mut Random) -> Survival {
    match random.within(0..=99) {
        0..=59 => Survival::Random,
        60..=79 => Survival::Nothing,
        80..=94 => Survival::TornLast,
        _ => Survival::Everything,
    }
}

/// What a cut met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    pub(super) unsynced: Unsynced,
    pub(super) while_starting: bool,
    /// hfd had ended by itself before it was killed, as it should when it is quick.
    pub(super) ended_by_itself: bool,
}

impl Host {
    /// Lets the power fail at that moment of the running hfd, or of one that is started for it. Nothing runs afterwards,
    /// and the disk is still without power.
    pub(super) fn cut_at(&mut self, moment: Moment) -> Result<Met> {
        let while_starting = matches!(moment, Moment::InStart(_));
        match moment {
            Moment::AtChange(changes) => {
                self.disk.cut_after(changes);
                self.disk.wait_for_cut(BUSY);
            }
            Moment::InStart(changes) => {
                self.kill();
                self.disk.cut_after(changes);
                let daemon = self.daemon.insert(Daemon::start_only(self.spec.clone()));
                let begun = Instant::now();
                while !self.disk.wait_for_cut(BUSY / 50) && begun.elapsed() < BUSY * 5 {
                    let ended = daemon.process().try_ended();
                    if ended.is_some() && self.disk.wait_for_cut(Duration::ZERO) {
                        break; // of the cut, which came after the last look
                    }
                    ensure!(ended.is_none(), "hfd ended by itself with {ended:?}:\n{}", daemon.log_tail(40));
                }
            }
            Moment::After(span) => {
                // Not synchronisation: the moment is meant to be any.
                thread::sleep(span);
                self.freeze()?;
            }
        }
        let unsynced = self.disk.cut();
        let ended = self.daemon.as_mut().and_then(|daemon| daemon.process().try_ended());
        if let Some(status) = ended {
            let codes = [Some(71), Some(73), Some(74), Some(77), Some(78)];
            ensure!(codes.contains(&status.code()), "without power hfd ended with {status}");
        }
        self.kill();
        Ok(Met { unsynced, while_starting, ended_by_itself: ended.is_some() })
    }

    /// Stops hfd with all its threads: what it has sent has left, and it sends nothing more.
    fn freeze(&mut self) -> Result<()> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.process().signal(Signal::STOP);
        let threads = format!("/proc/{}/task", daemon.id());
        wait_until(10 * BUSY, "all threads of hfd have stopped", || {
            for thread in fs::read_dir(&threads)? {
                // One that ends meanwhile is none to wait for; the next look does not find it.
                let Ok(line) = fs::read_to_string(thread?.path().join("stat")) else { return Ok(false) };
                // The name in parentheses may hold anything; the state is the first word behind it.
                let state = line.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
                if state != Some("T") {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}
