//! The pod cache as the core reads it.

use hfd_core::{
    id::{MachineName, RequestId},
    pod::PodRecord,
    view::{PodView, RebuildFacts},
};

use crate::cache::PodCache;

impl PodView for PodCache {
    fn pod(&self, name: MachineName) -> Option<PodRecord> {
        self.get(&name)
    }

    fn names(&self) -> Vec<MachineName> {
        let mut names = Vec::with_capacity(self.len());
        self.for_each(|name, _| names.push(*name));
        names
    }

    fn facts(&self, request: RequestId) -> Option<RebuildFacts> {
        self.request_facts(&request).map(|facts| RebuildFacts {
            template: Some(facts.template),
            count: Some(facts.count),
            accepted_at: Some(facts.accepted_at),
            journal: Some(facts.journal),
        })
    }
}
