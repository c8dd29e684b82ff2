//! The few fields of a pod that we decode, and their way into a `PodRecord`.
//!
//! A LIST or a watch may show anything: a newer API, a hand-made object, a field of another type. Nothing of that may
//! stop the stream, so every field is optional and tolerant (`tolerant.rs`), and what is unknown is skipped unread.
//! [`SlimPod`] is what kube's watcher decodes instead of a whole `Pod`; it lives for a moment, the record stays.

use std::{borrow::Cow, net::IpAddr};

use hfd_core::{
    id::{JournalId, MachineName, PodUid, RequestId},
    pod::{Deletion, Phase, PodRecord},
};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use serde::{Deserialize, Deserializer};

use super::{
    intern::Interner,
    reason,
    tolerant::{Flag, Int, List, Object, Text},
};
use crate::cache::RequestFacts;

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: u32 = 30;

/// What an object of a LIST or a watch turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sighting {
    /// A pod of a machine of ours.
    Ours(MachineName, PodRecord),
    /// It matches our selector, but its name, request label or UID is not one that hfd gave it.
    Stray(Box<str>),
}

/// A pod as far as we decode it.
#[derive(Debug, Clone)]
pub(super) struct SlimPod {
    /// For kube's watcher, which resumes by `resourceVersion`; nothing else is filled in.
    meta: ObjectMeta,
    wire: Wire,
}

/// One page of a LIST that we asked for ourselves.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    pub(super) kind: Text,
    pub(super) metadata: Object<PageMeta>,
    pub(super) items: List<Wire>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PageMeta {
    #[serde(rename = "continue")]
    pub(super) next: Text,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    pub(super) metadata: Object<Metadata>,
    pub(super) spec: Object<Spec>,
    pub(super) status: Object<Status>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Text,
    pub(super) uid: Text,
    resource_version: Text,
    creation_timestamp: Text,
    pub(super) deletion_timestamp: Text,
    pub(super) labels: Object<Labels>,
    annotations: Object<Notes>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Labels {
    #[serde(rename = "app.kubernetes.io/managed-by")]
    pub(super) managed_by: Text,
    #[serde(rename = "symphony/hostfactory-reqid")]
    pub(super) request: Text,
    #[serde(rename = "symphony/hostfactory-provider")]
    pub(super) provider: Text,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Notes {
    #[serde(rename = "hfd/template")]
    template: Text,
    #[serde(rename = "hfd/count")]
    count: Text,
    #[serde(rename = "hfd/accepted-at")]
    accepted_at: Text,
    #[serde(rename = "hfd/journal")]
    journal: Text,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    node_name: Text,
    termination_grace_period_seconds: Int,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) phase: Text,
    #[serde(rename = "podIP")]
    pod_ip: Text,
    pub(super) reason: Text,
    pub(super) message: Text,
    pub(super) conditions: List<Condition>,
    pub(super) init_container_statuses: List<ContainerStatus>,
    pub(super) container_statuses: List<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: Text,
    pub(super) status: Text,
    pub(super) reason: Text,
    pub(super) message: Text,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) name: Text,
    pub(super) ready: Flag,
    pub(super) restart_count: Int,
    pub(super) state: Object<ContainerState>,
    pub(super) last_state: Object<ContainerState>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Object<Waiting>>,
    pub(super) terminated: Option<Object<Terminated>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) reason: Text,
    pub(super) message: Text,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Terminated {
    pub(super) exit_code: Int,
    pub(super) signal: Int,
    pub(super) reason: Text,
    pub(super) message: Text,
}

impl Wire {
    pub(super) fn uid(&self) -> Option<PodUid> {
        self.metadata.0.uid.parse()
    }

    pub(super) fn journal(&self) -> Option<JournalId> {
        self.metadata.0.annotations.0.journal.parse()
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.metadata.0.deletion_timestamp.get().is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.status.0.phase.get() {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Unknown") => Phase::Unknown,
            _ => Phase::Pending,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase(), Phase::Succeeded | Phase::Failed)
    }

    /// The machine that this pod is: its name is a machine's, and its request label agrees.
    pub(super) fn machine(&self) -> Option<MachineName> {
        let name: MachineName = self.metadata.0.name.parse()?;
        let request: RequestId = self.metadata.0.labels.0.request.parse()?;
        (name.request == request).then_some(name)
    }

    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.0.conditions.0.iter().find(|condition| condition.kind.get() == Some(kind))
    }

    /// The condition of that kind, if it has that status.
    pub(super) fn condition_is(&self, kind: &str, status: &str) -> Option<&Condition> {
        self.condition(kind).filter(|condition| condition.status.get() == Some(status))
    }

    /// Seconds; what Kubernetes takes where a pod does not say.
    fn grace(&self) -> u32 {
        let asked = self.spec.0.termination_grace_period_seconds.0;
        asked.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_GRACE_SECONDS)
    }

    fn record(&self, uid: PodUid, interner: &mut Interner) -> PodRecord {
        let metadata = &self.metadata.0;
        let deletion = metadata.deletion_timestamp.get();
        PodRecord {
            uid,
            journal: self.journal(),
            created: metadata.creation_timestamp.get().and_then(epoch_seconds).unwrap_or(0),
            phase: self.phase(),
            ready: self.condition_is("Ready", "True").is_some(),
            ip: self.status.0.pod_ip.parse::<IpAddr>(),
            grace: self.grace(),
            deletion: deletion.map(|ends_at| Deletion { ends_at: epoch_seconds(ends_at).unwrap_or(0) }),
            disruption: reason::disruption(self).map(|reason| reason.shared(interner)),
            reason: reason::of(self).map(|reason| reason.shared(interner)),
            node: self.spec.0.node_name.get().map(|node| interner.share(node)),
        }
    }
}

impl SlimPod {
    /// The record of this pod, or that it is a stray.
    pub(super) fn sighting(&self, interner: &mut Interner) -> Sighting {
        match (self.wire.machine(), self.wire.uid()) {
            (Some(name), Some(uid)) => Sighting::Ours(name, self.wire.record(uid, interner)),
            _ => Sighting::Stray(self.name().into()),
        }
    }

    /// Name and UID by which a deleted pod leaves the cache, whatever became of its labels.
    pub(super) fn identity(&self) -> Option<(MachineName, PodUid)> {
        Some((self.wire.metadata.0.name.parse()?, self.wire.uid()?))
    }

    /// Its name, whatever it is.
    pub(super) fn name(&self) -> &str {
        self.wire.metadata.0.name.get().unwrap_or_default()
    }

    /// What the annotations tell about the request; `None` if any of it is missing.
    pub(super) fn facts(&self) -> Option<RequestFacts> {
        let notes = &self.wire.metadata.0.annotations.0;
        Some(RequestFacts {
            template: notes.template.parse()?,
            count: notes.count.parse()?,
            accepted_at: notes.accepted_at.parse()?,
            journal: notes.journal.parse()?,
        })
    }
}

impl<'de> Deserialize<'de> for SlimPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(wire) = Object::<Wire>::deserialize(deserializer)?;
        let text = |text: &Text| text.get().map(str::to_owned);
        let meta = ObjectMeta {
            name: text(&wire.metadata.0.name),
            resource_version: text(&wire.metadata.0.resource_version),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, wire })
    }
}

impl kube::Resource for SlimPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// A Kubernetes time (RFC 3339) in epoch seconds.
fn epoch_seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use hfd_core::pod::ReasonCode;
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn pod(mut extra: Value) -> Value {
        let request = RequestId::from_random([1; 10]).to_string();
        let mut pod = json!({
            "metadata": {
                "name": format!("{request}-00003"), "uid": UID, "resourceVersion": "17",
                "creationTimestamp": "2026-03-01T10:00:00Z",
                "labels": {"symphony/hostfactory-reqid": request, "team": "risk"},
                "annotations": {"hfd/template": "T1", "hfd/count": "10", "hfd/accepted-at": "1763000000",
                                "hfd/journal": "00000000000000ff", "hfd/ordinal": "3"},
                "managedFields": [{"fieldsV1": {"f:x": {}}}],
            },
            "spec": {"nodeName": "node-1"},
        });
        if let Some(metadata) = extra.as_object_mut().and_then(|extra| extra.remove("metadata")) {
            let entries = metadata.as_object().cloned().unwrap_or_default();
            pod["metadata"].as_object_mut().expect("an object").extend(entries);
        }
        pod.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        pod
    }

    fn slim(value: &Value) -> SlimPod {
        serde_json::from_str(&value.to_string()).expect("a pod always decodes")
    }

    #[test]
    fn a_ready_pod_becomes_a_record_without_a_reason() {
        let pod = slim(&pod(json!({
            "status": {"phase": "Running", "podIP": "10.1.2.3",
                       "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]},
        })));
        let Sighting::Ours(name, record) = pod.sighting(&mut Interner::new()) else { panic!("a pod of ours") };
        assert_eq!(name.ordinal, 3);
        assert!(record.is_usable());
        assert_eq!(record.uid.to_string(), UID);
        assert_eq!(record.created, 1_772_359_200);
        assert_eq!(record.node.as_deref(), Some("node-1"));
        assert_eq!(record.journal, Some(JournalId([0, 0, 0, 0, 0, 0, 0, 255])));
        assert_eq!((record.reason, record.disruption, record.deletion), (None, None, None));
    }

    #[test]
    fn the_grace_is_the_pods_own_or_the_default_of_kubernetes() {
        let grace = |spec: Value| slim(&pod(json!({ "spec": spec }))).wire.grace();
        assert_eq!(grace(json!({"terminationGracePeriodSeconds": 7})), 7);
        for unsaid in [json!({}), json!({"terminationGracePeriodSeconds": "x"}), json!(5)] {
            assert_eq!(grace(unsaid), 30);
        }
    }

    #[test]
    fn the_annotations_tell_what_a_request_is_rebuilt_from() {
        let facts = slim(&pod(json!({}))).facts().expect("complete annotations");
        assert_eq!((facts.template.as_str(), facts.count, facts.accepted_at), ("T1", 10, 1_763_000_000));
        assert_eq!(slim(&pod(json!({"metadata": {"annotations": {"hfd/template": "T1"}}}))).facts(), None);
    }

    #[test]
    fn a_pod_whose_name_label_or_uid_is_not_ours_is_a_stray() {
        for metadata in [
            json!({"name": "by-hand"}),
            json!({"labels": {}}),
            json!({"labels": {"symphony/hostfactory-reqid": RequestId::from_random([2; 10]).to_string()}}),
            json!({"uid": "not-a-uuid"}),
            json!({"name": 7}),
        ] {
            let sighting = slim(&pod(json!({ "metadata": metadata }))).sighting(&mut Interner::new());
            assert!(matches!(sighting, Sighting::Stray(_)), "{metadata}");
        }
    }

    #[test]
    fn a_pod_being_deleted_has_the_end_of_its_grace_and_its_disruption() {
        let pod = slim(&pod(json!({
            "metadata": {"deletionTimestamp": "2026-03-01T10:00:30Z"},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "making room"}]},
        })));
        let Sighting::Ours(_, record) = pod.sighting(&mut Interner::new()) else { panic!("a pod of ours") };
        assert_eq!(record.deletion, Some(Deletion { ends_at: record.created + 30 }));
        assert_eq!(record.disruption.map(|reason| reason.code), Some(ReasonCode::Preempted));
        assert_eq!(record.reason.map(|reason| reason.code), Some(ReasonCode::Preempted));
    }

    #[test]
    fn an_object_of_wrong_types_decodes_and_is_a_stray() {
        for object in [
            json!({"metadata": [], "spec": "x", "status": 5}),
            json!({"metadata": {"name": {}, "uid": 1, "labels": "x", "annotations": [1]}, "status": {"conditions": {}}}),
            json!({"status": {"conditions": [1, null, {"type": 3}], "containerStatuses": [{"state": []}], "phase": {}}}),
            json!([]),
            json!(null),
            json!("pod"),
        ] {
            assert!(matches!(slim(&object).sighting(&mut Interner::new()), Sighting::Stray(_)), "{object}");
        }
    }

    #[test]
    fn kube_finds_the_resource_version_that_it_resumes_by() {
        assert_eq!(kube::ResourceExt::resource_version(&slim(&pod(json!({})))).as_deref(), Some("17"));
    }

    #[test]
    fn repeated_texts_are_shared_between_records() {
        let mut interner = Interner::new();
        let pod = slim(&pod(json!({"status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}})));
        let (Sighting::Ours(_, one), Sighting::Ours(_, two)) =
            (pod.sighting(&mut interner), pod.sighting(&mut interner))
        else {
            panic!("pods of ours")
        };
        let message = |record: PodRecord| record.reason.map(|reason| reason.message.clone()).expect("a reason");
        assert!(std::sync::Arc::ptr_eq(&message(one), &message(two)));
    }
}
