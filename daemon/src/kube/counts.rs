//! How many calls went to the API server, by verb; for `status` and for the promise that polls cause none.

use std::sync::atomic::{AtomicU64, Ordering};

/// A verb and the resource it is used on, as the API server counts requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// POST of a pod.
    Create,
    /// DELETE of a pod.
    Delete,
    /// GET of one pod: a look.
    Get,
    /// One page of a LIST of pods.
    List,
    /// The begin of a watch of pods.
    Watch,
    /// Anything else: the namespace, permissions.
    GetOther,
}

impl Verb {
    /// All verbs, in the order in which `status` shows them.
    pub const ALL: [Self; 6] = [Self::Create, Self::Delete, Self::Get, Self::List, Self::Watch, Self::GetOther];

    /// Verb and resource as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create pods",
            Self::Delete => "delete pods",
            Self::Get => "get pods",
            Self::List => "list pods",
            Self::Watch => "watch pods",
            Self::GetOther => "get other",
        }
    }
}

/// Counters of all calls of this process, across rebuilt clients.
#[derive(Debug, Default)]
pub struct Calls([AtomicU64; Verb::ALL.len()]);

impl Calls {
    /// Calls sent so far, by verb, in the order of [`Verb::ALL`].
    #[must_use]
    pub fn read(&self) -> [(Verb, u64); Verb::ALL.len()] {
        Verb::ALL.map(|verb| (verb, self.0[verb as usize].load(Ordering::Relaxed)))
    }

    pub(super) fn count(&self, verb: Verb) {
        self.0[verb as usize].fetch_add(1, Ordering::Relaxed);
    }
}
