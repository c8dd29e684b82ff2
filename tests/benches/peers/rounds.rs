//! Rounds in which the providers take turns.

use std::path::Path;

use tests::figures::{Samples, millis};

use crate::provider::{Machine, Provider, Waited};

/// What is done how often, and by whom.
pub(crate) struct Plan<'a> {
    /// Machines of a request.
    pub(crate) machines: usize,
    /// Status calls in all rounds together.
    pub(crate) polls: usize,
    /// Who takes part, by its place, and in how many rounds of asking for them and returning them.
    pub(crate) who: &'a [(usize, usize)],
    /// Whether the machines of all are up at the same time, so that the status calls alternate.
    pub(crate) together: bool,
}

impl Plan<'_> {
    /// Rounds of those who take part in most.
    pub(crate) fn rounds(&self) -> usize {
        self.who.iter().map(|(_, rounds)| *rounds).max().unwrap_or_default()
    }
}

/// What one provider needed.
pub(crate) struct Figures {
    /// Its place.
    pub(crate) who: usize,
    /// Status calls of a request that is done.
    pub(crate) status: Samples,
    /// The most memory (KiB) that one process of such a call had.
    pub(crate) peak: u64,
    /// Waits for machines to be ready.
    pub(crate) ready: Vec<Waited>,
    /// Waits for machines to be gone.
    pub(crate) gone: Vec<Waited>,
    /// Calls of the API server in these waits.
    api_calls: usize,
    /// Why it was given up.
    pub(crate) failed: Option<String>,
}

/// A provider's machines of a round.
struct Up {
    id: String,
    machines: Vec<Machine>,
}

/// Runs a plan; the figures of those who take part.
pub(crate) fn run(providers: &[Provider; 3], plan: &Plan<'_>, measure: &Path) -> Vec<Figures> {
    let mut all: Vec<Figures> = plan.who.iter().map(|(who, _)| Figures::new(*who)).collect();
    let rounds = plan.rounds();
    for round in 0..rounds {
        // Who begins changes.
        let shift = round % all.len();
        all.rotate_left(shift);
        let polls = plan.polls / rounds + usize::from(round < plan.polls % rounds);
        if plan.together {
            turns(providers, plan, round, measure, &mut all, polls);
        } else {
            all.chunks_mut(1).for_each(|one| turns(providers, plan, round, measure, one, polls));
        }
        all.rotate_right(shift);
    }
    all
}

fn turns(providers: &[Provider; 3], plan: &Plan<'_>, round: usize, measure: &Path, all: &mut [Figures], polls: usize) {
    let takes_part = |who: usize| plan.who.iter().any(|(place, rounds)| *place == who && round < *rounds);
    let bring_up = |figures: &mut Figures| {
        takes_part(figures.who).then(|| figures.bring_up(&providers[figures.who], plan.machines)).flatten()
    };
    let mut up: Vec<Option<Up>> = all.iter_mut().map(bring_up).collect();
    for _ in 0..polls {
        for (figures, up) in all.iter_mut().zip(&mut up) {
            let Some(Up { id, .. }) = up else { continue };
            match providers[figures.who].status(id, plan.machines) {
                Ok(time) => figures.status.push(time),
                Err(why) => {
                    figures.give_up(why);
                    *up = None;
                }
            }
        }
    }
    for (figures, up) in all.iter_mut().zip(up) {
        if let Some(Up { id, machines }) = up {
            let provider = &providers[figures.who];
            figures.peak = figures.peak.max(provider.peak(measure, &id));
            figures.take_down(provider, &machines);
        }
    }
}

impl Figures {
    fn new(who: usize) -> Self {
        let (status, peak, ready, gone) = (Samples::default(), 0, Vec::new(), Vec::new());
        Self { who, status, peak, ready, gone, api_calls: 0, failed: None }
    }

    fn give_up(&mut self, why: String) {
        println!("given up: {why}");
        self.failed = Some(why);
    }

    fn bring_up(&mut self, provider: &Provider, machines: usize) -> Option<Up> {
        if self.failed.is_some() {
            return None;
        }
        let audited = provider.site.audited();
        match provider.bring_up(machines) {
            Ok((waited, id, machines)) => {
                shown(provider, "ready", machines.len(), &waited);
                self.api_calls += provider.site.api_calls(audited);
                self.ready.push(waited);
                Some(Up { id, machines })
            }
            Err(why) => {
                self.give_up(why);
                None
            }
        }
    }

    fn take_down(&mut self, provider: &Provider, machines: &[Machine]) {
        let audited = provider.site.audited();
        match provider.take_down(machines) {
            Ok(waited) => {
                shown(provider, "gone", machines.len(), &waited);
                self.api_calls += provider.site.api_calls(audited);
                self.gone.push(waited);
            }
            Err(why) => self.give_up(why),
        }
    }

    /// Calls of the API server for a machine, from asking for it to its end.
    pub(crate) fn api_calls_per_machine(&self, machines: usize) -> f64 {
        self.api_calls as f64 / (machines * self.gone.len()) as f64
    }

    /// What the rows do not say.
    pub(crate) fn note(&self) -> String {
        let polls = |waits: &[Waited]| {
            let polls: u32 = waits.iter().map(|waited| waited.polls).sum();
            let mut last = Samples::default();
            waits.iter().for_each(|waited| last.push(waited.between_polls));
            format!("polls {polls}, the last {:.0} ms after the one before", millis(last.median()))
        };
        let left = self.gone.iter().map(|waited| waited.pods_left).max().unwrap_or_default();
        let lie = if left == 0 { String::new() } else { format!("; reported gone while up to {left} pods were there") };
        let rounds = self.gone.len();
        format!("rounds: {rounds}; ready: {}; gone: {}{lie}", polls(&self.ready), polls(&self.gone))
    }
}

/// How long the waits were.
pub(crate) fn times(waits: &[Waited]) -> Samples {
    let mut samples = Samples::default();
    waits.iter().for_each(|waited| samples.push(waited.time));
    samples
}

fn shown(provider: &Provider, what: &str, machines: usize, waited: &Waited) {
    println!(
        "{}, {machines} machines: {what} in {:.3} s ({} polls, {} pods left)",
        provider.name,
        waited.time.as_secs_f64(),
        waited.polls,
        waited.pods_left
    );
}
