//! The end of a run: what is still open, and whether what is left is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, Known, Outcome};
use crate::hostfactory::rule::{Lie, Rule};

/// What keeps the drain from its end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// Requests and returns without a terminal answer.
    pub open: Vec<String>,
    /// Machines that HostFactory still has.
    pub held: Vec<String>,
    /// Pods of requests that were answered.
    pub pods: Vec<String>,
}

impl Leftovers {
    /// Whether nothing is left.
    pub fn none(&self) -> bool {
        self.open.is_empty() && self.held.is_empty() && self.pods.is_empty()
    }

    /// The accusation when the drain's time is over.
    pub fn accuse(&self) -> Lie {
        let some = |list: &[String]| list.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
        Lie::new(
            Rule::Drained,
            format!(
                "left after the drain: {} open requests and returns ({}), {} machines not returned ({}), {} pods",
                self.open.len(),
                some(&self.open),
                self.held.len(),
                some(&self.held),
                self.pods.len()
            ),
        )
    }
}

/// What was asked for, and what came of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Machine requests answered.
    pub requests: usize,
    /// Returns answered.
    pub returns: usize,
    /// Machines asked for by them.
    pub asked: usize,
    /// Machines that succeeded once.
    pub ready: usize,
    /// Machines that failed.
    pub failed: usize,
    /// Machines of which a return was begun.
    pub returned: usize,
}

impl Judge {
    /// What was asked for, and what came of it.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for known in self.known.values() {
            match known {
                Known::Machines(request) => {
                    tally.requests += 1;
                    tally.asked += request.count;
                }
                Known::Return(_) => tally.returns += 1,
            }
        }
        for machine in self.machines.values() {
            tally.ready += usize::from(machine.succeeded.is_some());
            tally.failed += usize::from(machine.told.result == Outcome::Fail);
            tally.returned += usize::from(machine.return_begun.is_some());
        }
        tally
    }

    /// What is left now, but for requests whose reply nobody read.
    pub fn leftovers(&self) -> Leftovers {
        let open = |known: &Known| match known {
            Known::Machines(request) => request.terminal.is_none(),
            Known::Return(returned) => returned.terminal.is_none(),
        };
        let mut left = Leftovers {
            open: self.known.iter().filter(|(_, known)| open(known)).map(|(id, _)| id.clone()).collect(),
            held: self.held.iter().cloned().collect(),
            pods: Vec::new(),
        };
        left.open.sort_unstable();
        let known = self.pods.living().filter(|record| !record.before_start);
        let known = known.filter(|record| self.known.contains_key(&record.view.request));
        left.pods = known.map(|record| record.describe()).collect();
        left
    }

    /// Judges the run as a whole, after its drain. Gives the requests that HostFactory never learned of, each with the
    /// number of its machines that were seen.
    ///
    /// # Errors
    /// The lie.
    pub fn close(&mut self) -> Result<BTreeMap<String, usize>, Lie> {
        let left = self.leftovers();
        self.checks.count(Rule::Drained);
        if !left.none() {
            return Err(left.pods.iter().take(10).fold(left.accuse(), |lie, pod| lie.seen(pod.clone())));
        }
        for (id, known) in &self.known {
            let Known::Return(returned) = known else { continue };
            let status = returned.terminal.as_ref().map_or("", |terminal| terminal.status.as_str());
            self.checks
                .hold(Rule::ReturnsComplete, status == "complete", || format!("return {id} ended {status:?}"))?;
        }
        let mut unknown: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for record in self.pods.all().filter(|record| !record.before_start) {
            if !self.known.contains_key(&record.view.request) {
                unknown.entry(record.view.request.clone()).or_default().insert(&record.view.name);
            }
        }
        let unknown: BTreeMap<String, usize> = unknown.into_iter().map(|(id, names)| (id, names.len())).collect();
        // The largest that nobody knows must fit the largest whose reply was lost, and so on down.
        let mut sizes: Vec<usize> = unknown.values().copied().collect();
        let mut lost = self.unheard.clone();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        lost.sort_unstable_by(|one, other| other.cmp(one));
        let fits = sizes.len() <= lost.len() && sizes.iter().zip(&lost).all(|(size, lost)| size <= lost);
        self.checks.hold(Rule::UnknownAccounted, fits, || {
            format!("pods of requests that no reply named: {unknown:?}; machines asked for by calls unheard: {lost:?}")
        })?;
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::hostfactory::{
        judge::testing::{Court, name, returned, returning},
        rule::Rule,
    };

    const RETURN: &str = "cccccccccccccccc";

    fn drained() -> Court {
        let mut court = Court::with_held(1);
        court.give_back(RETURN, &[&name(0)]).expect("true");
        court.lose(0);
        court.return_status(RETURN, "complete", &[returned(0)]).expect("true");
        court
    }

    #[test]
    fn a_drained_run_is_true() {
        assert!(drained().judge.close().expect("true").is_empty());
    }

    #[test]
    fn an_open_return_a_held_machine_or_a_pod_left_is_a_lie() {
        let mut court = Court::with_held(1);
        assert_eq!(court.judge.close().expect_err("a lie").rule, Rule::Drained);
        court.give_back(RETURN, &[&name(0)]).expect("true");
        court.return_status(RETURN, "running", &[returning(0)]).expect("true");
        assert_eq!(court.judge.leftovers().open, [RETURN]);
        assert_eq!(court.judge.close().expect_err("a lie").rule, Rule::Drained);
        court.return_status(RETURN, "complete", &[returned(0)]).expect("true");
        assert_eq!(court.judge.leftovers().pods.len(), 1);
        assert_eq!(court.judge.close().expect_err("a lie").rule, Rule::Drained);
    }

    #[test]
    fn a_return_that_ended_with_an_error_is_a_lie_at_the_end() {
        let mut court = Court::with_held(1);
        court.give_back(RETURN, &[&name(0)]).expect("true");
        court.lose(0);
        let mut stuck = returned(0);
        stuck["result"] = json!("fail");
        court.return_status(RETURN, "complete_with_error", &[stuck]).expect("the reply alone is well formed");
        assert_eq!(court.judge.close().expect_err("a lie").rule, Rule::ReturnsComplete);
    }

    #[test]
    fn pods_of_a_request_nobody_knows_are_a_lie_unless_a_reply_was_lost() {
        let mut court = drained();
        court.pod_named("dddddddddddddddd-00000", "uid-d", "dddddddddddddddd");
        court.pod_named("dddddddddddddddd-00001", "uid-e", "dddddddddddddddd");
        assert_eq!(court.judge.close().expect_err("a lie").rule, Rule::UnknownAccounted);
        court.lost_request(1);
        assert_eq!(court.judge.close().expect_err("it asked for one only").rule, Rule::UnknownAccounted);
        court.lost_request(5);
        let unknown = court.judge.close().expect("true");
        assert_eq!(unknown.get("dddddddddddddddd"), Some(&2));
    }
}
