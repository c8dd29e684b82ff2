//! Many callers at once against one daemon, seeded, until they are told to stop.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Result, ensure};

use super::{
    caller::{Caller, Tally},
    site::Site,
};
use crate::{
    hostfactory::random::Random,
    script::{Scripts, Verb},
};

/// Which verbs callers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// All of them, as HostFactory does.
    All,
    /// One alone, whatever it finds to do.
    Only(Verb),
}

/// What callers share.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Socket of the daemon.
    pub socket: &'a Path,
    /// HostFactory's scripts.
    pub scripts: &'a Scripts,
    acknowledged: &'a Mutex<BTreeSet<String>>,
}

/// The callers of one daemon, with all that they were told.
#[derive(Debug)]
pub struct Load {
    /// Each owns its requests.
    pub callers: Vec<Caller>,
    acknowledged: Mutex<BTreeSet<String>>,
}

impl Mix {
    /// The next verb; a caller that has much (`full`) asks for no more.
    pub fn choose(self, random: &mut Random, full: bool) -> Option<Verb> {
        let verb = match self {
            Self::Only(verb) => verb,
            Self::All => match random.within(0..=99) {
                0..=34 if !full => Verb::RequestMachines,
                0..=34 | 65..=89 => Verb::RequestReturnMachines,
                35..=64 => Verb::GetRequestStatus,
                90..=95 => Verb::GetReturnRequests,
                _ => Verb::GetAvailableTemplates,
            },
        };
        Some(verb)
    }
}

impl Ground<'_> {
    /// Notes an id that left on a caller's standard output.
    ///
    /// # Errors
    /// When it was given out before.
    pub fn acknowledge(&self, id: &str) -> Result<()> {
        let mut all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(all.insert(id.to_owned()), "{id} was given to two calls");
        Ok(())
    }
}

impl Load {
    /// So many callers.
    pub fn new(seed: u64, callers: usize) -> Self {
        Self { callers: (0..callers).map(|number| Caller::new(seed, number)).collect(), acknowledged: Mutex::default() }
    }

    /// What callers share.
    pub fn ground<'a>(&'a self, site: &'a Site) -> Ground<'a> {
        Ground { socket: &site.spec.socket, scripts: &site.scripts, acknowledged: &self.acknowledged }
    }

    /// Ids that left on some caller's standard output, of requests and returns.
    pub fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Has all callers call over and over while `meanwhile` runs, and waits for the end of their last calls; hfd has to
    /// serve, or be about to, when `meanwhile` returns. `meanwhile` gets the ids acknowledged so far by asking.
    ///
    /// # Errors
    /// The first violation that a caller saw, or that `meanwhile` ended with.
    pub fn during<T>(
        &mut self,
        site: &Site,
        mix: Mix,
        meanwhile: impl FnOnce(&dyn Fn() -> Vec<String>) -> Result<T>,
    ) -> Result<T> {
        let stop = AtomicBool::new(false);
        let Self { callers, acknowledged } = self;
        callers.iter_mut().for_each(|caller| caller.called.clear());
        let acknowledged = &*acknowledged;
        let ground = Ground { socket: &site.spec.socket, scripts: &site.scripts, acknowledged };
        let (ground, stop) = (&ground, &stop);
        thread::scope(|scope| {
            let calling: Vec<_> = callers
                .iter_mut()
                .map(|caller| {
                    scope.spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            caller.step(ground, mix).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                        }
                        Ok(())
                    })
                })
                .collect();
            let so_far = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
            // A panic here has to stop the callers as well, or the scope would wait for them for ever.
            let stopper = Stopper(stop);
            let outcome = meanwhile(&so_far);
            drop(stopper);
            let ended: Vec<Result<()>> =
                calling.into_iter().map(|caller| caller.join().expect("a caller does not panic")).collect();
            ended.into_iter().collect::<Result<()>>()?;
            outcome
        })
    }

    /// Does `what` with each caller, all at once.
    ///
    /// # Errors
    /// The first of theirs.
    pub fn each(&mut self, site: &Site, what: impl Fn(&mut Caller, &Ground<'_>) -> Result<()> + Sync) -> Result<()> {
        let Self { callers, acknowledged } = self;
        let ground = Ground { socket: &site.spec.socket, scripts: &site.scripts, acknowledged };
        let (ground, what) = (&ground, &what);
        thread::scope(|scope| {
            let all: Vec<_> = callers.iter_mut().map(|caller| scope.spawn(move || what(caller, ground))).collect();
            let ended: Vec<Result<()>> =
                all.into_iter().map(|caller| caller.join().expect("a caller does not panic")).collect();
            ended.into_iter().collect()
        })
    }

    /// All counts of all callers.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.callers.iter().map(|caller| &caller.tally) {
            sum.add(tally);
        }
        sum
    }
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Tally {
    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [(&mut self.answered, &other.answered), (&mut self.failed, &other.failed)] {
            for (what, count) in more {
                *sum.entry(what).or_default() += count;
            }
        }
        self.same_key += other.same_key;
        self.other_body += other.other_body;
    }

    /// Rows for a report.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<_> =
            self.answered.iter().map(|(what, count)| (format!("answered: {what}"), *count)).collect();
        rows.extend(self.failed.iter().map(|(what, count)| (format!("failed cleanly: {what}"), *count)));
        rows.push(("same key, same id".to_owned(), self.same_key));
        rows.push(("same key, other body, refused".to_owned(), self.other_body));
        rows
    }
}
