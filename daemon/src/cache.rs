//! The pod cache: what the watch last showed of each pod of ours.
//!
//! Only the watch writes it; everybody reads it, without waiting (sharded map). It is never cleared: during an outage
//! the watch begins list after list, and what was seen stays seen. A relist marks what it finds with a new generation;
//! at its end the rest is swept, and the swept names are how deletions inside the gap become known.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

use dashmap::{DashMap, mapref::entry::Entry};
use hfd_core::{
    id::{JournalId, MachineName, PodUid, RequestId, TemplateId},
    pod::PodRecord,
};

/// Strays remembered by name. They are for an operator to look at; thousands would say no more than the first hundred.
const STRAYS_MAX: usize = 100;

/// Requests remembered beyond twice those known to have pods before the others are looked for.
const FACTS_SLACK: usize = 1024;

/// What a pod's annotations tell about its request: enough to rebuild it when the journal is gone (`lifecycle.md` 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// The template that was asked for.
    pub template: TemplateId,
    /// Machines accepted.
    pub count: u32,
    /// When, epoch seconds.
    pub accepted_at: i64,
    /// The journal that accepted it.
    pub journal: JournalId,
}

/// One cached pod.
#[derive(Debug)]
struct Cached {
    record: PodRecord,
    /// The list in which, or after which, it was last seen.
    generation: u32,
}

/// The map of all pods of ours that the watch has shown.
#[derive(Debug, Default)]
pub struct PodCache {
    pods: DashMap<MachineName, Cached>,
    /// How many of them each request has.
    counts: DashMap<RequestId, u32>,
    /// A list was complete in this life.
    listed: AtomicBool,
    facts: DashMap<RequestId, RequestFacts>,
    facts_swept_at: AtomicUsize,
    generation: AtomicU32,
    /// Held for a moment, by the watch to note one and by `status` to copy them.
    strays: Mutex<BTreeSet<Box<str>>>,
}

impl PodCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pod of a machine, as last seen.
    #[must_use]
    pub fn get(&self, name: &MachineName) -> Option<PodRecord> {
        self.pods.get(name).map(|cached| cached.record.clone())
    }

    /// How many pods are cached.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Shows every cached pod to `visit`, in no order. Must not call back into the cache.
    pub fn for_each(&self, mut visit: impl FnMut(&MachineName, &PodRecord)) {
        for cached in &self.pods {
            visit(cached.key(), &cached.record);
        }
    }

    /// What the pods of a request tell about it.
    #[must_use]
    pub fn request_facts(&self, request: &RequestId) -> Option<RequestFacts> {
        self.facts.get(request).map(|facts| facts.clone())
    }

    /// Names of pods that match our selector but are not ours, at most 100 of them, sorted.
    #[must_use]
    pub fn strays(&self) -> Vec<Box<str>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A list begins: from now on, what is applied belongs to it.
    pub fn begin_list(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes what the watch saw of a pod. Returns whether that is news; the same record again is not.
    pub fn apply(&self, name: MachineName, record: PodRecord) -> bool {
        let generation = self.generation.load(Ordering::Relaxed);
        match self.pods.entry(name) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.generation = generation;
                let news = known.record != record;
                if news {
                    known.record = record;
                }
                news
            }
            Entry::Vacant(place) => {
                place.insert(Cached { record, generation });
                *self.counts.entry(name.request).or_default() += 1;
                true
            }
        }
    }

    /// The watch saw this pod deleted. Returns whether it was cached; another UID under the name stays.
    pub fn delete(&self, name: &MachineName, uid: PodUid) -> bool {
        let deleted = self.pods.remove_if(name, |_, cached| cached.record.uid == uid).is_some();
        if deleted {
            self.count_one_less(name.request);
        }
        deleted
    }

    /// Notes a pod that matches our selector without being ours. If it bears the name of a cached pod, that one is
    /// kept as it was: a changed label is no evidence that a pod is gone.
    pub fn note_stray(&self, name: &str) {
        if let Some(mut cached) = name.parse().ok().and_then(|name: MachineName| self.pods.get_mut(&name)) {
            cached.generation = self.generation.load(Ordering::Relaxed);
        }
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        if strays.len() < STRAYS_MAX {
            strays.insert(name.into());
        }
    }

    /// A stray is gone.
    pub fn forget_stray(&self, name: &str) {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether a pod of this request is there.
    #[must_use]
    pub fn has_pod_of(&self, request: &RequestId) -> bool {
        self.counts.contains_key(request)
    }

    /// Whether a list was complete in this life: before, that no pod is cached says nothing.
    #[must_use]
    pub fn was_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    fn count_one_less(&self, request: RequestId) {
        if let Entry::Occupied(mut count) = self.counts.entry(request) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Whether the facts of this request are known already.
    #[must_use]
    pub fn knows_request(&self, request: &RequestId) -> bool {
        self.facts.contains_key(request)
    }

    /// Keeps what the first pod of a request tells about it.
    pub fn learn_request(&self, request: RequestId, facts: RequestFacts) {
        if self.facts.len() >= 2 * self.facts_swept_at.load(Ordering::Relaxed) + FACTS_SLACK {
            self.sweep_facts();
        }
        self.facts.entry(request).or_insert(facts);
    }

    /// The list is complete: what it did not contain is gone. Returns those names.
    pub fn end_list(&self) -> Vec<MachineName> {
        let generation = self.generation.load(Ordering::Relaxed);
        let mut swept = Vec::new();
        self.pods.retain(|name, cached| {
            let keep = cached.generation == generation;
            if !keep {
                swept.push(*name);
            }
            keep
        });
        swept.iter().for_each(|name| self.count_one_less(name.request));
        self.sweep_facts();
        self.listed.store(true, Ordering::Relaxed);
        swept
    }

    /// Forgets the facts of requests without any pod.
    fn sweep_facts(&self) {
        let alive: HashSet<RequestId> = self.pods.iter().map(|cached| cached.key().request).collect();
        self.facts.retain(|request, _| alive.contains(request));
        self.facts_swept_at.store(self.facts.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use hfd_core::pod::Phase;

    use super::*;

    fn name(ordinal: u32) -> MachineName {
        MachineName { request: RequestId::from_random([1; 10]), ordinal }
    }

    fn record(uid: u8) -> PodRecord {
        PodRecord {
            uid: PodUid::from_bytes([uid; 16]),
            journal: None,
            created: 0,
            phase: Phase::Pending,
            ready: false,
            ip: None,
            deletion: None,
            grace: 30,
            disruption: None,
            reason: None,
            node: None,
        }
    }

    fn facts() -> RequestFacts {
        RequestFacts {
            template: "T".parse().expect("a legal template id"),
            count: 1,
            accepted_at: 0,
            journal: JournalId([0; 8]),
        }
    }

    #[test]
    fn an_unchanged_record_is_no_news() {
        let cache = PodCache::new();
        assert!(cache.apply(name(0), record(1)));
        assert!(!cache.apply(name(0), record(1)));
        assert!(cache.apply(name(0), PodRecord { ready: true, ..record(1) }));
    }

    #[test]
    fn a_complete_list_sweeps_what_it_did_not_contain() {
        let cache = PodCache::new();
        cache.begin_list();
        cache.apply(name(0), record(1));
        cache.apply(name(1), record(2));
        assert_eq!(cache.end_list(), []);
        cache.begin_list();
        cache.apply(name(1), record(2));
        assert_eq!(cache.end_list(), [name(0)]);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn lists_that_break_off_sweep_nothing_and_hide_nothing() {
        let cache = PodCache::new();
        cache.begin_list();
        cache.apply(name(0), record(1));
        cache.apply(name(1), record(2));
        cache.end_list();
        cache.begin_list();
        cache.apply(name(0), record(1));
        cache.begin_list();
        assert_eq!(cache.len(), 2);
        cache.apply(name(1), record(2));
        assert_eq!(cache.end_list(), [name(0)], "seen only in the list that broke off");
    }

    #[test]
    fn the_end_of_an_older_pod_does_not_remove_its_successor() {
        let cache = PodCache::new();
        cache.apply(name(0), record(2));
        assert!(!cache.delete(&name(0), PodUid::from_bytes([1; 16])));
        assert!(cache.delete(&name(0), PodUid::from_bytes([2; 16])));
        assert!(cache.is_empty());
    }

    #[test]
    fn a_pod_whose_label_was_changed_by_hand_is_not_taken_for_gone() {
        let cache = PodCache::new();
        cache.begin_list();
        cache.apply(name(0), record(1));
        cache.end_list();
        cache.begin_list();
        cache.note_stray(&name(0).to_string());
        assert_eq!(cache.end_list(), []);
        assert_eq!(cache.strays().len(), 1);
    }

    #[test]
    fn strays_and_request_facts_are_bounded() {
        let cache = PodCache::new();
        for place in 0..10 * STRAYS_MAX {
            cache.note_stray(&format!("stray-{place}"));
        }
        assert_eq!(cache.strays().len(), STRAYS_MAX);
        cache.apply(name(0), record(1));
        cache.learn_request(name(0).request, facts());
        for place in 0..10_000_u32 {
            let mut bits = [2; 10];
            bits[..4].copy_from_slice(&place.to_be_bytes());
            cache.learn_request(RequestId::from_random(bits), facts());
        }
        assert!(cache.facts.len() <= FACTS_SLACK + 3);
        assert_eq!(cache.request_facts(&name(0).request), Some(facts()));
    }

    #[test]
    fn a_cached_pod_takes_some_two_hundred_bytes_beside_its_shared_texts() {
        let entry = size_of::<(MachineName, Cached)>();
        assert!(entry <= 136, "{entry} bytes: at hashbrown's mean load of 0.66..0.88 that is over 160 a pod");
    }
}
