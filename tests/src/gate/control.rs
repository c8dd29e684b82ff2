//! The control endpoints under `/sandbox/`. What concerns connections, counting and the past of the pods is the gate's
//! own; what changes the cluster is its site's.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Shared, wire::Incoming};

/// Why a control request fails: status and message.
pub(super) type Problem = (u16, String);

/// The body of the endpoints that switch something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

/// Answers a control request: code and JSON.
pub(super) fn answer(shared: &Shared, incoming: &Incoming) -> (u16, String) {
    let (path, query) = incoming.target.split_once('?').unwrap_or((&incoming.target, ""));
    let path: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    match route(shared, &incoming.method, &path, query, &incoming.body) {
        Ok(value) => (200, value.to_string()),
        Err((code, message)) => (code, json!({"error": message}).to_string()),
    }
}

fn route(shared: &Shared, method: &str, path: &[&str], query: &str, body: &[u8]) -> Result<Value, Problem> {
    match (method, path) {
        ("GET", ["counters"]) => {
            Ok(json!(*shared.counters.lock().expect("nothing panics while it holds the counters")))
        }
        ("POST", ["counters", "reset"]) => {
            shared.counters.lock().expect("nothing panics while it holds the counters").clear();
            Ok(json!({}))
        }
        (_, ["faults", rest @ ..]) => faults(shared, method, rest, body),
        ("POST", ["watch", "compact"]) => compact(shared),
        ("POST", ["watch", "cut"]) => {
            shared.switches.cut();
            Ok(json!({}))
        }
        ("POST", [switch @ ("outage" | "unauthorized")] | ["watch", switch @ "silence"]) => {
            let Switch { on } = read(body)?;
            match *switch {
                "outage" => shared.switches.set_outage(on),
                "unauthorized" => shared.switches.set_unauthorized(on),
                _ => shared.switches.set_silence(on),
            }
            Ok(json!({}))
        }
        ("GET", ["history"]) if matches!(query, "" | "resource=pods") => shared.history.read().map_err(failed),
        ("GET", ["history"]) => Err((400, format!("history is kept of pods only, not for {query:?}"))),
        ("POST", ["namespaces", name, "recreate"]) => recreate(shared, name),
        ("POST", ["pods", ..]) => {
            let changed = shared.site.control(method, path, body)?;
            shared.history.changed(&changed);
            Ok(json!({}))
        }
        (_, ["deny" | "nodes", ..]) => shared.site.control(method, path, body),
        _ => Err((404, format!("the gate has no {method} /sandbox/{}", path.join("/")))),
    }
}

fn faults(shared: &Shared, method: &str, path: &[&str], body: &[u8]) -> Result<Value, Problem> {
    let mut faults = shared.faults.lock().expect("nothing panics while it holds the faults");
    match (method, path) {
        ("GET", []) => Ok(faults.list()),
        ("POST", []) => Ok(json!({"id": faults.inject(read(body)?).map_err(|message| (400, message))?})),
        ("DELETE", []) => {
            faults.clear();
            Ok(json!({}))
        }
        ("DELETE", [id]) => match id.parse() {
            Ok(number) if faults.remove(number) => Ok(json!({})),
            Ok(number) => Err((404, format!("no fault {number}"))),
            Err(_) => Err((400, format!("{id:?} is no fault number"))),
        },
        _ => Err((404, format!("the gate has no {method} /sandbox/faults/{}", path.join("/")))),
    }
}

/// Forgets the past: as if the server's own memory ended here. The server itself says how it puts that: it is asked for
/// a watch from a version that it surely forgot.
fn compact(shared: &Shared) -> Result<Value, Problem> {
    let site = &shared.site;
    let before = site.new_version().map_err(failed)?;
    let path = format!("/api/v1/namespaces/{}/pods?watch=1&resourceVersion=1&timeoutSeconds=1", site.namespace());
    let mut events = site.admin().watch(&path).map_err(failed)?;
    let said = events.next().transpose().map_err(failed)?.filter(|event| event["object"]["code"] == 410);
    // A server that has forgotten nothing yet can't be asked for its words; these are those of version 1.36.
    let line = said.unwrap_or_else(|| {
        let message = format!("too old resource version: 1 ({before})");
        json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Expired", "code": 410}})
    });
    shared.switches.compact(before, format!("{line}\n").into_bytes());
    Ok(json!({}))
}

/// Replaces the namespace behind an outage: nobody sees the moments in which it is half gone.
fn recreate(shared: &Shared, name: &str) -> Result<Value, Problem> {
    if name != shared.site.namespace() {
        return Err((404, format!("no namespace {name:?} behind this gate")));
    }
    let was_out = shared.switches.is_outage();
    shared.switches.set_outage(true);
    let done = shared.site.recreate_namespace();
    shared.switches.set_outage(was_out);
    done.map_err(failed)?;
    Ok(json!({}))
}

/// Reads the body of a control request.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| (400, format!("the body cannot be read: {error}")))
}

/// A problem behind the gate.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(super) fn failed(error: anyhow::Error) -> Problem {
    (502, format!("{error:#}"))
}
