//! Replies of getReturnRequests: what is listed that must not be, and what is missing.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Judge, Kind, Known, Outcome};
use crate::hostfactory::{
    call::Call,
    rule::{Lie, Rule},
};

impl Judge {
    pub(super) fn reclaims(&mut self, call: &Arc<Call>, reply: &Value) -> Result<Vec<Kind>, Lie> {
        let entries = reply["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let asked: HashSet<&str> = call.machines().into_iter().collect();
        if self.inherited.is_none() && asked.is_empty() {
            let names = entries.iter().filter_map(|entry| entry["machine"].as_str());
            self.inherited = Some(names.map(str::to_owned).collect());
        }
        let mut listed = BTreeSet::new();
        let mut claims = Vec::new();
        for entry in entries {
            let name = entry["machine"].as_str().unwrap_or_default();
            self.checks.hold(Rule::ReclaimOnce, listed.insert(name), || format!("machine {name} is listed twice"))?;
            // One that no answer has shown yet, or of a request whose reply was lost, is known by its pod alone.
            let inherited = self.inherited.as_ref().is_some_and(|names| names.contains(name));
            let issued = inherited || self.machines.contains_key(name) || self.pods.by_name(name).next().is_some();
            let named = asked.is_empty() || asked.contains(name);
            self.checks.hold(Rule::ReclaimKnown, issued && named, || {
                let why = if issued { "was not asked about" } else { "was never issued" };
                format!("machine {name} {why}")
            })?;
            self.note_open_returns(call, name);
            let returned = self.machines.get(name).and_then(|machine| machine.return_begun);
            if returned.is_none_or(|begun| begun > call.ended()) {
                claims.push(Kind::Reclaimed { name: name.to_owned() });
            }
        }
        self.missing(call, &asked, &listed)?;
        Ok(claims)
    }

    /// A reclaim is no lie if the return has just ended and this was not told yet; a later answer shows whether it had.
    fn note_open_returns(&mut self, call: &Arc<Call>, name: &str) {
        self.checks.count(Rule::ReclaimNotReturning);
        let covering = |returned: &super::Return| {
            let open = returned.terminal.is_none();
            let at_work = returned.results.get(name).is_none_or(|(result, _)| *result == Outcome::Executing);
            open && at_work && returned.names.binary_search_by(|one| one.as_str().cmp(name)).is_ok()
        };
        if self.machines.get(name).is_none_or(|machine| machine.return_begun.is_none()) {
            return;
        }
        for known in self.known.values_mut() {
            // A return whose own call overlapped this one may have come after it.
            if let Known::Return(returned) = known
                && covering(returned)
                && returned.accepted.before(&call.span)
            {
                returned.reclaimed.entry(name.to_owned()).or_insert_with(|| Arc::clone(call));
            }
        }
    }

    fn missing(&mut self, call: &Call, asked: &HashSet<&str>, listed: &BTreeSet<&str>) -> Result<(), Lie> {
        let bound = self.bounds.reclaim_within;
        // An outage of either side stops the provider's time, and ours: it begins anew.
        let quiet = self.last_failure.max(self.pods.standing_since);
        for name in &self.held {
            let Some(machine) = self.machines.get(name) else { continue };
            let Some((gone, _)) = self.pods.by_uid(&machine.told.machine_id).and_then(|record| record.gone) else {
                continue;
            };
            let ended = match self.known.get(&machine.request) {
                Some(Known::Machines(request)) => request.terminal.as_ref().map(|terminal| terminal.told.ended),
                _ => None,
            };
            let Some(ended) = ended else { continue };
            let due = gone.max(ended).max(quiet) + bound;
            let wanted = asked.is_empty() || asked.contains(name.as_str());
            let is_listed = listed.contains(name.as_str());
            if !wanted || (call.begun() <= due && !is_listed) {
                continue;
            }
            self.checks.hold(Rule::LostIsReclaimed, is_listed, || {
                format!("machine {name} is gone since {gone:.3?}, was not returned, and is not listed")
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::hostfactory::{
        judge::testing::{Court, name, returned, returning},
        rule::Rule,
    };

    #[test]
    fn a_lost_machine_is_reclaimed_and_an_unharmed_one_never() {
        let mut court = Court::with_held(2);
        court.lose(0);
        court.reclaim(&[], &[&name(0)]).expect("true");
        court.settle().expect("its pod is gone");
        court.reclaim(&[], &[&name(1)]).expect("the reply alone is well formed");
        court.look_alive(1);
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::ReclaimLostOnly);
    }

    #[test]
    fn a_machine_marked_for_loss_is_reclaimed() {
        let mut court = Court::with_held(1);
        court.reclaim(&[], &[&name(0)]).expect("true");
        court.look_deleting(0);
        court.settle().expect("somebody deletes it");
        let mut court = Court::with_held(1);
        court.reclaim(&[], &[&name(0)]).expect("true");
        court.look_on_leaving_node(0);
        court.settle().expect("its node goes");
    }

    #[test]
    fn a_name_never_issued_not_asked_about_or_listed_twice_is_a_lie() {
        let mut court = Court::with_held(2);
        court.lose(0);
        court.reclaim(&[], &[&name(0)]).expect("true");
        let unknown = court.reclaim(&[], &["somebody-elses"]).expect_err("a lie");
        assert_eq!(unknown.rule, Rule::ReclaimKnown);
        assert_eq!(court.reclaim(&[&name(1)], &[&name(0)]).expect_err("a lie").rule, Rule::ReclaimKnown);
        assert_eq!(court.reclaim(&[], &[&name(0), &name(0)]).expect_err("a lie").rule, Rule::ReclaimOnce);
    }

    #[test]
    fn what_the_first_answer_about_everything_lists_is_inherited_from_an_earlier_run() {
        let mut court = Court::new();
        court.reclaim(&[], &["earlier"]).expect("true");
        court.settle().expect("it is gone");
        court.reclaim(&[], &["earlier"]).expect("true");
        assert_eq!(court.reclaim(&[], &["another"]).expect_err("a lie").rule, Rule::ReclaimKnown);
    }

    #[test]
    fn a_reclaim_under_an_open_return_is_a_lie_once_the_return_is_seen_at_work() {
        let id = "cccccccccccccccc";
        let mut court = Court::with_held(1);
        court.give_back(id, &[&name(0)]).expect("true");
        court.reclaim(&[], &[&name(0)]).expect("the return may have ended");
        let lie = court.return_status(id, "running", &[returning(0)]).expect_err("a lie");
        assert_eq!(lie.rule, Rule::ReclaimNotReturning);
        let mut court = Court::with_held(1);
        court.give_back(id, &[&name(0)]).expect("true");
        court.reclaim(&[], &[&name(0)]).expect("the return may have ended");
        court.return_status(id, "complete", &[returned(0)]).expect("it had");
    }

    #[test]
    fn a_lost_machine_that_is_never_reclaimed_is_a_lie_after_its_time() {
        let mut court = Court::with_held(2);
        court.lose(0);
        court.reclaim(&[], &[]).expect("not yet due");
        court.wait(100);
        court.reclaim(&[&name(1)], &[]).expect("not asked about");
        assert_eq!(court.reclaim(&[&name(0)], &[]).expect_err("a lie").rule, Rule::LostIsReclaimed);
        assert_eq!(court.reclaim(&[], &[]).expect_err("a lie").rule, Rule::LostIsReclaimed);
        court.reclaim(&[], &[&name(0)]).expect("true");
    }

    #[test]
    fn a_lost_machine_that_was_returned_needs_no_reclaim() {
        let mut court = Court::with_held(1);
        court.lose(0);
        court.give_back("cccccccccccccccc", &[&name(0)]).expect("true");
        court.wait(100);
        court.reclaim(&[], &[]).expect("true");
    }
}
