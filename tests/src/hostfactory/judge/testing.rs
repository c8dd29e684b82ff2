//! Fabricated histories for the tests of the judge: calls, replies and pods at made-up times, one second apart.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Bounds, Claim, Judge, Look, Settled};
use crate::hostfactory::{
    call::{Call, Outcome, Verb},
    clock::{Moment, Span},
    contract::Answer,
    options::Disturbance,
    pods::PodView,
    rule::Lie,
};

/// The request that tests ask for.
pub(crate) const R: &str = "aaaaaaaaaaaaaaaa";
/// The wall's time at the run's start.
pub(crate) const WALL: i64 = 1_700_000_000;

/// A call from one second to another.
pub(crate) fn call(verb: Verb, input: Value, (begun, ended): (u64, u64)) -> Call {
    let wall = |second: u64| WALL + i64::try_from(second).expect("a small number");
    Call {
        number: 1,
        verb,
        input,
        span: Span { begun: Duration::from_secs(begun), ended: Duration::from_secs(ended) },
        wall: (wall(begun), wall(ended)),
        outcome: Outcome::Ended(Some(0)),
        stdout: Vec::new(),
        stderr: Vec::new(),
    }
}

/// A file of HostFactory's real traffic.
pub(crate) fn payload(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("payloads").join(name);
    let text = std::fs::read_to_string(&file).expect("the payloads are part of the tree");
    serde_json::from_str(&text).expect("a payload is JSON")
}

/// Name of the request's machine.
pub(crate) fn name(ordinal: usize) -> String {
    format!("{R}-{ordinal:05}")
}

fn machine(ordinal: usize, result: &str, status: &str) -> Value {
    json!({
        "machineId": "", "name": name(ordinal), "result": result, "status": status, "privateIpAddress": "",
        "publicIpAddress": "", "launchtime": WALL, "message": "",
    })
}

/// A machine without a pod.
pub(crate) fn executing(ordinal: usize) -> Value {
    machine(ordinal, "executing", "running")
}

/// A machine with a pod that is not ready.
pub(crate) fn unready(ordinal: usize) -> Value {
    let mut machine = executing(ordinal);
    machine["machineId"] = json!(format!("uid-{ordinal}"));
    machine
}

/// A machine that succeeded.
pub(crate) fn ready(ordinal: usize) -> Value {
    let mut machine = unready(ordinal);
    machine["result"] = json!("succeed");
    machine["privateIpAddress"] = json!(address(ordinal));
    machine["launchtime"] = json!(WALL + 1);
    machine
}

/// A machine that failed; it keeps what was told of it before.
pub(crate) fn failed(ordinal: usize) -> Value {
    let mut machine = ready(ordinal);
    machine["result"] = json!("fail");
    machine["status"] = json!("terminated");
    machine["message"] = json!("lost");
    machine
}

/// A machine in its return.
pub(crate) fn returning(ordinal: usize) -> Value {
    let mut machine = ready(ordinal);
    machine["result"] = json!("executing");
    machine["status"] = json!("shutting-down");
    machine
}

/// A machine whose return is done.
pub(crate) fn returned(ordinal: usize) -> Value {
    let mut machine = ready(ordinal);
    machine["status"] = json!("terminated");
    machine
}

/// The answer about the request.
pub(crate) fn entry(status: &str, machines: &[Value]) -> Value {
    json!({"requestId": R, "status": status, "message": "", "machines": machines})
}

fn address(ordinal: usize) -> String {
    format!("10.0.0.{ordinal}")
}

/// A judge, the time, and the claims that are not settled.
pub(crate) struct Court {
    pub(crate) judge: Judge,
    now: u64,
    claims: Vec<Claim>,
    looks: HashMap<String, Look>,
}

impl Court {
    pub(crate) fn new() -> Self {
        let bounds = Bounds {
            view_lag: Duration::from_secs(100),
            reclaim_within: Duration::from_secs(60),
            others_disturb: false,
        };
        let judge = Judge::new(bounds, vec!["small".to_owned(), "large".to_owned()]);
        Self { judge, now: 1, claims: Vec::new(), looks: HashMap::new() }
    }

    /// After the acceptance of a request.
    pub(crate) fn with_request(count: usize) -> Self {
        let mut court = Self::new();
        court.now = 0;
        court.request(R, "small", count).expect("the request is true");
        court
    }

    /// After all machines of a request succeeded.
    pub(crate) fn with_held(count: usize) -> Self {
        let mut court = Self::with_request(count);
        (0..count).for_each(|ordinal| court.pod_ready(ordinal));
        let machines: Vec<Value> = (0..count).map(ready).collect();
        court.status(&entry("complete", &machines)).expect("all of it is true");
        court.settle().expect("all of it is true");
        court
    }

    fn reply(&mut self, verb: Verb, input: Value, (begun, ended): (u64, u64), reply: Value) -> Result<(), Lie> {
        self.judge.begin(verb, &input, Duration::from_secs(begun));
        let call = Arc::new(call(verb, input, (begun, ended)));
        self.claims.extend(self.judge.end(&call, &Answer::Reply(reply))?);
        self.now = self.now.max(ended + 1);
        Ok(())
    }

    fn next(&self) -> (u64, u64) {
        (self.now, self.now + 1)
    }

    pub(crate) fn templates(&mut self, reply: &Value) -> Result<(), Lie> {
        self.reply(Verb::GetAvailableTemplates, json!({}), self.next(), reply.clone())
    }

    pub(crate) fn request(&mut self, id: &str, template: &str, count: usize) -> Result<(), Lie> {
        let input = json!({"template": {"templateId": template, "machineCount": count}});
        self.reply(Verb::RequestMachines, input, self.next(), json!({"message": "", "requestId": id}))
    }

    /// A request whose reply nobody read.
    pub(crate) fn lost_request(&mut self, count: usize) {
        let input = json!({"template": {"templateId": "small", "machineCount": count}});
        let call = Arc::new(call(Verb::RequestMachines, input, self.next()));
        self.judge.end(&call, &Answer::Lost).expect("a lost reply says nothing");
    }

    pub(crate) fn give_back(&mut self, id: &str, names: &[&str]) -> Result<(), Lie> {
        let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        let reply = json!({"message": "", "requestId": id});
        self.reply(Verb::RequestReturnMachines, json!({ "machines": machines }), self.next(), reply)
    }

    pub(crate) fn answers(&mut self, ids: &[&str], entries: &[Value]) -> Result<(), Lie> {
        self.answers_in(self.next(), ids, entries)
    }

    fn answers_in(&mut self, span: (u64, u64), ids: &[&str], entries: &[Value]) -> Result<(), Lie> {
        let asked: Vec<Value> = ids.iter().map(|id| json!({ "requestId": id })).collect();
        self.reply(Verb::GetRequestStatus, json!({ "requests": asked }), span, json!({ "requests": entries }))
    }

    pub(crate) fn status(&mut self, entry: &Value) -> Result<(), Lie> {
        self.answers(&[R], std::slice::from_ref(entry))
    }

    pub(crate) fn status_in(&mut self, span: (u64, u64), entry: &Value) -> Result<(), Lie> {
        self.answers_in(span, &[R], std::slice::from_ref(entry))
    }

    pub(crate) fn return_status(&mut self, id: &str, status: &str, machines: &[Value]) -> Result<(), Lie> {
        let entry = json!({"requestId": id, "status": status, "message": "", "machines": machines});
        self.answers(&[id], &[entry])
    }

    pub(crate) fn reclaim(&mut self, asked: &[&str], listed: &[&str]) -> Result<(), Lie> {
        let asked: Vec<Value> = asked.iter().map(|name| json!({ "name": name })).collect();
        let listed: Vec<Value> = listed.iter().map(|name| json!({"machine": name, "gracePeriod": 0})).collect();
        let reply = json!({"status": "complete", "message": "", "requests": listed});
        self.reply(Verb::GetReturnRequests, json!({ "machines": asked }), self.next(), reply)
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now += seconds;
    }

    fn moment(&self) -> Moment {
        Duration::from_secs(self.now)
    }

    fn view(ordinal: usize) -> PodView {
        PodView {
            name: name(ordinal),
            uid: format!("uid-{ordinal}"),
            request: R.to_owned(),
            node: "node-1".to_owned(),
            ..PodView::default()
        }
    }

    fn ready_view(ordinal: usize) -> PodView {
        PodView { ready: true, address: address(ordinal), ..Self::view(ordinal) }
    }

    /// The machine's pod appears.
    pub(crate) fn pod(&mut self, ordinal: usize) {
        self.judge.pods.observe(Self::view(ordinal), self.moment());
    }

    /// The machine's pod is Ready.
    pub(crate) fn pod_ready(&mut self, ordinal: usize) {
        self.judge.pods.observe(Self::ready_view(ordinal), self.moment());
    }

    /// The machine's pod is Ready with another address.
    pub(crate) fn pod_ready_at(&mut self, ordinal: usize, address: &str) {
        let view = PodView { address: address.to_owned(), ..Self::ready_view(ordinal) };
        self.judge.pods.observe(view, self.moment());
    }

    /// Any pod appears.
    pub(crate) fn pod_named(&mut self, name: &str, uid: &str, request: &str) {
        let view =
            PodView { name: name.to_owned(), uid: uid.to_owned(), request: request.to_owned(), ..PodView::default() };
        self.judge.pods.observe(view, self.moment());
    }

    /// The machine's pod is gone.
    pub(crate) fn lose(&mut self, ordinal: usize) {
        let at = self.moment();
        self.judge.pods.vanish(&format!("uid-{ordinal}"), at);
    }

    /// We are about to do something to the machine's pod.
    pub(crate) fn disturb(&mut self, ordinal: usize, kind: Disturbance) {
        let at = self.moment();
        self.judge.pods.disturb(&format!("uid-{ordinal}"), kind, at);
    }

    /// The watch was blind until now.
    pub(crate) fn gap(&mut self) {
        let gap = Span { begun: Duration::ZERO, ended: self.moment() };
        self.judge.pods.relist(Vec::new(), gap);
    }

    /// A look will find the machine's pod as it should be.
    pub(crate) fn look_alive(&mut self, ordinal: usize) {
        self.look(ordinal, Self::ready_view(ordinal), false);
    }

    /// A look will find the machine's pod on its way out.
    pub(crate) fn look_deleting(&mut self, ordinal: usize) {
        self.look(ordinal, PodView { deleting: true, ..Self::ready_view(ordinal) }, false);
    }

    /// A look will find the machine's node on its way out.
    pub(crate) fn look_on_leaving_node(&mut self, ordinal: usize) {
        self.look(ordinal, Self::ready_view(ordinal), true);
    }

    fn look(&mut self, ordinal: usize, view: PodView, node_leaving: bool) {
        self.looks.insert(name(ordinal), Look::There { view, node_leaving });
    }

    /// Settles all claims as when the watch has caught up; a look finds nothing unless it was set.
    pub(crate) fn settle(&mut self) -> Result<(), Lie> {
        for claim in std::mem::take(&mut self.claims) {
            if self.judge.settle(&claim, None, true)? == Settled::Look {
                let look = claim.kind.machine().and_then(|name| self.looks.get(name)).unwrap_or(&Look::Absent).clone();
                self.judge.settle(&claim, Some(&look), true)?;
            }
        }
        Ok(())
    }

    /// Audits; what takes a look is settled with the other claims.
    pub(crate) fn audit(&mut self) -> Result<(), Lie> {
        let claims = self.judge.audit()?;
        self.claims.extend(claims);
        Ok(())
    }
}
