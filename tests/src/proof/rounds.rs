//! What strikes hfd over and over under load, and is judged from time to time: the same for kills and for power cuts.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    caller::Tally,
    judge::{Judged, give_all_back, judge},
    load::{Load, Mix},
    site::Site,
};
use crate::hostfactory::random::Random;

/// What strikes, and hfd as it is started for it.
pub(super) trait Strikes {
    /// In the plural, as in "after 3 kills".
    const WHAT: &'static str;
    /// Strikes on one journal; then a new one, so that a start stays short.
    const A_ROUND: usize;
    /// Strikes between two judgements.
    const BETWEEN: usize;

    /// A new place, for the round of this seed.
    fn open(&mut self, seed: u64) -> Result<Site>;

    /// Starts hfd there, and waits until it has seen the cluster.
    fn start(&mut self, site: &Site) -> Result<()>;

    /// Strikes once and lets hfd come back; it may still be starting afterwards. `so_far` gives the ids acknowledged.
    fn strike(&mut self, site: &Site, random: &mut Random, so_far: &dyn Fn() -> Vec<String>) -> Result<()>;

    /// Waits until hfd serves again after the last strike of a series.
    fn serve(&mut self) -> Result<()>;

    /// Ends hfd with SIGTERM; whether that went well. What it stood on ends with it.
    fn close(&mut self) -> Result<bool>;

    /// Something was found: puts what would end with the place to where it is kept.
    fn keep(&mut self, _place: &Path) {}
}

/// How often, by how many callers and from which dice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    /// Strikes.
    pub(super) strikes: usize,
    /// Callers at once.
    pub(super) callers: usize,
    /// Seed of the first round; the next one has the next.
    pub(super) seed: u64,
}

/// What came out of all rounds.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Strikes.
    pub strikes: usize,
    /// Judgements.
    pub judgements: usize,
    /// Sums of all rounds.
    pub judged: Judged,
    /// Calls.
    pub tally: Tally,
    /// Time for it all.
    pub took: Duration,
}

impl Rounds {
    /// Strikes so often, and says how it goes.
    ///
    /// # Errors
    /// The first violation; what is needed to look into it is kept and named.
    pub(super) fn run<S: Strikes>(self, strikes: &mut S, say: &dyn Fn(&str)) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let begun = Instant::now();
        for round in 0.. {
            let count = S::A_ROUND.min(self.strikes - outcome.strikes);
            if count == 0 {
                break;
            }
            let seed = self.seed.wrapping_add(round);
            let mut site = strikes.open(seed)?;
            if let Err(error) = self.round(strikes, &site, seed, count, &mut outcome) {
                let kept = site.keep();
                strikes.keep(&kept);
                return Err(error.context(format!("round {round}, kept in {}", kept.display())));
            }
            say(&format!("{} {}, {:.0?}", outcome.strikes, S::WHAT, begun.elapsed()));
        }
        outcome.took = begun.elapsed();
        Ok(outcome)
    }

    fn round<S: Strikes>(
        self,
        strikes: &mut S,
        site: &Site,
        seed: u64,
        count: usize,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut random = Random::of(seed, S::WHAT);
        let mut load = Load::new(seed, self.callers);
        strikes.start(site)?;
        let (mut left, mut judged) = (count, Judged::default());
        while left > 0 {
            let now = S::BETWEEN.min(left);
            left -= now;
            load.during(site, Mix::All, |so_far| {
                for _ in 0..now {
                    outcome.strikes += 1;
                    let which = || format!("number {} of the {}", outcome.strikes, S::WHAT);
                    strikes.strike(site, &mut random, so_far).with_context(which)?;
                }
                strikes.serve()
            })?;
            judged = judge(&mut load, site).with_context(|| format!("after {} {}", outcome.strikes, S::WHAT))?;
            outcome.judgements += 1;
        }
        give_all_back(&mut load, site).context("at the end of the round")?;
        outcome.judgements += 1;
        outcome.judged.add(&judged);
        outcome.tally.add(&load.tally());
        ensure!(strikes.close()?, "hfd did not stop cleanly at the end of the round");
        Ok(())
    }
}

impl Outcome {
    /// Rows of the summary that all proofs of this kind have.
    pub(super) fn rows(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<(String, u64)> = [
            ("judgements", self.judgements as u64),
            ("ids acknowledged", self.judged.acknowledged),
            ("known without acknowledgement", self.judged.unacknowledged),
            ("of them returns", self.judged.unacknowledged_returns),
            ("machines asked for", self.judged.machines),
            ("names with exactly one pod ever", self.judged.names),
            ("milliseconds per strike", u64::try_from(self.took.as_millis()).unwrap_or(0) / self.strikes.max(1) as u64),
        ]
        .map(|(what, count)| (what.to_owned(), count))
        .into();
        rows.extend(self.tally.rows());
        rows
    }
}
