//! What the API server sends of pods: lists, watches, single pods.

use std::time::{Duration, Instant};

use hfd_core::{clock::Now, id::MachineName, ledger::Ledger, outcome::NamespaceOutcome, policy::Policy, view::Ctx};
use kube::core::WatchEvent;
use serde_json::Value;

use super::{
    intern::Interner,
    wire::{Page, Sighting, SlimPod},
};
use crate::{
    cache::PodCache,
    fuzzing::{Taken, sample},
    published::Published,
};

/// Decodes the bytes as everything that a pod can come in, and shows the pods to a ledger.
#[must_use]
pub fn watch_event(data: &[u8]) -> Taken {
    let cache = PodCache::new();
    cache.begin_list();
    let mut interner = Interner::new();
    let mut seen = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            // Refused or not, but without a panic.
            drop(serde_json::from_slice::<WatchEvent<SlimPod>>(line));
            drop(serde_json::from_slice::<Page>(line));
            continue;
        };
        // As any JSON encoder writes it, so without what only a broken one would: keys twice, lone surrogates.
        let text = value.to_string();
        if value.is_object() {
            serde_json::from_str::<Page>(&text).expect("a list of other objects decodes");
        }
        let watched = match serde_json::from_str::<WatchEvent<SlimPod>>(&text) {
            Ok(WatchEvent::Deleted(pod)) => {
                if let Some((name, uid)) = pod.identity() {
                    cache.delete(&name, uid);
                    seen.push(name);
                }
                None
            }
            Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => Some(pod),
            _ => Some(serde_json::from_str::<SlimPod>(&text).expect("every JSON value decodes as a pod")),
        };
        seen.extend(watched.and_then(|pod| applied(&pod, &cache, &mut interner)));
    }
    seen.sort_unstable();
    seen.dedup();
    judged(&cache, &seen, Ledger::new(sample::restored(), Policy::default(), at(0)));
    // The same pods found by a journal that knows nothing of them.
    let adopting = Policy { rebuild_permitted: true, server_request_timeout: Duration::ZERO, ..Policy::default() };
    judged(&cache, &seen, Ledger::new(sample::nothing(), adopting, at(0)));
    Taken::accepted_if(!seen.is_empty())
}

fn applied(pod: &SlimPod, cache: &PodCache, interner: &mut Interner) -> Option<MachineName> {
    let Sighting::Ours(name, record) = pod.sighting(interner) else {
        cache.note_stray(pod.name());
        return None;
    };
    for reason in record.reason.iter().chain(&record.disruption) {
        assert!(reason.message.len() <= 500, "a reason of {} bytes", reason.message.len());
    }
    if let Some(facts) = pod.facts() {
        cache.learn_request(name.request, facts);
    }
    cache.apply(name, record);
    Some(name)
}

fn at(seconds: u64) -> Now {
    let wall = sample::NOW.saturating_add_unsigned(seconds);
    Now { mono: Duration::from_secs(seconds), wall }
}

/// A list, a watch and an hour, as the engine passes them on.
fn judged(cache: &PodCache, seen: &[MachineName], mut ledger: Ledger) {
    let ctx = |seconds| Ctx { now: at(seconds), pods: cache };
    ledger.resume(ctx(0));
    ledger.namespace_seen(ctx(1), &NamespaceOutcome::NotAllowed);
    for second in [2, 4] {
        ledger.list_began(ctx(second));
        ledger.namespace_seen(ctx(second), &NamespaceOutcome::NotAllowed);
        ledger.list_done(ctx(second + 1), &[]);
        ledger.freshness(ctx(second + 1), true);
        ledger.tick(ctx(second + 1), None);
    }
    ledger.pods_seen(ctx(6), seen);
    let published = Published::new(Instant::now());
    for second in [7, 70, 400, 4000] {
        ledger.tick(ctx(second), Some(Duration::from_secs(second)));
        while ledger.next_call(ctx(second)).is_some() {}
        let batch = ledger.take_batch();
        published.publish(&batch);
        ledger.committed(ctx(second), &batch);
        published.publish_at_risk(ledger.take_at_risk_changes());
        sample::answers(&published, at(second).wall);
        for name in seen {
            drop(ledger.machine_report(ctx(second), *name));
        }
    }
}
