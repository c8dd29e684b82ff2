//! The record of the pods against what was told: what no single reply shows.

use std::sync::Arc;

use super::{Claim, Judge, Kind, Known, Outcome};
use crate::hostfactory::{
    pods::PodRecord,
    rule::{Lie, Rule},
};

impl Judge {
    /// Looks through what the watch brought since the last audit. A pod that seems to live although its return was told
    /// done gives a claim, for it takes a look.
    ///
    /// # Errors
    /// The lie.
    pub fn audit(&mut self) -> Result<Vec<Claim>, Lie> {
        let appeared = std::mem::take(&mut self.pods.appeared);
        let mut risen = Vec::new();
        for uid in &appeared {
            risen.extend(self.came(uid)?);
        }
        self.unmatched.extend(appeared);
        let waiting = std::mem::take(&mut self.unmatched);
        for uid in waiting {
            if !self.matched(&uid)? {
                self.unmatched.push(uid);
            }
        }
        let mut removed = std::mem::take(&mut self.pods.removed);
        removed.append(&mut self.unexplained);
        for uid in removed {
            if !self.explained(&uid)? {
                self.unexplained.push(uid);
            }
        }
        Ok(risen)
    }

    fn came(&mut self, uid: &str) -> Result<Option<Claim>, Lie> {
        let Some(record) = self.pods.by_uid(uid).filter(|record| !record.before_start) else { return Ok(None) };
        let name = &record.view.name;
        let others: Vec<&PodRecord> =
            self.pods.by_name(name).filter(|other| other.view.uid != uid && !other.before_start).collect();
        self.checks.count(Rule::OnePodPerName);
        if !others.is_empty() {
            let lie = Lie::new(Rule::OnePodPerName, format!("machine {name} has had {} pods", others.len() + 1));
            let lie = others.iter().fold(lie, |lie, other| lie.seen(other.describe()));
            return Err(lie.seen(record.describe()));
        }
        self.checks.count(Rule::GoneStaysGone);
        let told = self.machines.get(name).and_then(|machine| machine.gone_told.as_ref());
        let told = told.filter(|told| record.alive() && told.ended() < record.first_seen);
        Ok(told.map(|told| Claim {
            kind: Kind::Gone { name: name.clone(), rule: Rule::GoneStaysGone },
            call: Arc::clone(told),
        }))
    }

    /// Whether a pod could be held against its request's machines.
    fn matched(&mut self, uid: &str) -> Result<bool, Lie> {
        let Some(record) = self.pods.by_uid(uid).filter(|record| !record.before_start) else { return Ok(true) };
        let Some(known) = self.known.get(&record.view.request) else { return Ok(false) };
        let Known::Machines(request) = known else {
            let lie = Lie::new(Rule::PodsMatchMachines, "a pod names a return as its request");
            return Err(lie.seen(record.describe()));
        };
        let Some(names) = &request.names else { return Ok(false) };
        let one = names.binary_search(&record.view.name).is_ok();
        let (description, id) = (record.describe(), record.view.request.clone());
        self.checks
            .hold(Rule::PodsMatchMachines, one, || format!("request {id} has a pod that is none of its machines"))
            .map_err(|lie| lie.seen(description))?;
        Ok(true)
    }

    /// Whether a removal is judged, or needs none.
    fn explained(&mut self, uid: &str) -> Result<bool, Lie> {
        if self.bounds.others_disturb {
            return Ok(true);
        }
        let Some(record) = self.pods.by_uid(uid).filter(|record| !record.before_start) else { return Ok(true) };
        let blind = record.gone.is_some_and(|(_, blind)| blind);
        if blind {
            return Ok(true);
        }
        self.checks.count(Rule::NotRemovedUnasked);
        if record.harmed.is_some() || self.pods.disturbance(record).is_some() {
            return Ok(true);
        }
        let Some(machine) = self.machines.get(&record.view.name) else { return Ok(false) };
        if machine.return_begun.is_some() || machine.told.result == Outcome::Fail {
            return Ok(true);
        }
        if machine.told.result == Outcome::Executing {
            return Ok(false);
        }
        let what = format!("machine {} was told to have succeeded, was not returned by anyone", record.view.name);
        let lie = Lie::new(Rule::NotRemovedUnasked, format!("{what}, and is removed without a sign of its cause"));
        Err(lie.seen(record.describe()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::hostfactory::{
        judge::testing::{Court, R, entry, executing, name, returned},
        options::Disturbance,
        rule::Rule,
    };

    #[test]
    fn two_pods_of_one_name_are_a_lie_even_one_after_the_other() {
        let mut court = Court::with_held(1);
        court.judge.audit().expect("true");
        court.disturb(0, Disturbance::PodForceDelete);
        court.lose(0);
        court.pod_named(&name(0), "another-uid", R);
        assert_eq!(court.judge.audit().expect_err("a lie").rule, Rule::OnePodPerName);
    }

    #[test]
    fn a_pod_beyond_the_requests_machines_is_a_lie_once_they_are_known() {
        let mut court = Court::with_request(1);
        court.pod_named(&name(7), "uid-7", R);
        court.judge.audit().expect("the machines are not known yet");
        court.status(&entry("running", &[executing(0)])).expect("true");
        assert_eq!(court.judge.audit().expect_err("a lie").rule, Rule::PodsMatchMachines);
    }

    #[test]
    fn a_machine_removed_without_return_or_cause_is_a_lie() {
        let mut court = Court::with_held(1);
        court.judge.audit().expect("true");
        court.lose(0);
        assert_eq!(court.judge.audit().expect_err("a lie").rule, Rule::NotRemovedUnasked);
    }

    #[test]
    fn a_machine_removed_after_its_return_or_by_our_disturbance_is_no_lie() {
        let mut court = Court::with_held(2);
        court.disturb(0, Disturbance::PodDelete);
        court.lose(0);
        court.give_back("cccccccccccccccc", &[&name(1)]).expect("true");
        court.lose(1);
        court.judge.audit().expect("true");
    }

    #[test]
    fn a_pod_under_the_name_of_a_returned_machine_takes_a_look() {
        let mut court = Court::with_request(1);
        court.status(&entry("running", &[executing(0)])).expect("true");
        court.give_back("cccccccccccccccc", &[&name(0)]).expect("true");
        let mut done = returned(0);
        done["machineId"] = json!("");
        court.return_status("cccccccccccccccc", "complete", &[done]).expect("true");
        court.settle().expect("the look finds nothing");
        court.wait(5);
        court.pod(0);
        court.audit().expect("it takes a look first");
        court.look_alive(0);
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::GoneStaysGone);
    }
}
