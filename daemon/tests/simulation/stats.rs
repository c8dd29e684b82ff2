//! What a run has covered, so that one that covers nothing is seen.

use std::collections::BTreeMap;

use crate::profile::Fault;

/// Counts of one world, or of many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    pub(crate) steps: BTreeMap<&'static str, u64>,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) crashes: u64,
    pub(crate) commits: u64,
    pub(crate) posts: u64,
    pub(crate) deletes: u64,
    pub(crate) answers: u64,
    pub(crate) reclaims: u64,
    pub(crate) requests: u64,
    pub(crate) returns: u64,
    pub(crate) rebuilds: u64,
    pub(crate) succeeded: u64,
    pub(crate) virtual_seconds: u64,
}

impl Stats {
    pub(crate) fn step(&mut self, kind: &'static str) {
        *self.steps.entry(kind).or_default() += 1;
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.steps {
            *self.steps.entry(kind).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        self.crashes += other.crashes;
        self.commits += other.commits;
        self.posts += other.posts;
        self.deletes += other.deletes;
        self.answers += other.answers;
        self.reclaims += other.reclaims;
        self.requests += other.requests;
        self.returns += other.returns;
        self.rebuilds += other.rebuilds;
        self.succeeded += other.succeeded;
        self.virtual_seconds += other.virtual_seconds;
    }

    /// All of it in a few lines.
    pub(crate) fn report(&self) -> String {
        let steps: u64 = self.steps.values().sum();
        let faults: u64 = self.faults.values().sum();
        format!(
            "{steps} steps in {} h of virtual time, {} crashes, {} commits, {faults} faults\n\
             {} requests and {} returns acknowledged, {} machines succeeded, {} POSTs and {} DELETEs sent,\n\
             {} answers, {} machines listed for return, {} rebuilds\nsteps: {:?}\nfaults: {:?}",
            self.virtual_seconds / 3600,
            self.crashes,
            self.commits,
            self.requests,
            self.returns,
            self.succeeded,
            self.posts,
            self.deletes,
            self.answers,
            self.reclaims,
            self.rebuilds,
            self.steps,
            self.faults
        )
    }
}
