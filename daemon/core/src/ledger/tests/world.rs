//! A cluster, a watch and a journal for the ledger, all in one thread and at the test's command.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    answer,
    change::{Change, Meta, Restored},
    clock::Now,
    id::{JournalId, MachineName, PodUid, RequestId},
    ledger::{
        Action, AtRisk, Call, CallEnd, Denied, Ledger, Needs, NewRequest, NewReturn, ReturnedMachine, TemplateTerms,
    },
    outcome::{CreateOutcome, DeleteOutcome, ListOutcome, ListedPod, LookOutcome, NamespaceOutcome},
    pod::{Deletion, Phase, PodRecord},
    policy::Policy,
    queue::Target,
    request::{Caller, Key, MachineRequest},
    returns::ReturnRequest,
    view::{Ctx, PodView, RebuildFacts},
};

pub(super) const OUR_JOURNAL: JournalId = JournalId([7; 8]);
pub(super) const NAMESPACE: PodUid = PodUid::from_bytes([9; 16]);

/// Wall time at which every world begins.
const START: i64 = 1_000_000;

/// The pod cache.
#[derive(Default)]
pub(super) struct Cache(pub(super) RefCell<BTreeMap<MachineName, PodRecord>>);

impl PodView for Cache {
    fn pod(&self, name: MachineName) -> Option<PodRecord> {
        self.0.borrow().get(&name).cloned()
    }

    fn names(&self) -> Vec<MachineName> {
        self.0.borrow().keys().copied().collect()
    }

    fn facts(&self, _: RequestId) -> Option<RebuildFacts> {
        // Every request of a world tells that it was accepted at the world's start.
        Some(RebuildFacts { accepted_at: Some(START), ..RebuildFacts::default() })
    }
}

/// How creates are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Creates {
    Work,
    /// The pod is created, the answer is lost.
    AnswerLost,
    /// Neither: the POST is still under way somewhere.
    Vanish,
    Refused,
    NotDone,
    /// 409, though there is no pod of the name.
    SaysExists,
}

/// The journal's own facts, and what was made durable.
type Journal = (Meta, BTreeMap<RequestId, Arc<MachineRequest>>, BTreeMap<RequestId, Arc<ReturnRequest>>);

pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) cache: Cache,
    /// What really runs; strangers are in `strangers`.
    pub(super) cluster: BTreeMap<MachineName, PodRecord>,
    pub(super) strangers: BTreeSet<String>,
    pub(super) now: Now,
    pub(super) creates: Creates,
    pub(super) deletes_refused: bool,
    /// What is answered when the ledger asks for the namespace.
    pub(super) namespace: NamespaceOutcome,
    /// What is asked about the namespace is answered within the step.
    pub(super) namespace_at_once: bool,
    /// Commits fail for lack of room.
    pub(super) disk_full: bool,
    /// The watch delivers.
    pub(super) watching: bool,
    /// Every call in the order sent.
    pub(super) sent: Vec<String>,
    /// What the journal holds.
    journal: Journal,
    pub(super) policy: Policy,
    next_uid: u32,
    next_id: u8,
}

impl World {
    /// A world that is synced and serves.
    pub(super) fn new() -> Self {
        let mut world = Self::unseen();
        world.sync();
        world
    }

    /// A world whose cluster was not seen yet.
    pub(super) fn unseen() -> Self {
        let meta = Meta { id: OUR_JOURNAL, namespace: None, adopted_journals: Vec::new(), alive_at: START };
        let policy = Policy::default();
        let now = Now { mono: Duration::ZERO, wall: START };
        let restored = Restored { meta: meta.clone(), requests: Vec::new(), returns: Vec::new() };
        Self {
            ledger: Ledger::new(restored, policy.clone(), now),
            cache: Cache::default(),
            cluster: BTreeMap::new(),
            strangers: BTreeSet::new(),
            now,
            creates: Creates::Work,
            deletes_refused: false,
            namespace: NamespaceOutcome::Known(NAMESPACE),
            namespace_at_once: false,
            disk_full: false,
            watching: false,
            sent: Vec::new(),
            journal: (meta, BTreeMap::new(), BTreeMap::new()),
            policy,
            next_uid: 1,
            next_id: 1,
        }
    }

    /// One step of the ledger.
    pub(super) fn step<T>(&mut self, step: impl FnOnce(&mut Ledger, Ctx<'_>) -> T) -> T {
        let ctx = Ctx { now: self.now, pods: &self.cache };
        let done = step(&mut self.ledger, ctx);
        if self.namespace_at_once {
            self.ledger.namespace_seen(ctx, &self.namespace);
        }
        done
    }

    /// Namespace answered, pods listed, stream fresh.
    pub(super) fn sync(&mut self) {
        self.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
        self.relist();
        self.step(|ledger, ctx| ledger.freshness(ctx, true));
        self.settle();
    }

    /// A whole LIST.
    pub(super) fn relist(&mut self) {
        self.list_begins();
        self.list_ends();
    }

    pub(super) fn list_begins(&mut self) {
        self.watching = false;
        self.step(|ledger, ctx| ledger.list_began(ctx));
    }

    pub(super) fn list_ends(&mut self) {
        self.list_ends_with(self.cluster.clone());
    }

    /// The LIST is delivered; it was read when `cluster` was the truth.
    pub(super) fn list_ends_with(&mut self, cluster: BTreeMap<MachineName, PodRecord>) {
        let swept: Vec<_> = self.cache.0.borrow().keys().filter(|name| !cluster.contains_key(name)).copied().collect();
        let names: Vec<_> = cluster.keys().copied().collect();
        *self.cache.0.borrow_mut() = cluster;
        self.watching = true;
        self.step(|ledger, ctx| ledger.pods_seen(ctx, &names));
        self.step(|ledger, ctx| ledger.list_done(ctx, &swept));
    }

    /// The watch delivers what the cluster has.
    pub(super) fn deliver(&mut self) -> bool {
        if !self.watching {
            return false;
        }
        let mut names: BTreeSet<_> = self.cluster.keys().copied().collect();
        names.extend(self.cache.0.borrow().keys());
        let changed: Vec<_> =
            names.into_iter().filter(|name| self.cluster.get(name) != self.cache.0.borrow().get(name)).collect();
        *self.cache.0.borrow_mut() = self.cluster.clone();
        self.step(|ledger, ctx| ledger.pods_seen(ctx, &changed));
        !changed.is_empty()
    }

    /// The watch delivers what the cluster has of one name.
    pub(super) fn deliver_one(&mut self, name: MachineName) {
        if !self.watching {
            return;
        }
        match self.cluster.get(&name) {
            Some(pod) => drop(self.cache.0.borrow_mut().insert(name, pod.clone())),
            None => drop(self.cache.0.borrow_mut().remove(&name)),
        }
        self.step(|ledger, ctx| ledger.pods_seen(ctx, &[name]));
    }

    /// The watch writes the cache; the ledger has not heard of it yet.
    pub(super) fn cache_follows(&self) {
        *self.cache.0.borrow_mut() = self.cluster.clone();
    }

    /// Commits what is decided.
    pub(super) fn commit(&mut self) {
        if !self.ledger.has_changes() {
            return;
        }
        let batch = self.ledger.take_batch();
        if self.disk_full {
            return self.ledger.roll_back(self.now);
        }
        for change in &batch.changes {
            if let Change::Meta(meta) = change {
                self.journal.0 = meta.clone();
            }
        }
        for (id, request) in &batch.requests {
            match request {
                Some(request) => drop(self.journal.1.insert(*id, request.clone())),
                None => drop(self.journal.1.remove(id)),
            }
        }
        for (id, request) in &batch.returns {
            match request {
                Some(request) => drop(self.journal.2.insert(*id, request.clone())),
                None => drop(self.journal.2.remove(id)),
            }
        }
        self.step(|ledger, ctx| ledger.committed(ctx, &batch));
    }

    /// Commits, makes calls and delivers until nothing more happens.
    pub(super) fn settle(&mut self) {
        for _ in 0..1000 {
            self.commit();
            let answered = self.answer_needs();
            let Some(call) = self.step(|ledger, ctx| ledger.next_call(ctx)) else {
                if !self.deliver() && !self.ledger.has_changes() && !answered {
                    return;
                }
                continue;
            };
            self.perform(&call);
        }
        panic!("the ledger never comes to rest: {:?}", &self.sent[self.sent.len() - 10..]);
    }

    pub(super) fn answer_needs(&mut self) -> bool {
        let needs = self.ledger.take_needs();
        if needs.namespace {
            let namespace = self.namespace.clone();
            self.step(|ledger, ctx| ledger.namespace_seen(ctx, &namespace));
        }
        if needs.list {
            self.sent.push("LIST".into());
            let listed = |(name, pod): (&MachineName, &PodRecord)| ListedPod {
                name: *name,
                uid: pod.uid,
                deleting: pod.deletion.is_some(),
                ended: pod.has_ended(),
            };
            let pods = self.cluster.iter().map(listed).collect();
            self.step(|ledger, ctx| ledger.guard_listed(ctx, ListOutcome::Pods(pods)));
        }
        if needs.relist {
            self.sent.push("RELIST".into());
            self.relist();
        }
        needs != Needs::default()
    }

    fn perform(&mut self, call: &Call) {
        let end = match (&call.target, &call.action) {
            (Target::Machine(name), Action::Create(_)) => CallEnd::Create(self.create(*name)),
            (Target::Machine(name), Action::Delete { uid, .. }) => CallEnd::Delete(self.delete(*name, *uid)),
            (Target::Machine(name), Action::Look) => {
                self.sent.push(format!("GET {name}"));
                CallEnd::Look(self.look(*name))
            }
            (Target::Name(name), Action::Look) => {
                self.sent.push(format!("GET {name}"));
                CallEnd::Look(match self.strangers.contains(&**name) {
                    true => LookOutcome::Foreign {
                        hostfactory: name.starts_with("old"),
                        uid: PodUid::from_bytes([200; 16]),
                        deleting: false,
                    },
                    false => LookOutcome::Absent,
                })
            }
            (Target::Name(name), _) => {
                self.sent.push(format!("DELETE {name}"));
                CallEnd::Delete(if self.deletes_refused {
                    DeleteOutcome::Refused("forbidden".into())
                } else {
                    self.strangers.remove(&**name);
                    DeleteOutcome::Accepted
                })
            }
        };
        let (target, slot) = (call.target.clone(), call.slot.clone());
        self.step(|ledger, ctx| ledger.call_ended(ctx, &target, &slot, end));
    }

    fn create(&mut self, name: MachineName) -> CreateOutcome {
        self.sent.push(format!("POST {name}"));
        let not_done =
            crate::outcome::NotDone { why: "connection refused".into(), retry_after: None, throttled: false };
        match self.creates {
            Creates::Vanish => return CreateOutcome::Ambiguous("time-out".into()),
            Creates::Refused => {
                let message = "exceeded quota: pods=10".into();
                return CreateOutcome::Refused { kind: crate::outcome::RefusalKind::Quota, message };
            }
            Creates::NotDone => return CreateOutcome::NotDone(not_done),
            Creates::SaysExists => return CreateOutcome::AlreadyExists,
            Creates::Work | Creates::AnswerLost => {}
        }
        if self.cluster.contains_key(&name) || self.strangers.contains(&name.to_string()) {
            return CreateOutcome::AlreadyExists;
        }
        let uid = self.land(name);
        match self.creates {
            Creates::AnswerLost => CreateOutcome::Ambiguous("connection reset".into()),
            _ => CreateOutcome::Created(uid),
        }
    }

    /// A pod of that name comes into being, as a late POST of ours would make it.
    pub(super) fn land(&mut self, name: MachineName) -> PodUid {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.next_uid.to_be_bytes());
        let uid = PodUid::from_bytes(bytes);
        self.next_uid += 1;
        self.cluster.insert(name, pending(uid));
        uid
    }

    fn delete(&mut self, name: MachineName, uid: PodUid) -> DeleteOutcome {
        self.sent.push(format!("DELETE {name}"));
        if self.deletes_refused {
            return DeleteOutcome::Refused("forbidden".into());
        }
        match self.cluster.get(&name) {
            Some(pod) if pod.uid == uid => {
                self.cluster.remove(&name);
                DeleteOutcome::Accepted
            }
            _ => DeleteOutcome::Gone,
        }
    }

    pub(super) fn look(&self, name: MachineName) -> LookOutcome {
        if self.strangers.contains(&name.to_string()) {
            return LookOutcome::Foreign { hostfactory: false, uid: PodUid::from_bytes([200; 16]), deleting: false };
        }
        self.cluster.get(&name).map_or(LookOutcome::Absent, |pod| LookOutcome::Ours {
            uid: pod.uid,
            request: name.request,
            journal: pod.journal,
            deleting: pod.deletion.is_some(),
        })
    }

    // --- callers

    pub(super) fn fresh_id(&mut self) -> RequestId {
        self.next_id += 1;
        RequestId::from_random([self.next_id; 10])
    }

    /// requestMachines, decided but not committed.
    pub(super) fn try_request(&mut self, count: u32, max: Option<u32>, key: Option<&str>) -> Result<RequestId, Denied> {
        let id = self.fresh_id();
        let body = [u8::try_from(count % 251).unwrap_or(0); 32];
        let new = NewRequest {
            id,
            template: TemplateTerms {
                id: "T".parse().expect("a template id"),
                max,
                ready_deadline: Duration::from_secs(300),
                manifest: [1; 32],
                body: "{}".into(),
            },
            count,
            key: key.map(|text| Key { text: text.into(), body }),
            caller: Caller::default(),
        };
        self.step(|ledger, ctx| ledger.request_machines(ctx, new))
    }

    /// requestMachines, and all that follows at once.
    pub(super) fn request(&mut self, count: u32) -> RequestId {
        let id = self.try_request(count, None, None).expect("accepted");
        self.settle();
        id
    }

    /// requestMachines until all pods are ready.
    pub(super) fn request_ready(&mut self, count: u32) -> RequestId {
        let id = self.request(count);
        self.all_ready();
        id
    }

    /// requestReturnMachines, decided but not committed.
    pub(super) fn try_return(&mut self, names: &[String]) -> RequestId {
        let id = self.fresh_id();
        let machines =
            names.iter().map(|name| ReturnedMachine { name: name.as_str().into(), machine_id: None }).collect();
        let new = NewReturn { id, machines, key: None, caller: Caller::default() };
        self.step(|ledger, ctx| ledger.return_machines(ctx, new)).expect("an id is always answered")
    }

    pub(super) fn return_names(&mut self, names: &[String]) -> RequestId {
        let id = self.try_return(names);
        self.settle();
        id
    }

    pub(super) fn return_machines(&mut self, names: &[MachineName]) -> RequestId {
        self.return_names(&names.iter().map(MachineName::to_string).collect::<Vec<_>>())
    }

    // --- the cluster's life

    pub(super) fn all_ready(&mut self) {
        for pod in self.cluster.values_mut().filter(|pod| !pod.has_ended()) {
            (pod.ready, pod.phase, pod.ip) = (true, Phase::Running, Some([10, 0, 0, 1].into()));
        }
        self.settle();
    }

    pub(super) fn change_pod(&mut self, name: MachineName, change: impl FnOnce(&mut PodRecord)) {
        change(self.cluster.get_mut(&name).expect("the pod exists"));
        self.settle();
    }

    pub(super) fn remove_pod(&mut self, name: MachineName) {
        self.cluster.remove(&name);
        self.settle();
    }

    pub(super) fn evict(&mut self, name: MachineName, grace: i64) {
        let ends_at = self.now.wall + grace;
        self.change_pod(name, |pod| pod.deletion = Some(Deletion { ends_at }));
    }

    // --- time

    /// Time passes; the cluster is not asked for anything.
    pub(super) fn pass_blindly(&mut self, seconds: u64) {
        self.now.mono += Duration::from_secs(seconds);
        self.now.wall += i64::try_from(seconds).expect("a short time");
        let polled = Some(self.now.mono);
        self.step(|ledger, ctx| ledger.tick(ctx, polled));
        self.commit();
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.pass_blindly(seconds);
        self.settle();
    }

    /// kill -9 and a start from the journal; `down` seconds pass in between.
    pub(super) fn crash(&mut self, down: i64) {
        let (meta, requests, returns) = &self.journal;
        let restored = Restored {
            meta: meta.clone(),
            requests: requests.values().map(|request| (**request).clone()).collect(),
            returns: returns.values().map(|request| (**request).clone()).collect(),
        };
        self.now = Now { mono: Duration::ZERO, wall: self.now.wall + down };
        self.ledger = Ledger::new(restored, self.policy.clone(), self.now);
        self.cache = Cache::default();
        self.watching = false;
        self.step(|ledger, ctx| ledger.resume(ctx));
    }

    /// The journal is deleted, too.
    pub(super) fn lose_journal(&mut self) {
        self.journal.0 =
            Meta { id: JournalId([8; 8]), namespace: None, adopted_journals: Vec::new(), alive_at: self.now.wall };
        self.journal.1.clear();
        self.journal.2.clear();
        self.crash(1);
    }

    // --- what is told

    pub(super) fn told(&self, id: RequestId) -> String {
        let request = self.journal.1.get(&id).expect("a durable request");
        let answer = answer::machine_request(request, self.now.wall);
        summary(&answer)
    }

    pub(super) fn told_return(&self, id: RequestId) -> String {
        let request = self.journal.2.get(&id).expect("a durable return");
        let answer = answer::return_request(request, &NoTrouble, self.now.wall);
        summary(&answer)
    }

    pub(super) fn message(&self, name: MachineName) -> String {
        let answer = answer::machine_request(&self.journal.1[&name.request], self.now.wall);
        answer.machines[name.ordinal as usize].message.to_string()
    }

    pub(super) fn request_of(&self, id: RequestId) -> &MachineRequest {
        &self.journal.1[&id]
    }

    /// The request is durable.
    pub(super) fn knows(&self, id: RequestId) -> bool {
        self.journal.1.contains_key(&id)
    }

    /// A durable return.
    pub(super) fn return_of(&self, id: RequestId) -> Option<&ReturnRequest> {
        self.journal.2.get(&id).map(|request| &**request)
    }

    pub(super) fn at_risk(&self, name: MachineName) -> Option<AtRisk> {
        self.ledger.at_risk.get(&name).copied()
    }

    pub(super) fn count_sent(&self, verb: &str) -> usize {
        self.sent.iter().filter(|sent| sent.starts_with(verb)).count()
    }
}

struct NoTrouble;

impl answer::Committed for NoTrouble {
    fn request(&self, _: RequestId) -> Option<Arc<MachineRequest>> {
        None
    }

    fn return_request(&self, _: RequestId) -> Option<Arc<ReturnRequest>> {
        None
    }

    fn at_risk(&self, _: MachineName) -> Option<AtRisk> {
        None
    }

    fn all_at_risk(&self) -> Vec<(MachineName, AtRisk)> {
        Vec::new()
    }

    fn trouble(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}

pub(super) fn machine(request: RequestId, ordinal: u32) -> MachineName {
    MachineName { request, ordinal }
}

pub(super) fn pending(uid: PodUid) -> PodRecord {
    PodRecord {
        uid,
        journal: Some(OUR_JOURNAL),
        created: 1,
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

/// `complete: succeed 3` and the like.
fn summary(answer: &proto_schema::hostfactory::RequestStatus) -> String {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for machine in &answer.machines {
        *counts.entry(format!("{:?}", machine.result).to_lowercase()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(result, count)| format!("{result} {count}")).collect();
    format!("{:?}: {}", answer.status, counts.join(", "))
}
