//! The cluster: pods, their UIDs and lives, one namespace, and the log of changes that a watch reads.
//!
//! It acts as the Kubernetes API does (API concepts; "Pod Lifecycle"): a name is unique among the living, a UID for ever;
//! a deletion of a running pod first shows a deletionTimestamp and then, when the kubelet has ended it, its absence.

use std::{collections::BTreeMap, sync::Arc};

use hfd_core::{
    id::{JournalId, MachineName, PodUid, RequestId},
    outcome::{CreateOutcome, DeleteOutcome, ListedPod, LookOutcome, RefusalKind},
    pod::{Deletion, Phase, PodRecord, Reason, ReasonCode},
    request::MachineRequest,
    view::RebuildFacts,
};

/// Grace that the pods of the simulation ask for, seconds.
pub(crate) const GRACE: i64 = 30;

/// Whose pod it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This provider instance's, by its labels.
    Ours,
    /// Another instance's of hfd.
    OtherInstance,
    /// Nobody's that HostFactory knows.
    Stranger,
    /// A former HostFactory provider's.
    FormerProvider,
}

/// What is true of one pod, for ever.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) name: String,
    pub(crate) owner: Owner,
    /// First time at which it could be used.
    pub(crate) ready_at: Option<i64>,
    /// It ended, or is marked to be deleted, or is known to be disrupted: by then it was going.
    pub(crate) going_at: Option<i64>,
    /// Crash looping since.
    pub(crate) crashing_at: Option<i64>,
    pub(crate) gone_at: Option<i64>,
    /// The namespace that was deleted with it, while nothing else had happened to it.
    pub(crate) went_with: Option<PodUid>,
}

/// One pod that exists.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) owner: Owner,
    pub(crate) record: PodRecord,
    pub(crate) facts: RebuildFacts,
    /// The kubelet can't end it: its node is dead.
    pub(crate) stuck: bool,
}

/// One change as the watch sees it.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Applied(MachineName, PodRecord),
    Deleted(MachineName, PodUid),
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// `None` = the namespace is gone.
    pub(crate) namespace: Option<PodUid>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) log: Vec<Change>,
    pub(crate) history: BTreeMap<PodUid, History>,
    pub(crate) facts: BTreeMap<RequestId, RebuildFacts>,
    next_uid: u64,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            namespace: None,
            pods: BTreeMap::new(),
            log: Vec::new(),
            history: BTreeMap::new(),
            facts: BTreeMap::new(),
            next_uid: 0,
        };
        cluster.make_namespace();
        cluster
    }

    pub(crate) fn make_namespace(&mut self) {
        self.namespace = Some(self.fresh_uid());
    }

    /// The namespace is deleted at once, with all that is in it. `false`: there is none.
    pub(crate) fn delete_namespace(&mut self, now: i64) -> bool {
        let Some(namespace) = self.namespace.take() else { return false };
        for (name, pod) in &self.pods {
            let history = self.history.get_mut(&pod.record.uid).expect("each pod has a history");
            if history.going_at.is_none() && history.crashing_at.is_none() {
                history.went_with = Some(namespace);
            }
            assert_eq!(history.name, *name);
        }
        for name in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.remove(&name, now);
        }
        true
    }

    fn fresh_uid(&mut self) -> PodUid {
        self.next_uid += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.next_uid.to_be_bytes());
        PodUid::from_bytes(bytes)
    }

    /// A pod comes into being under a free name.
    pub(crate) fn add(
        &mut self,
        name: &str,
        owner: Owner,
        journal: Option<JournalId>,
        facts: RebuildFacts,
        now: i64,
    ) -> PodUid {
        let uid = self.fresh_uid();
        let record = PodRecord {
            uid,
            journal,
            created: now,
            phase: Phase::Pending,
            ready: false,
            ip: None,
            grace: 30,
            deletion: None,
            disruption: None,
            reason: None,
            node: None,
        };
        let name = name.to_owned();
        let alive = History {
            name: name.clone(),
            owner,
            ready_at: None,
            going_at: None,
            crashing_at: None,
            gone_at: None,
            went_with: None,
        };
        self.history.insert(uid, alive);
        if owner == Owner::Ours
            && let Ok(machine) = name.parse::<MachineName>()
        {
            self.log.push(Change::Applied(machine, record.clone()));
            self.facts.entry(machine.request).or_insert_with(|| facts.clone());
        }
        self.pods.insert(name, Pod { owner, record, facts, stuck: false });
        uid
    }

    /// POST of one machine's pod.
    pub(crate) fn post(
        &mut self,
        name: MachineName,
        request: &MachineRequest,
        journal: JournalId,
        now: i64,
    ) -> CreateOutcome {
        if self.namespace.is_none() {
            let message = "namespaces \"hf\" not found".to_owned();
            return CreateOutcome::Refused { kind: RefusalKind::NamespaceGone, message };
        }
        let text = name.to_string();
        if self.pods.contains_key(&text) {
            return CreateOutcome::AlreadyExists;
        }
        let facts = RebuildFacts {
            template: Some(request.template.clone()),
            count: Some(request.count()),
            accepted_at: Some(request.accepted_at),
            journal: Some(journal),
        };
        CreateOutcome::Created(self.add(&text, Owner::Ours, Some(journal), facts, now))
    }

    /// DELETE with the UID as precondition. `Ok(true)`: the kubelet has yet to end it.
    pub(crate) fn delete(&mut self, name: &str, uid: PodUid, force: bool, now: i64) -> (DeleteOutcome, bool) {
        let Some(pod) = self.pods.get(name).filter(|pod| pod.record.uid == uid) else {
            return (DeleteOutcome::Gone, false);
        };
        let at_once = force || pod.record.node.is_none() || pod.record.has_ended();
        if at_once {
            self.remove(name, now);
            return (DeleteOutcome::Accepted, false);
        }
        let begun = pod.record.deletion.is_some();
        if !begun {
            self.mark(name, now);
        }
        (DeleteOutcome::Accepted, !begun)
    }

    /// A deletion begins.
    pub(crate) fn mark(&mut self, name: &str, now: i64) {
        self.change(name, now, |pod| {
            pod.deletion.get_or_insert(Deletion { ends_at: now + GRACE });
        });
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, name: &str, now: i64) {
        let Some(pod) = self.pods.remove(name) else { return };
        let history = self.history.get_mut(&pod.record.uid).expect("every pod has a history");
        history.going_at.get_or_insert(now);
        history.gone_at = Some(now);
        if pod.owner == Owner::Ours
            && let Ok(machine) = name.parse()
        {
            self.log.push(Change::Deleted(machine, pod.record.uid));
        }
    }

    /// Changes one pod's record, and tells the watch and the history.
    pub(crate) fn change(&mut self, name: &str, now: i64, change: impl FnOnce(&mut PodRecord)) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        change(&mut pod.record);
        let record = pod.record.clone();
        let history = self.history.get_mut(&record.uid).expect("every pod has a history");
        if record.is_usable() {
            history.ready_at.get_or_insert(now);
        }
        if record.has_ended() || record.deletion.is_some() || record.disruption.is_some() {
            history.going_at.get_or_insert(now);
        }
        if record.is_crash_looping() {
            history.crashing_at.get_or_insert(now);
        } else if record.ready {
            history.crashing_at = None;
        }
        if pod.owner == Owner::Ours
            && let Ok(machine) = name.parse()
        {
            self.log.push(Change::Applied(machine, record));
        }
    }

    pub(crate) fn start(&mut self, name: &str, now: i64, dice: u8) {
        self.change(name, now, |pod| {
            pod.node = Some(Arc::from(format!("node-{}", dice % 3)));
            pod.phase = Phase::Running;
        });
    }

    pub(crate) fn make_ready(&mut self, name: &str, now: i64, address: u8) {
        self.change(name, now, |pod| {
            (pod.ready, pod.reason) = (true, None);
            pod.ip.get_or_insert([10, 0, 0, address].into());
        });
    }

    pub(crate) fn end(&mut self, name: &str, now: i64, why: &str) {
        self.change(name, now, |pod| {
            (pod.phase, pod.ready) = (Phase::Failed, false);
            pod.reason = Some(Reason { code: ReasonCode::Exited, message: why.into() }.into());
        });
    }

    /// GET of one name.
    pub(crate) fn look(&self, name: &str) -> LookOutcome {
        let Some(pod) = self.pods.get(name) else { return LookOutcome::Absent };
        let (uid, deleting) = (pod.record.uid, pod.record.deletion.is_some());
        match (pod.owner, name.parse::<MachineName>()) {
            (Owner::Ours, Ok(machine)) => {
                LookOutcome::Ours { uid, request: machine.request, journal: pod.record.journal, deleting }
            }
            (owner, _) => LookOutcome::Foreign { hostfactory: owner == Owner::FormerProvider, uid, deleting },
        }
    }

    /// LIST of our selector.
    pub(crate) fn list(&self) -> Vec<(MachineName, PodRecord)> {
        let ours = self.pods.iter().filter(|(_, pod)| pod.owner == Owner::Ours);
        ours.filter_map(|(name, pod)| Some((name.parse().ok()?, pod.record.clone()))).collect()
    }

    pub(crate) fn listed(&self) -> Vec<ListedPod> {
        let listed = |(name, pod): (MachineName, PodRecord)| ListedPod {
            name,
            uid: pod.uid,
            deleting: pod.deletion.is_some(),
            ended: pod.has_ended(),
        };
        self.list().into_iter().map(listed).collect()
    }

    /// The living pod of ours under that name.
    pub(crate) fn ours(&self, name: &str) -> Option<&Pod> {
        self.pods.get(name).filter(|pod| pod.owner == Owner::Ours)
    }
}
