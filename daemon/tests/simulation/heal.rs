//! The end of a run: all faults are over, time passes, and then every promise has to have been kept.

use hfd_core::{id::MachineName, ledger::Mode};

use crate::{
    cluster::Owner,
    factory::Body,
    world::{Event, World},
};

impl World {
    /// Faults end, operators have done what they are asked for, and more than the longest of all waits passes.
    pub(crate) fn heal(&mut self) {
        self.healing = true;
        self.outage = false;
        self.disk.full = false;
        self.disk.broken = false;
        if self.cluster.namespace.is_none() {
            self.cluster.make_namespace();
        }
        if self.watch().is_some_and(|watch| watch.is_streaming()) {
            self.cut_watch();
        }
        self.note(|| "all faults are over".to_owned());
        // What a second writer has made, an operator removes; dead nodes are removed with their pods.
        let now = self.wall();
        let ours = self.disk.meta.id;
        let adopted = self.disk.meta.adopted_journals.clone();
        let foreign = |pod: &crate::cluster::Pod| {
            let journal = pod.record.journal;
            pod.owner == Owner::Ours && journal.is_some_and(|id| id != ours && !adopted.contains(&id))
        };
        let requests = &self.disk.rows.requests;
        let unknown = |name: &str| !name.parse::<MachineName>().is_ok_and(|name| requests.contains_key(&name.request));
        let second =
            |name: &str, pod: &crate::cluster::Pod| foreign(pod) && unknown(name) && pod.facts.template.is_none();
        let over: Vec<_> = self.cluster.pods.iter().filter(|(name, pod)| pod.stuck || second(name, pod)).collect();
        let over: Vec<_> = over.into_iter().map(|(name, _)| name.clone()).collect();
        for name in over {
            self.cluster.remove(&name, now);
        }
        if !self.lively {
            self.lively = true;
            self.after(1000, Event::Factory);
        }
        self.after(400_000, Event::Operator);
        self.run_for(6000);
        self.check_healed();
        self.give_everything_back();
        self.stats.virtual_seconds += self.now / 1000;
    }

    fn check_healed(&mut self) {
        self.poll_everything();
        self.run_for(20);
        let waiting = self.factory.waiting();
        assert!(waiting.is_empty(), "these callers never got an answer: {waiting:?}");
        self.model.check_ends();
        let daemon = self.daemon.as_ref().expect("it lives when nothing goes wrong");
        assert_eq!(daemon.ledger.mode(), Mode::Serving, "it serves when nothing goes wrong");
        assert!(daemon.ledger.is_sighted(), "it sees when nothing goes wrong");
        let mut orphans = 0;
        for (name, pod) in self.cluster.pods.iter().filter(|(_, pod)| pod.owner == Owner::Ours) {
            let parsed: MachineName = name.parse().expect("our pods have our names");
            let Some(machine) = self.disk.rows.machine(parsed) else {
                orphans += 1;
                continue;
            };
            // An adopted one that missed its deadline may have been told `succeed` once: it is left alone.
            let overdue = machine.verdict_kind() == Some(hfd_core::machine::VerdictKind::Overdue);
            let kept = overdue || (machine.is_live() && machine.uid == Some(pod.record.uid));
            assert!(kept, "the pod {name} is left over: {machine:?}, {pod:?}");
            let request = self.disk.rows.request(parsed.request).expect("its machine is known");
            assert!(overdue || request.terminal.is_some(), "the request of {name} never ends");
        }
        assert_eq!(daemon.ledger.counts().orphans, orphans, "every pod of an unknown request is reported");
        for id in self.disk.rows.returns.keys() {
            let returned = self.disk.rows.return_request(*id).expect("it is there");
            assert!(returned.ended_at.is_some(), "the return {id} never ends: {returned:?}");
        }
    }

    /// HostFactory returns all that it has: nothing of ours remains but what was reported.
    fn give_everything_back(&mut self) {
        let known = |name: &String| {
            name.parse::<MachineName>().is_ok_and(|name| self.disk.rows.requests.contains_key(&name.request))
        };
        let ours = self.cluster.pods.iter().filter(|(_, pod)| pod.owner == Owner::Ours);
        let all: Vec<_> = ours.map(|(name, _)| name.clone()).filter(known).map(|name| (name, None)).collect();
        if all.is_empty() {
            return;
        }
        let number = self.call(Body::Return(all));
        self.run_for(300);
        let left = self.cluster.pods.iter().filter(|(_, pod)| pod.owner == Owner::Ours);
        let left: Vec<_> = left.map(|(name, _)| name.clone()).filter(known_in(self)).collect();
        assert!(left.is_empty(), "{left:?} are returned by call {number} and still there");
    }
}

fn known_in(world: &World) -> impl Fn(&String) -> bool + '_ {
    |name| name.parse::<MachineName>().is_ok_and(|name| world.disk.rows.requests.contains_key(&name.request))
}
