//! What became of every pod name of the namespace, as an own watch with an administrator's eyes saw it.
//!
//! The watch may lag a moment behind the server, so a reading waits until it has caught up ([`History::read`]). Pods
//! whose creation passed the gate are noted from the server's own answer besides: not one of them is missed, however
//! short its life was.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::request;
use crate::http::Endpoint;

/// The server ends our watch after this many seconds: how long a reader may outlive the gate.
const WATCH_SECONDS: u32 = 30;
/// Pause after a watch that could not be opened.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for the watch to catch up: shorter than any client's patience with an answer.
const CATCH_UP: Duration = Duration::from_secs(50);
/// Of each pod its metadata alone: a thousand whole ones with every reading would keep the watch from catching up.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

#[derive(Debug, Default)]
struct Name {
    /// Of all its pods, in the order seen.
    uids: Vec<String>,
    ever_ready: bool,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    uid: String,
    version: String,
    labels: Vec<String>,
}

#[derive(Debug, Default)]
struct Record {
    names: BTreeMap<String, Name>,
    /// Up to here the watch has seen everything.
    version: u64,
    /// The latest change that the gate knows of.
    floor: u64,
}

/// The record, with the one who waits for it.
#[derive(Debug)]
pub(super) struct History {
    admin: Endpoint,
    /// Path of the namespace's pods.
    pods: String,
    namespace: String,
    record: Mutex<Record>,
    grown: Condvar,
}

impl History {
    pub(super) fn new(admin: Endpoint, namespace: &str) -> Self {
        Self {
            admin,
            pods: format!("/api/v1/namespaces/{namespace}/pods"),
            namespace: namespace.to_owned(),
            record: Mutex::default(),
            grown: Condvar::new(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nothing panics while it holds the record")
    }

    /// Follows the pods until `stopped`.
    pub(super) fn follow(&self, stopped: impl Fn() -> bool) {
        while !stopped() {
            if self.follow_once(&stopped).is_err() {
                // Not synchronisation: the server is not there at the moment, or the namespace is not.
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn follow_once(&self, stopped: &impl Fn() -> bool) -> Result<()> {
        let list = self.admin.json("GET", &self.pods, None)?;
        let mut version = version_of(&list)?;
        self.listed(list["items"].as_array().map(Vec::as_slice).unwrap_or_default(), version);
        while !stopped() {
            let query =
                format!("watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}");
            for event in self.admin.watch(&format!("{}?{query}", self.pods))? {
                let event = event?;
                if event["type"] == "ERROR" {
                    bail!("the watch has ended: {}", event["object"]);
                }
                version = version_of(&event["object"])?;
                self.saw(event["type"].as_str().unwrap_or_default(), &event["object"], version);
                if stopped() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A list: what is not in it is gone.
    fn listed(&self, pods: &[Value], version: u64) {
        let mut record = self.record();
        for name in record.names.values_mut() {
            name.live = None;
        }
        for pod in pods {
            record.exists(pod);
        }
        record.version = version;
        drop(record);
        self.grown.notify_all();
    }

    fn saw(&self, kind: &str, object: &Value, version: u64) {
        let mut record = self.record();
        match kind {
            "ADDED" | "MODIFIED" => record.exists(object),
            "DELETED" => record.ended(object),
            _ => {}
        }
        record.version = record.version.max(version);
        drop(record);
        self.grown.notify_all();
    }

    /// The server answered a create with this pod.
    pub(super) fn created(&self, pod: &Value) {
        self.record().created(pod);
        self.changed(pod);
    }

    /// The server answered a change with this pod: a reading shows this change and what follows it.
    pub(super) fn changed(&self, pod: &Value) {
        let mut record = self.record();
        record.floor = record.floor.max(version_of(pod).unwrap_or_default());
    }

    /// Labels of a pod that is there.
    pub(super) fn labels(&self, name: &str) -> Vec<String> {
        let record = self.record();
        record.names.get(name).and_then(|name| name.live.as_ref()).map(|live| live.labels.clone()).unwrap_or_default()
    }

    /// The record, when it is up to date.
    pub(super) fn read(&self) -> Result<Value> {
        self.catch_up()?;
        let record = self.record();
        let entry = |(name, past): (&String, &Name)| {
            let entry = json!({
                "namespace": self.namespace, "created": past.uids.len(), "firstUid": past.uids.first(),
                "lastUid": past.uids.last(), "everReady": past.ever_ready, "exists": past.live.is_some(),
            });
            (name.clone(), entry)
        };
        Ok(Value::Object(record.names.iter().map(entry).collect::<Map<String, Value>>()))
    }

    /// Waits until the watch has seen what the server knows now.
    fn catch_up(&self) -> Result<()> {
        let now = self.admin.get_accepting(&self.pods, METADATA)?;
        if now.code != 200 {
            bail!("GET {}: {} {}", self.pods, now.code, String::from_utf8_lossy(&now.body));
        }
        let now = now.json()?;
        let (version, there) = (version_of(&now)?, present(&now));
        let behind = |record: &mut Record| record.is_behind(version, &there);
        let waited = self.grown.wait_timeout_while(self.record(), CATCH_UP, behind);
        let (_record, result) = waited.expect("nothing panics while it holds the record");
        if result.timed_out() {
            bail!("the watch of the pods did not catch up with the server within {CATCH_UP:?}");
        }
        Ok(())
    }
}

impl Record {
    /// Whether the watch has yet to show something of a list of `version` with the pods `there`.
    ///
    /// A quiet namespace gives the watch no newer version. It has then seen all when it ended in the same pods, each as
    /// it is in the list, and in all changes that the gate knows of: a pod may have come and gone in between.
    fn is_behind(&self, version: u64, there: &BTreeMap<String, String>) -> bool {
        let live = self.names.values().filter_map(|name| name.live.as_ref());
        let same =
            || live.clone().count() == there.len() && live.clone().all(|one| there.get(&one.uid) == Some(&one.version));
        self.version < version && (self.version < self.floor || !same())
    }

    fn exists(&mut self, pod: &Value) {
        let (name, uid) = (text(pod, "name"), text(pod, "uid"));
        let name = self.names.entry(name).or_default();
        name.note(&uid);
        name.ever_ready |= is_ready(pod);
        name.live = Some(Live {
            uid,
            version: text(pod, "resourceVersion"),
            labels: request::labels(&pod["metadata"]["labels"]),
        });
    }

    fn ended(&mut self, pod: &Value) {
        let (name, uid) = (text(pod, "name"), text(pod, "uid"));
        let name = self.names.entry(name).or_default();
        name.note(&uid);
        name.ever_ready |= is_ready(pod);
        if name.live.as_ref().is_some_and(|live| live.uid == uid) {
            name.live = None;
        }
    }

    /// What the watch has shown already, perhaps with its end, is not made to exist again.
    fn created(&mut self, pod: &Value) {
        let uid = text(pod, "uid");
        let known = self.names.get(&text(pod, "name")).is_some_and(|name| name.uids.contains(&uid));
        if !known && !uid.is_empty() {
            self.exists(pod);
        }
    }
}

impl Name {
    fn note(&mut self, uid: &str) {
        if !self.uids.iter().any(|known| known == uid) {
            self.uids.push(uid.to_owned());
        }
    }
}

/// Versions of the pods of a list, by their UIDs.
fn present(list: &Value) -> BTreeMap<String, String> {
    let pods = list["items"].as_array().into_iter().flatten();
    pods.map(|pod| (text(pod, "uid"), text(pod, "resourceVersion"))).collect()
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

/// Whether a pod's condition Ready is True.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// `metadata.resourceVersion` of an object or a list. Versions of all resources are numbers of one sequence.
pub(super) fn version_of(object: &Value) -> Result<u64> {
    let version = object["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?;
    version.parse().with_context(|| format!("a resourceVersion that is no number: {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, version: u64) -> Value {
        json!({"metadata": {"name": name, "uid": uid, "resourceVersion": version.to_string()}})
    }

    /// One pod, and nothing since.
    fn seen_at_5() -> Record {
        let mut record = Record { version: 5, ..Record::default() };
        record.exists(&pod("a", "1", 5));
        record
    }

    fn list(version: u64, pods: &[Value]) -> (u64, BTreeMap<String, String>) {
        (version, present(&json!({"items": pods})))
    }

    fn is_behind(record: &Record, (version, there): (u64, BTreeMap<String, String>)) -> bool {
        record.is_behind(version, &there)
    }

    /// As many pods as the server has are not the server's pods: one of them ended and another is new.
    #[test]
    fn a_record_with_as_many_other_pods_is_behind() {
        let mut record = seen_at_5();
        assert!(is_behind(&record, list(7, &[pod("b", "2", 7)])));
        record.ended(&pod("a", "1", 6));
        record.exists(&pod("b", "2", 7));
        record.version = 7;
        assert!(!is_behind(&record, list(7, &[pod("b", "2", 7)])));
    }

    /// A pod of which an older state was seen may have turned ready since.
    #[test]
    fn a_record_with_an_older_state_of_a_pod_is_behind() {
        assert!(is_behind(&seen_at_5(), list(9, &[pod("a", "1", 8)])));
    }

    /// Other resources give the list a newer version than this watch ever sees.
    #[test]
    fn a_record_with_the_same_pods_waits_only_for_changes_that_are_known() {
        let mut record = seen_at_5();
        assert!(!is_behind(&record, list(9, &[pod("a", "1", 5)])));
        record.floor = 6;
        assert!(is_behind(&record, list(9, &[pod("a", "1", 5)])));
    }
}
