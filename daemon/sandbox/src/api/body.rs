//! The object in the body of a request: its version and kind, its types and its fields, held against the schema.

use serde_json::Value;

use super::{Body, Request};
use crate::object::text;
use crate::refusal::{Cause, Refusal};
use crate::schema;

/// What a body should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    /// The real server's inner name of it.
    pub(super) inner: &'static str,
    /// The type in the schema.
    pub(super) schema: &'static str,
}

/// An object that a client submitted.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) value: Value,
    /// For the `Warning` headers of the answer.
    pub(super) warnings: Vec<String>,
}

/// Kinds that the real server knows as well, with their versions: enough to tell a strange kind from a wrong one.
const KNOWN: [(&str, &[&str]); 4] = [
    (
        "v1",
        &[
            "ConfigMap",
            "Event",
            "LimitRange",
            "Namespace",
            "NamespaceList",
            "Node",
            "NodeList",
            "Pod",
            "PodList",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("apps/v1", &["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("batch/v1", &["CronJob", "Job"]),
    ("policy/v1", &["Eviction", "PodDisruptionBudget"]),
];

/// Decodes the body.
pub(super) fn decode(request: &Request, expected: Expected) -> Result<Submitted, Refusal> {
    let Expected { version, kind, inner, schema } = expected;
    let unrecognized = |why: &str, excerpt: &str| {
        let message = format!("the object provided is unrecognized (must be of type {kind}): {why} ({excerpt})");
        Err(Refusal::bad_request(message))
    };
    let value = match &request.body {
        Body::Json(value) => value,
        Body::Empty => {
            let why = "couldn't get version/kind; json parse error: unexpected end of JSON input";
            return unrecognized(why, "<empty>");
        }
        Body::Broken { why, excerpt } => return unrecognized(why, excerpt),
        Body::Unreadable(refusal) => return Err(refusal.clone()),
    };
    let given = |pointer: &str, default| Some(text(value, pointer)).filter(|text| !text.is_empty()).unwrap_or(default);
    let (their_version, their_kind) = (given("/apiVersion", version), given("/kind", kind));
    let short = their_version.rsplit('/').next().unwrap_or(their_version);
    let unfit = |why: &str| {
        let message = format!("{their_kind} in version {short:?} cannot be handled as a {kind}: {why}");
        Refusal::bad_request(message)
    };
    if (their_version, their_kind) != (version, kind) {
        let known = KNOWN.iter().any(|(version, kinds)| *version == their_version && kinds.contains(&their_kind));
        return Err(unfit(&if known {
            format!("converting ({short}.{their_kind}) to ({inner}): unknown conversion")
        } else {
            not_registered(their_version, their_kind)
        }));
    }
    let decoded = schema::decode(schema, value).map_err(|why| unfit(&why))?;
    let mut value = decoded.value;
    (value["apiVersion"], value["kind"]) = (version.into(), kind.into());
    let unknown = decoded.unknown.iter().map(|path| format!("unknown field {path:?}"));
    match request.query("fieldValidation") {
        "Ignore" => Ok(Submitted { value, warnings: Vec::new() }),
        "Strict" if !decoded.unknown.is_empty() => {
            Err(unfit(&format!("strict decoding error: {}", unknown.collect::<Vec<_>>().join(", "))))
        }
        _ => Ok(Submitted { value, warnings: unknown.collect() }),
    }
}

/// Decodes the options of a deletion in the body; `None` if it is empty.
pub(super) fn delete_options(request: &Request) -> Result<Option<Value>, Refusal> {
    let value = match &request.body {
        Body::Json(value) => value,
        Body::Empty => return Ok(None),
        Body::Broken { why, .. } => return Err(Refusal::bad_request(why.as_str())),
        Body::Unreadable(refusal) => return Err(refusal.clone()),
    };
    let (version, kind) = (text(value, "/apiVersion"), text(value, "/kind"));
    if !["", "DeleteOptions"].contains(&kind) {
        return Err(Refusal::bad_request(not_registered(version, kind)));
    }
    schema::decode("v1.DeleteOptions", value).map(|decoded| Some(decoded.value)).map_err(Refusal::bad_request)
}

/// Checks the options that all changes have in the query; `kind` is that of the options.
pub(super) fn check_options(request: &Request, kind: &str) -> Result<(), Refusal> {
    let mut causes = Vec::new();
    let dry_run = request.queries("dryRun");
    if dry_run.iter().any(|value| *value != "All") {
        let shown: Vec<_> = dry_run.iter().map(|value| format!("{value:?}")).collect();
        causes.push(Cause::unsupported("dryRun", &format!("[{}]", shown.join(",")), &["All"]));
    }
    let level = request.query("fieldValidation");
    let levels = ["", "Ignore", "Strict", "Warn"];
    if !levels.contains(&level) {
        causes.push(Cause::unsupported("fieldValidation", &format!("{level:?}"), &levels));
    }
    if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid_options(kind, &causes)) }
}

fn not_registered(version: &str, kind: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}
