//! Creation of pods, namespaces and quotas.

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::{Answer, Body, Request};
use crate::defaults::{self, Identity};
use crate::object::{Key, Resource, text};
use crate::refusal::{Cause, Refusal};
use crate::validate;
use crate::world::World;

/// POST of a new object.
pub(super) fn create(world: &mut World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    if !["", "All"].contains(&request.query("dryRun")) {
        let value = format!("[{:?}]", request.query("dryRun"));
        let cause = Cause::unsupported("dryRun", &value, &["All"]);
        return Err(Refusal::invalid_options("CreateOptions", cause));
    }
    let submitted = submitted(resource, request)?;
    let created = match resource {
        Resource::Pods => create_pod(world, &submitted, request)?,
        Resource::Namespaces => create_namespace(world, &submitted, request)?,
        Resource::Quotas => create_quota(world, &submitted, request)?,
        Resource::Nodes | Resource::Events => return Err(Refusal::method_not_allowed()),
    };
    Ok(Answer::bytes(201, created))
}

/// The object in the body of a create or an update.
pub(super) fn submitted(resource: Resource, request: &Request) -> Result<Value, Refusal> {
    let kind = resource.kind();
    let unrecognized = |why: &str| {
        Refusal::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}"))
    };
    let value = match &request.body {
        Body::Json(value @ Value::Object(_)) => value.clone(),
        Body::Json(_) => return Err(unrecognized("couldn't get version/kind; json parse error: not an object")),
        Body::Empty => {
            return Err(unrecognized(
                "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
            ));
        }
        Body::Unreadable(refusal) if refusal.code == 400 => return Err(unrecognized(&refusal.message)),
        Body::Unreadable(refusal) => return Err(refusal.clone()),
    };
    let unfit =
        |why: &str| Refusal::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: {why}"));
    let submitted_kind = text(&value, "/kind");
    if !["", kind].contains(&submitted_kind) {
        let message = format!(
            "{submitted_kind} in version \"v1\" cannot be handled as a {kind}: converting (v1.{submitted_kind}) to \
             (core.{kind}): unknown conversion"
        );
        return Err(Refusal::bad_request(message));
    }
    let misshapen = if resource == Resource::Pods { validate::misshapen(&value) } else { None };
    if let Some(why) = misshapen {
        return Err(unfit(&why));
    }
    let namespace = text(&value, "/metadata/namespace");
    if resource.is_namespaced() && !namespace.is_empty() && namespace != request.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(value)
}

fn create_pod(world: &mut World, submitted: &Value, request: &Request) -> Result<Bytes, Refusal> {
    let namespace = &request.namespace;
    let identity = pod_identity(world, submitted, namespace);
    let mut pod = defaults::pod(submitted, namespace, &identity);
    let name = text(&pod, "/metadata/name");
    check_namespace(world, Resource::Pods, namespace, name)?;
    let class = text(submitted, "/spec/priorityClassName");
    if !["", "system-cluster-critical", "system-node-critical"].contains(&class) {
        let why = format!("no PriorityClass with name {class} was found");
        return Err(Refusal::forbidden(Resource::Pods, name, &why));
    }
    // the real server's order: admission, then validation, then quota, then the name
    let causes = validate::pod(&pod);
    if !causes.is_empty() {
        return Err(Refusal::invalid("Pod", name, &causes));
    }
    if let Some(why) = world.exceeded_quota(namespace) {
        return Err(Refusal::forbidden(Resource::Pods, name, &why));
    }
    check_new(world, Resource::Pods, submitted, &Key::new(namespace, name))?;
    if request.is_dry_run() {
        return Ok(without_version(pod));
    }
    Ok(world.add_pod(&mut pod).json.clone())
}

fn create_namespace(world: &mut World, submitted: &Value, request: &Request) -> Result<Bytes, Refusal> {
    let identity = identity(world, "namespace");
    let metadata = defaults::metadata(&submitted["metadata"], "", &identity);
    let object = json!({"metadata": metadata});
    let name = text(&object, "/metadata/name").to_owned();
    let causes = validate::namespace(&object);
    if !causes.is_empty() {
        return Err(Refusal::invalid("Namespace", &name, &causes));
    }
    check_new(world, Resource::Namespaces, submitted, &Key::new("", &name))?;
    if request.is_dry_run() {
        return Ok(without_version(json!({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata})));
    }
    Ok(world.add_namespace(&name, metadata.get("labels")).json.clone())
}

fn create_quota(world: &mut World, submitted: &Value, request: &Request) -> Result<Bytes, Refusal> {
    let namespace = &request.namespace;
    let identity = identity(world, "quota");
    let mut quota = json!({
        "kind": "ResourceQuota", "apiVersion": "v1",
        "metadata": defaults::metadata(&submitted["metadata"], namespace, &identity),
        "spec": submitted.get("spec").cloned().unwrap_or_else(|| json!({})), "status": {}
    });
    let name = text(&quota, "/metadata/name").to_owned();
    check_namespace(world, Resource::Quotas, namespace, &name)?;
    let mut causes = validate::metadata(&quota);
    for (field, value) in quota["spec"]["hard"].as_object().into_iter().flatten() {
        let amount = validate::quantity_text(value);
        if crate::quantity::thousandths(&amount).is_none_or(|amount| amount < 0) {
            let rule = "must be greater than or equal to 0";
            causes.push(Cause::invalid(format!("spec.hard[{field}]"), &amount, rule));
        }
    }
    if !causes.is_empty() {
        return Err(Refusal::invalid("ResourceQuota", &name, &causes));
    }
    let key = Key::new(namespace, &name);
    check_new(world, Resource::Quotas, submitted, &key)?;
    if request.is_dry_run() {
        return Ok(without_version(quota));
    }
    let stored = world.store.put(Resource::Quotas, &mut quota).json.clone();
    world.count_quotas(namespace);
    Ok(stored)
}

/// The n-th pod of a name always has the same UID, in whatever order requests come.
fn pod_identity(world: &World, submitted: &Value, namespace: &str) -> Identity {
    let suffix = world.random.name_suffix(&format!("suffix {}", world.store.version()));
    let name = match text(submitted, "/metadata/name") {
        "" => format!("{}{suffix}", text(submitted, "/metadata/generateName")),
        name => name.to_owned(),
    };
    let key = Key::new(namespace, name);
    let uid = world.random.uuid(&format!("pod {namespace}/{} {}", key.name, world.store.times_created(&key)));
    Identity { uid, created: world.clock.stamp(), suffix }
}

fn identity(world: &World, kind: &str) -> Identity {
    let suffix = world.random.name_suffix(&format!("suffix {}", world.store.version()));
    Identity { uid: world.new_uid(kind), created: world.clock.stamp(), suffix }
}

fn check_namespace(world: &World, resource: Resource, namespace: &str, name: &str) -> Result<(), Refusal> {
    match world.store.get(Resource::Namespaces, &Key::new("", namespace)) {
        None => Err(Refusal::not_found(Resource::Namespaces, namespace)),
        Some(found) if found.terminating => Err(Refusal::namespace_terminating(resource, name, namespace)),
        Some(_) => Ok(()),
    }
}

fn check_new(world: &World, resource: Resource, submitted: &Value, key: &Key) -> Result<(), Refusal> {
    if !text(submitted, "/metadata/resourceVersion").is_empty() {
        return Err(Refusal::internal("resourceVersion should not be set on objects to be created"));
    }
    match world.store.get(resource, key) {
        None => Ok(()),
        Some(found) if resource == Resource::Namespaces && found.terminating => Err(Refusal::being_deleted(&key.name)),
        Some(_) => Err(Refusal::already_exists(resource, &key.name)),
    }
}

/// The answer to a dry run.
fn without_version(mut object: Value) -> Bytes {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    Bytes::from(object.to_string())
}
