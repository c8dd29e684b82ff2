//! Every pod that a namespace ever had, watched by an administrator: so that a name that had two pods is found however
//! short the life of one of them was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tests::http::Endpoint;

/// Pause before the next attempt while the API server is away.
const PAUSE: Duration = Duration::from_millis(50);

/// The UIDs that every name had.
type Uids = BTreeMap<String, BTreeSet<String>>;

/// A running observation. It ends, at the latest seconds after it was dropped, by itself.
#[derive(Debug)]
pub(crate) struct Births {
    seen: Arc<Mutex<Uids>>,
    over: Arc<AtomicBool>,
}

impl Births {
    /// Observes a namespace from now on.
    pub(crate) fn watch(admin: &Endpoint, namespace: &str) -> Self {
        let births = Self { seen: Arc::default(), over: Arc::default() };
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let (admin, seen, over) = (admin.clone(), Arc::clone(&births.seen), Arc::clone(&births.over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // The API server is stopped by some tests; what was missed then is in the next list, for without it
                // nobody can delete a pod.
                if follow(&admin, &path, &seen, &over).is_err() {
                    thread::sleep(PAUSE);
                }
            }
        });
        births
    }

    /// How many names have had a pod.
    pub(crate) fn names(&self) -> usize {
        lock(&self.seen).len()
    }

    /// Names with more than one pod.
    pub(crate) fn twice(&self) -> Uids {
        lock(&self.seen)
            .iter()
            .filter(|(_, uids)| uids.len() > 1)
            .map(|(name, uids)| (name.clone(), uids.clone()))
            .collect()
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Lists, then watches until the watch breaks.
fn follow(admin: &Endpoint, path: &str, seen: &Mutex<Uids>, over: &AtomicBool) -> Result<()> {
    let list = admin.json("GET", path, None)?;
    for pod in list["items"].as_array().into_iter().flatten() {
        note(seen, pod);
    }
    let mut version = version(&list)?;
    while !over.load(Ordering::Relaxed) {
        let events = admin.watch(&format!("{path}?watch=true&timeoutSeconds=2&resourceVersion={version}"))?;
        for event in events {
            let event = event?;
            if event["type"] == "ERROR" {
                bail!("the watch failed: {event}");
            }
            note(seen, &event["object"]);
            version = self::version(&event["object"])?;
        }
    }
    Ok(())
}

fn version(object: &Value) -> Result<String> {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.map(str::to_owned).with_context(|| format!("no resourceVersion in {object}"))
}

fn note(seen: &Mutex<Uids>, pod: &Value) {
    if let (Some(name), Some(uid)) = (pod["metadata"]["name"].as_str(), pod["metadata"]["uid"].as_str()) {
        lock(seen).entry(name.to_owned()).or_default().insert(uid.to_owned());
    }
}

fn lock(seen: &Mutex<Uids>) -> MutexGuard<'_, Uids> {
    seen.lock().expect("the observer does not panic")
}
