//! Figures of a run, and its summary for people and for programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    call::{Call, Outcome, Verb},
    contract::Answer,
    judge::{Judge, Tally},
    options::Disturbance,
    rule::Rule,
};

/// What was counted.
#[derive(Debug, Default)]
pub struct Stats {
    calls: BTreeMap<Verb, Calls>,
    /// Failovers of HostFactory.
    pub failovers: u64,
    /// Disturbances that the cluster took, by kind.
    pub disturbances: BTreeMap<Disturbance, u64>,
    /// Disturbances that the cluster refuses, and what it said.
    pub refused: BTreeMap<Disturbance, String>,
    /// Machines that the provider wanted back.
    pub reclaimed: BTreeSet<String>,
    /// Answers judged.
    pub answers: u64,
}

/// Calls of one verb.
#[derive(Debug, Default, Clone)]
struct Calls {
    /// Of those that ended by themselves, milliseconds.
    latencies: Vec<f32>,
    refused: u64,
    killed: u64,
    last_refusal: String,
}

impl Stats {
    /// Counts a call.
    pub fn called(&mut self, call: &Call, answer: &Answer) {
        let calls = self.calls.entry(call.verb).or_default();
        match call.outcome {
            Outcome::Ended(_) => calls.latencies.push((call.ended() - call.begun()).as_secs_f32() * 1000.0),
            Outcome::Killed | Outcome::TimedOut => calls.killed += 1,
        }
        match answer {
            Answer::Reply(reply) => {
                self.answers += 1;
                if call.verb == Verb::GetReturnRequests {
                    let names = reply["requests"].as_array().into_iter().flatten();
                    self.reclaimed.extend(names.filter_map(|entry| entry["machine"].as_str().map(str::to_owned)));
                }
            }
            Answer::Refused(message) => {
                calls.refused += 1;
                calls.last_refusal.clone_from(message);
            }
            Answer::Lost => {}
        }
    }

    /// Counts a disturbance.
    pub fn disturbed(&mut self, kind: Disturbance) {
        *self.disturbances.entry(kind).or_default() += 1;
    }

    /// Calls so far, of all verbs: ended, refused, killed.
    pub fn totals(&self) -> (usize, u64, u64) {
        let sum = |figure: fn(&Calls) -> u64| self.calls.values().map(figure).sum::<u64>();
        let ended = self.calls.values().map(|calls| calls.latencies.len()).sum();
        (ended, sum(|calls| calls.refused), sum(|calls| calls.killed))
    }
}

/// The run's end.
#[derive(Debug)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// Its whole length.
    pub lasted: Duration,
    /// Requests that HostFactory never learned of, with the number of their machines that were seen.
    pub unknown: BTreeMap<String, usize>,
    /// The rule that was broken.
    pub violation: Option<Rule>,
}

impl Summary {
    /// All of it as JSON.
    pub fn json(&self, stats: &Stats, judge: &Judge) -> Value {
        let tally = judge.tally();
        let by_kind = |(kind, count): (&Disturbance, &u64)| (kind.name().to_owned(), json!(count));
        let refused = |(kind, why): (&Disturbance, &String)| (kind.name().to_owned(), json!(why));
        json!({
            "seed": self.seed,
            "seconds": self.lasted.as_secs_f64(),
            "requests": tally.requests,
            "returns": tally.returns,
            "machines": {
                "asked": tally.asked, "ready": tally.ready, "failed": tally.failed,
                "reclaimed": stats.reclaimed.len(), "returned": tally.returned,
            },
            "calls": Verb::ALL.iter().map(|verb| (verb.name().to_owned(), stats.verb(*verb))).collect::<serde_json::Map<_, _>>(),
            "failovers": stats.failovers,
            "disturbances": stats.disturbances.iter().map(by_kind).collect::<serde_json::Map<_, _>>(),
            "disturbancesRefused": stats.refused.iter().map(refused).collect::<serde_json::Map<_, _>>(),
            "requestsNeverLearnedOf": self.unknown,
            "watchGaps": judge.pods.gaps(),
            "claimsUndecided": judge.undecided,
            "answersChecked": stats.answers,
            "checks": Rule::ALL.iter().map(|rule| (rule.id().to_owned(), json!(judge.checks.of(*rule)))).collect::<serde_json::Map<_, _>>(),
            "violations": u32::from(self.violation.is_some()),
            "violation": self.violation.map(Rule::id),
        })
    }

    /// All of it as text.
    pub fn text(&self, stats: &Stats, judge: &Judge) -> String {
        let Tally { requests, returns, asked, ready, failed, returned } = judge.tally();
        let mut text = String::new();
        let mut line = |content: String| {
            text.push_str(&content);
            text.push('\n');
        };
        line(format!("seed {}, {:.1} s", self.seed, self.lasted.as_secs_f64()));
        line(format!("requests {requests}, returns {returns}, failovers {}", stats.failovers));
        let reclaimed = stats.reclaimed.len();
        line(format!(
            "machines: {asked} asked, {ready} ready, {failed} failed, {reclaimed} reclaimed, {returned} returned"
        ));
        for verb in Verb::ALL {
            line(stats.verb_line(verb));
        }
        for (kind, count) in &stats.disturbances {
            line(format!("disturbance {}: {count}", kind.name()));
        }
        for (kind, why) in &stats.refused {
            line(format!("disturbance {}: refused by this cluster: {why}", kind.name()));
        }
        for (request, machines) in &self.unknown {
            line(format!("request {request}, whose reply was lost: {machines} machines seen"));
        }
        let made: u64 = Rule::ALL.iter().map(|rule| judge.checks.of(*rule)).sum();
        line(format!(
            "answers checked {}, checks made {made}, claims undecided {}, gaps in the watch {}",
            stats.answers,
            judge.undecided,
            judge.pods.gaps()
        ));
        for rule in Rule::ALL {
            line(format!("  {:<22}{:>10}", rule.id(), judge.checks.of(*rule)));
        }
        line(format!("violations {}", u32::from(self.violation.is_some())));
        text
    }
}

impl Stats {
    fn verb(&self, verb: Verb) -> Value {
        let calls = self.calls.get(&verb).cloned().unwrap_or_default();
        let (median, p99, max) = spread(&calls.latencies);
        json!({
            "ended": calls.latencies.len(), "refused": calls.refused, "killed": calls.killed,
            "medianMs": median, "p99Ms": p99, "maxMs": max, "lastRefusal": calls.last_refusal,
        })
    }

    fn verb_line(&self, verb: Verb) -> String {
        let calls = self.calls.get(&verb).cloned().unwrap_or_default();
        let (median, p99, max) = spread(&calls.latencies);
        let mut line = format!(
            "{:<22}{:>8} calls, {:>5} refused, {:>5} killed, ms: median {median:.1}, p99 {p99:.1}, max {max:.1}",
            verb.name(),
            calls.latencies.len(),
            calls.refused,
            calls.killed
        );
        if !calls.last_refusal.is_empty() {
            line.push_str("; last refusal: ");
            line.push_str(&calls.last_refusal);
        }
        line
    }
}

/// Median, 99th percentile and maximum.
fn spread(latencies: &[f32]) -> (f32, f32, f32) {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |per_cent: usize| sorted.get((sorted.len() * per_cent / 100).min(sorted.len().saturating_sub(1)));
    let of = |per_cent: usize| at(per_cent).copied().unwrap_or(0.0);
    (of(50), of(99), of(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_the_sorted_figures() {
        let figures: Vec<f32> = (1..=200_u8).rev().map(f32::from).collect();
        assert_eq!(spread(&figures), (101.0, 199.0, 200.0));
        assert_eq!(spread(&[]), (0.0, 0.0, 0.0));
    }
}
