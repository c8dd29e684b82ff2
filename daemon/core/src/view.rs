//! What the core may see of the cluster: the pod cache, which only the watch writes (`lifecycle.md` 7).

use crate::{
    clock::Now,
    id::{JournalId, MachineName, RequestId, TemplateId},
    pod::PodRecord,
};

/// The pod cache as the core reads it.
pub trait PodView {
    /// The pod of that name, of this provider instance.
    fn pod(&self, name: MachineName) -> Option<PodRecord>;
    /// The names of all pods of this provider instance.
    fn names(&self) -> Vec<MachineName>;
    /// What the pods' annotations tell about a machine request.
    fn facts(&self, request: RequestId) -> Option<RebuildFacts>;
}

/// What is needed to rebuild a machine request from its pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildFacts {
    /// Template id.
    pub template: Option<TemplateId>,
    /// Machines asked for.
    pub count: Option<u32>,
    /// Wall time of acceptance, epoch seconds.
    pub accepted_at: Option<i64>,
    /// The journal that created them.
    pub journal: Option<JournalId>,
}

/// One instant and one view: what every step of the core is given.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// The instant.
    pub now: Now,
    /// The pod cache.
    pub pods: &'a dyn PodView,
}
