//! The control endpoints under `/sandbox/`: everything a test or a person makes the cluster suffer. The crate's
//! documentation lists them.

use std::sync::Arc;

use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::Answer;
use crate::deletion::Grace;
use crate::fate::{FATE, Fate, NAMES};
use crate::faults::{Denial, Fault, FaultAction};
use crate::object::{Key, Resource, text};
use crate::podstatus::{Containers, set_containers, set_ready};
use crate::world::{Shared, World};

/// A problem: status and message.
type Problem = (u16, String);

/// The body of the endpoints that switch something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

/// What can be done to one pod.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodChange {
    phase: Option<String>,
    ready: Option<bool>,
    fate: Option<String>,
    /// `now` or `graceful`.
    delete: Option<String>,
    annotations: Option<Map<String, Value>>,
    /// The reason of a DisruptionTarget condition.
    disruption: Option<String>,
}

/// Answers a control request.
pub(crate) fn answer(shared: &Arc<Shared>, method: &Method, path: &str, query: &str, body: &Bytes) -> Answer {
    let segments: Vec<_> = path.trim_matches('/').split('/').skip(1).collect();
    match route(shared, method, &segments, query, body) {
        Ok(value) => Answer::json(200, &value),
        Err((code, message)) => Answer::json(code, &json!({"error": message})),
    }
}

fn route(shared: &Shared, method: &Method, path: &[&str], query: &str, body: &Bytes) -> Result<Value, Problem> {
    let done = || Ok(json!({}));
    match (method.as_str(), path) {
        ("GET", ["counters"]) => Ok(shared.with(|world| json!(world.counters))),
        ("POST", ["counters", "reset"]) => {
            shared.with(|world| world.counters.clear());
            done()
        }
        (_, ["faults", rest @ ..]) => faults(shared, method, rest, body),
        ("POST", ["deny"]) => {
            let denial: Denial = read(body)?;
            shared.with(|world| world.denials.push(denial));
            done()
        }
        ("DELETE", ["deny"]) => {
            shared.with(|world| world.denials.clear());
            done()
        }
        ("POST", ["nodes", name, "lose"]) => found(shared.with(|world| world.lose_node(name).is_some()), "node", name),
        ("POST", ["nodes", name, "notready"]) => found(shared.with(|world| world.node_not_ready(name)), "node", name),
        ("POST", ["nodes", name, "ready"]) => found(shared.with(|world| world.node_ready(name)), "node", name),
        ("POST", ["pods", namespace, name]) => {
            let change: PodChange = read(body)?;
            shared.with(|world| change_pod(world, &Key::new(*namespace, *name), &change))
        }
        ("POST", ["namespaces", name, "recreate"]) => {
            found(shared.with(|world| world.recreate_namespace(name)), "namespace", name)
        }
        ("POST", ["watch", "compact"]) => {
            shared.with(|world| world.store.compact());
            done()
        }
        ("POST", ["watch", "cut"]) => {
            shared.switches.send_modify(|switches| switches.cuts += 1);
            done()
        }
        ("POST", [switch @ ("outage" | "unauthorized")] | ["watch", switch @ "silence"]) => {
            let Switch { on } = read(body)?;
            shared.switches.send_modify(|switches| match *switch {
                "outage" => switches.outage = on,
                "unauthorized" => switches.unauthorized = on,
                _ => switches.silence = on,
            });
            done()
        }
        ("GET", ["history"]) if matches!(query, "" | "resource=pods") => Ok(shared.with(|world| history(world))),
        ("GET", ["history"]) => Err((400, format!("history is kept of pods only, not for {query:?}"))),
        _ => Err((404, format!("the sandbox has no {method} /sandbox/{}", path.join("/")))),
    }
}

fn faults(shared: &Shared, method: &Method, path: &[&str], body: &Bytes) -> Result<Value, Problem> {
    match (method.as_str(), path) {
        ("GET", []) => Ok(shared.with(|world| json!(world.faults.list()))),
        ("POST", []) => {
            let fault: Fault = read(body)?;
            check(&fault)?;
            Ok(json!({"id": shared.with(|world| world.faults.inject(fault))}))
        }
        ("DELETE", []) => {
            shared.with(|world| world.faults.clear());
            Ok(json!({}))
        }
        ("DELETE", [id]) => {
            let id = id.parse().map_err(|_| (400, format!("{id:?} is no fault number")))?;
            found(shared.with(|world| world.faults.remove(id)), "fault", &id.to_string())
        }
        _ => Err((404, format!("the sandbox has no {method} /sandbox/faults/{}", path.join("/")))),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| (400, format!("the body cannot be read: {error}")))
}

fn found(found: bool, what: &str, name: &str) -> Result<Value, Problem> {
    if found { Ok(json!({})) } else { Err((404, format!("no {what} {name:?}"))) }
}

/// Refuses faults that could never be carried out.
fn check(fault: &Fault) -> Result<(), Problem> {
    match &fault.action {
        FaultAction::Status(status) | FaultAction::StatusAfter(status) if !(200..=599).contains(&status.code) => {
            Err((400, format!("{} is no final HTTP status", status.code)))
        }
        _ => Ok(()),
    }
}

fn change_pod(world: &mut World, key: &Key, change: &PodChange) -> Result<Value, Problem> {
    let missing = || (404, format!("no pod {:?} in {:?}", key.name, key.namespace));
    let uid = world.store.get(Resource::Pods, key).ok_or_else(missing)?.uid.clone();
    let fate = match change.fate.as_deref() {
        None | Some("") => None,
        Some(name) => {
            let fate =
                Fate::parse(name).ok_or_else(|| (400, format!("no fate {name:?}: the sandbox knows {NAMES}")))?;
            Some((name, fate))
        }
    };
    let now = world.clock.stamp();
    let changed = world.update_pod(key, &uid, |pod| {
        for (name, value) in change.annotations.iter().flatten() {
            pod["metadata"]["annotations"][name] = value.clone();
        }
        if let Some((name, _)) = fate {
            pod["metadata"]["annotations"][FATE] = name.into();
        } else if change.fate.is_some()
            && let Some(annotations) = pod["metadata"]["annotations"].as_object_mut()
        {
            annotations.remove(FATE);
        }
        if let Some(phase) = &change.phase {
            pod["status"]["phase"] = phase.clone().into();
        }
        if let Some(ready) = change.ready {
            if pod.pointer("/status/containerStatuses/0/state/running").is_some() {
                set_containers(pod, &Containers::Running { ready }, &now);
            }
            set_ready(pod, ready, if ready { "" } else { "ContainersNotReady" }, &now);
        }
    });
    let pod = changed.ok_or_else(missing)?;
    if let Some(reason) = &change.disruption {
        world.disrupt(key, &uid, reason, "the sandbox was asked for this disruption", false);
    }
    if let Some((_, fate)) = fate
        && !text(&pod, "/spec/nodeName").is_empty()
        && (fate.strikes() || fate == Fate::ImagePullFailure)
    {
        world.strike_now(&pod, fate);
    }
    match change.delete.as_deref() {
        None => {}
        Some("now") => {
            world.delete_pod(key, Grace::Seconds(0));
        }
        Some("graceful") => {
            world.delete_pod(key, Grace::OfThePod);
        }
        Some(other) => return Err((400, format!("delete is \"now\" or \"graceful\", not {other:?}"))),
    }
    Ok(json!({}))
}

/// What is remembered of every pod name.
fn history(world: &World) -> Value {
    let mut names = Map::new();
    for (key, past, exists) in world.store.pod_names() {
        names.insert(
            key.name.clone(),
            json!({
                "namespace": key.namespace, "created": past.created, "firstUid": past.first_uid,
                "lastUid": past.last_uid, "everReady": past.ever_ready, "exists": exists
            }),
        );
    }
    Value::Object(names)
}
