//! How a claim is settled: by the record of the pods, or by a look.

use std::time::Duration;

use super::{Claim, Judge, Kind, Look, PodBook, Settled};
use crate::hostfactory::{
    clock::Moment,
    pods::{PodRecord, PodView},
    rule::{Lie, Rule},
};

impl Judge {
    /// Settles a claim by the record and, where one was taken, by a look. `last`: the watch has caught up.
    ///
    /// # Errors
    /// The lie.
    pub fn settle(&mut self, claim: &Claim, look: Option<&Look>, last: bool) -> Result<Settled, Lie> {
        let settled = match &claim.kind {
            Kind::Ready { name, uid, address, since } => {
                let was_ready = |record: &PodRecord| record.ready.iter().any(|(seen, _)| seen == address);
                self.once(claim, (name, uid), *since, last, &was_ready)
            }
            Kind::Existed { name, uid, since } => self.once(claim, (name, uid), *since, last, &|_| true),
            Kind::Gone { name, .. } => self.gone(claim, name, look),
            Kind::Reclaimed { name } => self.harmed(claim, name, look),
            Kind::Failed { name, known_ready, executing } => {
                if *known_ready || self.long_ready(name, *executing) {
                    self.harmed(claim, name, look)
                } else {
                    Ok(Settled::True)
                }
            }
            Kind::InUse { template, limit, names } => self.not_all(claim, template, *limit, names, last),
        };
        let settled = settled.map_err(|lie| self.with_record(lie, claim))?;
        match settled {
            Settled::True => self.checks.count(claim.kind.rule()),
            Settled::Undecided => self.undecided += 1,
            Settled::Wait | Settled::Look => {}
        }
        Ok(settled)
    }

    /// Machines of the template that are in use, if they are more than it may have.
    pub(super) fn in_use(&mut self, template: &str, claims: &mut Vec<Kind>) {
        let Some(limit) = self.limits.get(template).and_then(|limit| usize::try_from(*limit).ok()) else { return };
        let of_it = |name: &&String| {
            self.machines
                .get(*name)
                .is_some_and(|machine| machine.template == template && unharmed(&self.pods, &machine.told.machine_id))
        };
        let names: Vec<String> = self.held.iter().filter(of_it).cloned().collect();
        if names.len() <= limit {
            self.checks.count(Rule::MaxNumber);
        } else {
            claims.push(Kind::InUse { template: template.to_owned(), limit, names });
        }
    }

    fn once(
        &self,
        claim: &Claim,
        (name, uid): (&str, &str),
        since: Moment,
        last: bool,
        holds: &dyn Fn(&PodRecord) -> bool,
    ) -> Result<Settled, Lie> {
        let record = self.pods.by_uid(uid);
        if let Some(record) = record {
            if record.view.name != name {
                let what = format!("machine {name}: UID {uid} belongs to pod {}", record.view.name);
                return Err(Lie::new(claim.kind.rule(), what));
            }
            if holds(record) {
                return Ok(Settled::True);
            }
        }
        if !last {
            return Ok(Settled::Wait);
        }
        if self.pods.blind_within(since, claim.call.ended()) {
            return Ok(Settled::Undecided);
        }
        let why = if record.is_some() { "was never seen so" } else { "was never seen" };
        Err(Lie::new(claim.kind.rule(), format!("machine {name}: its pod with UID {uid} {why} in the cluster")))
    }

    fn gone(&self, claim: &Claim, name: &str, look: Option<&Look>) -> Result<Settled, Lie> {
        match look {
            Some(Look::Absent) => Ok(Settled::True),
            Some(Look::There { view, .. }) => {
                let what = format!("machine {name} is told gone, and its pod is there afterwards: {view:?}");
                Err(Lie::new(claim.kind.rule(), what))
            }
            None => {
                let mut pods = self.pods.by_name(name).peekable();
                let known = pods.peek().is_some();
                Ok(if known && pods.all(|record| !record.alive()) { Settled::True } else { Settled::Look })
            }
        }
    }

    /// The claim is that something befell the machine.
    fn harmed(&self, claim: &Claim, name: &str, look: Option<&Look>) -> Result<Settled, Lie> {
        match look {
            Some(Look::Absent) => Ok(Settled::True),
            Some(Look::There { view, node_leaving }) => {
                if *node_leaving || view.marked().is_some() || !self.is_its_pod(name, view) {
                    return Ok(Settled::True);
                }
                let what = format!("machine {name} lives, and nothing says that it will be lost: {view:?}");
                Err(Lie::new(claim.kind.rule(), what))
            }
            None => {
                let lives = |record: &PodRecord| record.unharmed() && self.is_its_pod(name, &record.view);
                let known = self.pods.by_name(name).next().is_some();
                Ok(if known && !self.pods.by_name(name).any(lives) { Settled::True } else { Settled::Look })
            }
        }
    }

    /// A pod of another UID than the durable one is surplus: it does not make the machine live.
    fn is_its_pod(&self, name: &str, view: &PodView) -> bool {
        let uid = self.machines.get(name).map_or("", |machine| machine.told.machine_id.as_str());
        uid.is_empty() || uid == view.uid
    }

    /// Whether it had been ready for longer than the provider may not know, when it was still told executing.
    fn long_ready(&self, name: &str, executing: Option<Moment>) -> bool {
        let lag: Duration = self.bounds.view_lag;
        let ready = self.pods.by_name(name).flat_map(|record| &record.ready).map(|(_, at)| *at).min();
        ready.zip(executing).is_some_and(|(ready, executing)| ready + lag < executing)
    }

    fn not_all(
        &self,
        claim: &Claim,
        template: &str,
        limit: usize,
        names: &[String],
        last: bool,
    ) -> Result<Settled, Lie> {
        // Alive after the watch has caught up means alive when the reply was given.
        let alive = |name: &&String| {
            self.machines.get(*name).is_some_and(|machine| unharmed(&self.pods, &machine.told.machine_id))
        };
        let in_use = names.iter().filter(alive).count();
        if in_use <= limit {
            return Ok(Settled::True);
        }
        if !last {
            return Ok(Settled::Wait);
        }
        let what = format!("template {template}: {in_use} machines in use, maxNumber is {limit}");
        Err(Lie::new(claim.kind.rule(), what))
    }

    fn with_record(&self, lie: Lie, claim: &Claim) -> Lie {
        let mut lie = lie.by(&claim.call);
        if let Some(name) = claim.kind.machine() {
            for record in self.pods.by_name(name) {
                lie = lie.seen(record.describe());
            }
            if lie.seen.is_empty() {
                lie = lie.seen(format!("no pod named {name}"));
            }
        }
        lie
    }
}

fn unharmed(pods: &PodBook, uid: &str) -> bool {
    pods.by_uid(uid).is_some_and(PodRecord::unharmed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::hostfactory::{
        judge::testing::{Court, R, entry, executing, failed, name, ready, returned, unready},
        rule::Rule,
    };

    #[test]
    fn success_is_true_once_the_pod_was_ready_with_that_address_and_uid() {
        let mut court = Court::with_request(1);
        court.pod_ready(0);
        court.status(&entry("complete", &[ready(0)])).expect("true");
        court.settle().expect("it was ready");
    }

    #[test]
    fn success_of_a_pod_that_was_never_ready_is_a_lie() {
        let mut court = Court::with_request(1);
        court.pod(0);
        court.status(&entry("complete", &[ready(0)])).expect("the reply alone is well formed");
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::SucceedWasReady);
    }

    #[test]
    fn success_with_another_address_is_a_lie() {
        let mut court = Court::with_request(1);
        court.pod_ready_at(0, "10.9.9.9");
        court.status(&entry("complete", &[ready(0)])).expect("the reply alone is well formed");
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::SucceedWasReady);
    }

    #[test]
    fn what_a_blind_watch_could_not_see_is_undecided_and_no_lie() {
        let mut court = Court::with_request(1);
        court.gap();
        court.status(&entry("complete", &[ready(0)])).expect("true");
        court.settle().expect("nobody can tell");
        assert_eq!(court.judge.undecided, 2);
    }

    #[test]
    fn a_machine_id_that_no_pod_of_that_name_had_is_a_lie() {
        let mut court = Court::with_request(1);
        court.status(&entry("running", &[unready(0)])).expect("the reply alone is well formed");
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::MachineIdExisted);
        let mut court = Court::with_request(2);
        court.pod(0);
        let mut other = executing(1);
        other["machineId"] = json!("uid-0");
        court.status(&entry("running", &[executing(0), other])).expect("the reply alone is well formed");
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::MachineIdExisted);
    }

    #[test]
    fn a_return_told_done_while_the_pod_is_there_is_a_lie() {
        let id = "cccccccccccccccc";
        let mut court = Court::with_held(1);
        court.give_back(id, &[&name(0)]).expect("true");
        court.return_status(id, "complete", &[returned(0)]).expect("the reply alone is well formed");
        court.look_deleting(0);
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::ReturnedIsGone);
        let mut court = Court::with_held(1);
        court.give_back(id, &[&name(0)]).expect("true");
        court.return_status(id, "complete", &[returned(0)]).expect("true");
        court.settle().expect("the look finds nothing");
    }

    #[test]
    fn failure_of_a_ready_and_unharmed_machine_is_a_lie() {
        let mut court = Court::with_request(2);
        court.pod_ready(0);
        court.status(&entry("running", &[ready(0), executing(1)])).expect("true");
        court.status(&entry("running", &[failed(0), executing(1)])).expect("it may have been lost");
        court.look_alive(0);
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::FailHasCause);
    }

    #[test]
    fn failure_of_a_machine_long_ready_that_was_told_executing_is_a_lie() {
        let mut court = Court::with_request(1);
        court.pod_ready(0);
        court.wait(200);
        court.status(&entry("running", &[unready(0)])).expect("slow, but no lie");
        court.status(&entry("complete_with_error", &[failed(0)])).expect("it may have been lost");
        court.look_alive(0);
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::FailHasCause);
    }

    #[test]
    fn failure_of_a_lost_or_returned_machine_is_true() {
        let mut court = Court::with_request(2);
        court.pod_ready(0);
        court.status(&entry("running", &[ready(0), executing(1)])).expect("true");
        court.lose(0);
        court.status(&entry("running", &[failed(0), executing(1)])).expect("true");
        court.give_back("cccccccccccccccc", &[&name(1)]).expect("true");
        let mut cancelled = failed(1);
        cancelled["machineId"] = json!("");
        court.status(&entry("complete_with_error", &[failed(0), cancelled])).expect("true");
        court.settle().expect("true");
    }

    #[test]
    fn more_machines_in_use_than_max_number_are_a_lie() {
        let mut court = Court::with_request(2);
        court.templates(&json!({"templates": [{"templateId": "small", "maxNumber": 1}]})).expect("true");
        court.pod_ready(0);
        court.pod_ready(1);
        court.status(&entry("complete", &[ready(0), ready(1)])).expect("the reply alone is well formed");
        assert_eq!(court.settle().expect_err("a lie").rule, Rule::MaxNumber);
        let mut court = Court::with_request(2);
        court.templates(&json!({"templates": [{"templateId": "small", "maxNumber": 1}]})).expect("true");
        court.pod_ready(0);
        court.lose(0);
        court.pod_ready(1);
        court.status(&entry("complete", &[ready(0), ready(1)])).expect("true");
        court.settle().expect("the first one is gone");
        assert_eq!(R.len(), 16);
    }
}
