//! The kubelets: they start, ready, fail and stop the pods bound to their nodes, as each pod's plan says.
//!
//! ```text
//! bound -> Accept (ContainerCreating) -> Run (Running, Ready) -> Strike (fate) -> Restart -> Strike ...
//!                                     -> FailPull (ErrImagePull) -> BackOffPull (ImagePullBackOff)
//! deletionTimestamp -> Stop (containers terminated, pod gone)
//! ```
//!
//! Each pod has at most one next step; a new one replaces it. Nothing of this is stored: after a restart the next step
//! follows from the pod's status again. The kubelet of a node that is not ready does nothing until the node is back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::agenda::Task;
use crate::fate::{Fate, Plan};
use crate::object::{Key, Resource, condition, text};
use crate::podstatus::{
    Condition, Containers, count_restart, set_condition, set_containers, set_init_containers, set_ready, waiting_reason,
};
use crate::world::World;

/// From the binding to the kubelet's first word.
const NOTICE: Duration = Duration::from_millis(1);
/// How long the containers of a pod live whose fate rules from the beginning.
const SHORT_LIFE: Duration = Duration::from_millis(100);
/// From ErrImagePull to ImagePullBackOff.
const PULL_RETRY: Duration = Duration::from_secs(1);
/// The first pause of a crash loop; it doubles each time.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
/// The longest pause of a crash loop.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// Pod addresses end before 10.248.0.0.
const POD_ADDRESSES: u32 = 4 << 16;

/// What the kubelets know of their pods.
#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    care: HashMap<String, Care>,
    tickets: u64,
    addresses: HashSet<u32>,
    last_address: u32,
}

#[derive(Debug, Default)]
struct Care {
    /// The ticket of the one turn that counts.
    ticket: u64,
    address: Option<u32>,
    /// The step that waits for the node to come back.
    frozen: Option<Step>,
}

/// The next thing to do with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Accept,
    Run,
    FailPull,
    BackOffPull,
    Strike(Fate),
    Restart,
    Stop,
}

/// A step of a pod's kubelet, entered in the agenda.
#[derive(Debug)]
pub(crate) struct Turn {
    key: Key,
    uid: String,
    step: Step,
    ticket: u64,
}

impl Kubelet {
    /// A pod is gone: its address is free again.
    pub(crate) fn forget(&mut self, uid: &str) {
        if let Some(address) = self.care.remove(uid).and_then(|care| care.address) {
            self.addresses.remove(&address);
        }
    }

    fn allot_address(&mut self, uid: &str) -> String {
        let care = self.care.entry(uid.to_owned()).or_default();
        let address = *care.address.get_or_insert_with(|| {
            loop {
                self.last_address = self.last_address % (POD_ADDRESSES - 1) + 1;
                // .0 and .255 of each /24 are left out, as bridges do
                let is_host = !matches!(self.last_address & 0xff, 0 | 0xff);
                if is_host && self.addresses.insert(self.last_address) {
                    return self.last_address;
                }
            }
        });
        format!("10.{}.{}.{}", 244 + (address >> 16), address >> 8 & 0xff, address & 0xff)
    }

    fn reclaim_address(&mut self, uid: &str, text: &str) {
        let mut parts = text.split('.').filter_map(|part| part.parse::<u32>().ok());
        if let (Some(10), Some(second @ 244..248), Some(third), Some(fourth)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            let address = (second - 244) << 16 | third << 8 | fourth;
            self.addresses.insert(address);
            self.care.entry(uid.to_owned()).or_default().address = Some(address);
        }
    }
}

impl World {
    /// Takes up a pod that is bound to a node: the next step follows from its plan and its status.
    pub(crate) fn adopt_pod(&mut self, pod: &Value) {
        let uid = text(pod, "/metadata/uid").to_owned();
        self.kubelet.care.entry(uid.clone()).or_default();
        let address = text(pod, "/status/podIP").to_owned();
        self.kubelet.reclaim_address(&uid, &address);
        let plan = self.plan(pod);
        let first_strike = plan.fate_after.unwrap_or(SHORT_LIFE);
        let running = pod.pointer("/status/containerStatuses/0/state/running").is_some();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            self.enter_stop(pod);
        } else if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            // over: nothing more happens until somebody deletes it
        } else if running {
            let spoiled = plan.fate == Fate::NeverReady && condition(pod, "Ready") == Some("False");
            if plan.fate.strikes() && !spoiled {
                self.enter_turn(pod, first_strike, Step::Strike(plan.fate));
            }
        } else {
            match waiting_reason(pod) {
                "" => self.enter_turn(pod, NOTICE, Step::Accept),
                "ErrImagePull" => self.enter_turn(pod, PULL_RETRY, Step::BackOffPull),
                "ImagePullBackOff" => {}
                "CrashLoopBackOff" => self.enter_turn(pod, FIRST_BACK_OFF, Step::Restart),
                _ => self.enter_start(pod, &plan),
            }
        }
    }

    /// The kubelet stops a pod whose deletion has begun (or whose grace has become shorter).
    pub(crate) fn enter_stop(&mut self, pod: &Value) {
        let plan = self.plan(pod);
        let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
        let grace = Duration::from_secs(grace);
        match plan.fate {
            Fate::StuckTerminating => self.cancel_turn(text(pod, "/metadata/uid")),
            Fate::SlowStop => self.enter_turn(pod, grace, Step::Stop),
            _ => self.enter_turn(pod, plan.stop_delay.min(grace), Step::Stop),
        }
    }

    /// A fate strikes a pod now, whatever its plan was.
    pub(crate) fn strike_now(&mut self, pod: &Value, fate: Fate) {
        let step = if fate == Fate::ImagePullFailure { Step::FailPull } else { Step::Strike(fate) };
        self.enter_turn(pod, Duration::ZERO, step);
    }

    /// The pods of a node that is ready again go on.
    pub(crate) fn thaw_pods_of(&mut self, node: &str) {
        let pods: Vec<_> = self.pods_on(node);
        for pod in pods {
            let uid = text(&pod, "/metadata/uid").to_owned();
            if let Some(step) = self.kubelet.care.get_mut(&uid).and_then(|care| care.frozen.take()) {
                self.enter_turn(&pod, NOTICE, step);
            }
        }
    }

    /// All pods bound to a node.
    pub(crate) fn pods_on(&self, node: &str) -> Vec<Value> {
        let pods = self.store.all(Resource::Pods, "");
        pods.filter(|pod| pod.field("spec.nodeName") == node).map(|pod| pod.value()).collect()
    }

    /// Does the next step with a pod, unless a later one has replaced it.
    pub(crate) fn take_turn(&mut self, turn: &Turn) {
        let Turn { key, uid, step, ticket } = turn;
        let Some(pod) = self.store.get(Resource::Pods, key).filter(|pod| pod.uid == *uid) else { return };
        let node = pod.field("spec.nodeName").to_owned();
        let ready = self.node_is_ready(&node);
        let Some(care) = self.kubelet.care.get_mut(uid).filter(|care| care.ticket == *ticket) else { return };
        if !ready {
            care.frozen = Some(*step);
            return;
        }
        match *step {
            Step::Accept => self.accept(key, uid, &node),
            Step::Run => self.run_containers(key, uid),
            Step::FailPull => self.fail_pull(key, uid),
            Step::BackOffPull => self.back_off_pull(key, uid),
            Step::Strike(fate) => self.strike(key, uid, fate),
            Step::Restart => self.restart(key, uid),
            Step::Stop => self.stop_pod(key, uid),
        }
    }

    fn plan(&self, pod: &Value) -> Plan {
        Plan::of(pod, self.settings.delays, self.random)
    }

    fn enter_turn(&mut self, pod: &Value, delay: Duration, step: Step) {
        let uid = text(pod, "/metadata/uid").to_owned();
        let key = Key::new(text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        self.kubelet.tickets += 1;
        let ticket = self.kubelet.tickets;
        let care = self.kubelet.care.entry(uid.clone()).or_default();
        (care.ticket, care.frozen) = (ticket, None);
        self.agenda.enter(delay, Task::Kubelet(Turn { key, uid, step, ticket }));
    }

    fn cancel_turn(&mut self, uid: &str) {
        if let Some(care) = self.kubelet.care.get_mut(uid) {
            (care.ticket, care.frozen) = (0, None);
        }
    }

    fn enter_start(&mut self, pod: &Value, plan: &Plan) {
        let step = if plan.fate == Fate::ImagePullFailure { Step::FailPull } else { Step::Run };
        self.enter_turn(pod, plan.start_delay, step);
    }

    fn accept(&mut self, key: &Key, uid: &str, node: &str) {
        let now = self.clock.stamp();
        let host = self.node_address(node);
        let accepted = self.update_pod(key, uid, |pod| {
            set_init_containers(pod, false, &now);
            set_condition(pod, &Condition::new("PodReadyToStartContainers", "False"), &now);
            set_ready(pod, false, "ContainersNotReady", &now);
            pod["status"]["hostIP"] = host.clone().into();
            pod["status"]["hostIPs"] = json!([{"ip": host}]);
            pod["status"]["startTime"] = now.clone().into();
            let waiting = Containers::Waiting { reason: "ContainerCreating", message: String::new() };
            set_containers(pod, &waiting, &now);
        });
        if let Some(pod) = accepted {
            let plan = self.plan(&pod);
            self.enter_start(&pod, &plan);
        }
    }

    fn run_containers(&mut self, key: &Key, uid: &str) {
        let now = self.clock.stamp();
        let address = self.kubelet.allot_address(uid);
        let Some(plan) = self.store.get(Resource::Pods, key).map(|pod| self.plan(&pod.value())) else { return };
        let ready = plan.becomes_ready();
        let running = self.update_pod(key, uid, |pod| {
            set_init_containers(pod, true, &now);
            set_condition(pod, &Condition::new("PodReadyToStartContainers", "True"), &now);
            set_containers(pod, &Containers::Running { ready }, &now);
            set_ready(pod, ready, if ready { "" } else { "ContainersNotReady" }, &now);
            pod["status"]["phase"] = "Running".into();
            pod["status"]["podIP"] = address.clone().into();
            pod["status"]["podIPs"] = json!([{"ip": address}]);
        });
        let spoiled = plan.fate == Fate::NeverReady && !ready;
        if let Some(pod) = running
            && plan.fate.strikes()
            && !spoiled
        {
            self.enter_turn(&pod, plan.fate_after.unwrap_or(SHORT_LIFE), Step::Strike(plan.fate));
        }
    }

    fn fail_pull(&mut self, key: &Key, uid: &str) {
        let failed = self.wait_for_image(key, uid, "ErrImagePull", pull_error);
        if let Some(pod) = failed {
            let message = format!("Failed to pull image {:?}: {}", first_image(&pod), pull_error(first_image(&pod)));
            self.warn(&pod, "kubelet", "Failed", &message);
            self.enter_turn(&pod, PULL_RETRY, Step::BackOffPull);
        }
    }

    fn back_off_pull(&mut self, key: &Key, uid: &str) {
        let message = |image: &str| format!("Back-off pulling image {image:?}: ErrImagePull: {}", pull_error(image));
        if let Some(pod) = self.wait_for_image(key, uid, "ImagePullBackOff", message) {
            self.warn(&pod, "kubelet", "BackOff", &format!("Back-off pulling image {:?}", first_image(&pod)));
        }
    }

    fn wait_for_image(
        &mut self,
        key: &Key,
        uid: &str,
        reason: &'static str,
        message: impl Fn(&str) -> String,
    ) -> Option<Value> {
        let now = self.clock.stamp();
        // the pod has its address before its images are there
        let address = self.kubelet.allot_address(uid);
        self.update_pod(key, uid, |pod| {
            let message = message(first_image(pod));
            pod["status"]["podIP"] = address.clone().into();
            pod["status"]["podIPs"] = json!([{"ip": address}]);
            set_condition(pod, &Condition::new("PodReadyToStartContainers", "True"), &now);
            set_containers(pod, &Containers::Waiting { reason, message }, &now);
            set_ready(pod, false, "ContainersNotReady", &now);
        })
    }

    fn strike(&mut self, key: &Key, uid: &str, fate: Fate) {
        match fate {
            Fate::Exit(0) => self.end_pod(key, uid, "Succeeded", 0, "Completed"),
            Fate::Exit(code) => self.end_pod(key, uid, "Failed", code, "Error"),
            Fate::OutOfMemory => self.end_pod(key, uid, "Failed", 137, "OOMKilled"),
            Fate::CrashLoop => self.crash(key, uid),
            Fate::NeverReady => {
                let now = self.clock.stamp();
                self.update_pod(key, uid, |pod| {
                    set_containers(pod, &Containers::Running { ready: false }, &now);
                    set_ready(pod, false, "ContainersNotReady", &now);
                });
            }
            Fate::Healthy
            | Fate::NeverScheduled
            | Fate::ImagePullFailure
            | Fate::SlowStart
            | Fate::SlowStop
            | Fate::StuckTerminating => {}
        }
    }

    fn end_pod(&mut self, key: &Key, uid: &str, phase: &str, exit_code: u8, reason: &'static str) {
        let now = self.clock.stamp();
        self.update_pod(key, uid, |pod| {
            set_containers(pod, &Containers::Terminated { exit_code, reason }, &now);
            set_ready(pod, false, if phase == "Succeeded" { "PodCompleted" } else { "PodFailed" }, &now);
            pod["status"]["phase"] = phase.into();
        });
    }

    fn crash(&mut self, key: &Key, uid: &str) {
        let now = self.clock.stamp();
        let mut pause = FIRST_BACK_OFF;
        let crashed = self.update_pod(key, uid, |pod| {
            count_restart(pod, 1, &now);
            let restarts = pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64).unwrap_or(1);
            let doublings = u32::try_from(restarts.saturating_sub(1)).unwrap_or(u32::MAX).min(5);
            pause = (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(LONGEST_BACK_OFF);
            let message = format!(
                "back-off {} restarting failed container={} pod={}_{}({uid})",
                go_duration(pause),
                text(pod, "/spec/containers/0/name"),
                key.name,
                key.namespace
            );
            set_containers(pod, &Containers::Waiting { reason: "CrashLoopBackOff", message }, &now);
            set_ready(pod, false, "ContainersNotReady", &now);
        });
        if let Some(pod) = crashed {
            let message = text(&pod, "/status/containerStatuses/0/state/waiting/message");
            self.warn(&pod, "kubelet", "BackOff", message);
            self.enter_turn(&pod, pause, Step::Restart);
        }
    }

    fn restart(&mut self, key: &Key, uid: &str) {
        let now = self.clock.stamp();
        let running = self.update_pod(key, uid, |pod| {
            set_containers(pod, &Containers::Running { ready: false }, &now);
        });
        if let Some(pod) = running {
            self.enter_turn(&pod, SHORT_LIFE, Step::Strike(Fate::CrashLoop));
        }
    }

    fn stop_pod(&mut self, key: &Key, uid: &str) {
        let killed =
            self.store.get(Resource::Pods, key).is_some_and(|pod| self.plan(&pod.value()).fate == Fate::SlowStop);
        let now = self.clock.stamp();
        self.update_pod(key, uid, |pod| {
            if pod.pointer("/status/containerStatuses/0/state/running").is_some() {
                let (exit_code, reason) = if killed { (137, "Error") } else { (0, "Completed") };
                set_containers(pod, &Containers::Terminated { exit_code, reason }, &now);
                set_ready(pod, false, if killed { "PodFailed" } else { "PodCompleted" }, &now);
                pod["status"]["phase"] = if killed { "Failed" } else { "Succeeded" }.into();
            }
        });
        self.erase_pod(key);
    }
}

fn first_image(pod: &Value) -> &str {
    text(pod, "/spec/containers/0/image")
}

fn pull_error(image: &str) -> String {
    format!("failed to pull and unpack image {image:?}: failed to resolve reference {image:?}: {image}: not found")
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
fn go_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}
