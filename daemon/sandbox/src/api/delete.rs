//! Deletion and eviction.

use serde_json::{Value, json};

use super::body::{self, Expected};
use super::{Answer, Body, Request};
use crate::deletion::Grace;
use crate::object::{Key, Object, Resource, text};
use crate::refusal::{Cause, Refusal};
use crate::render::{self, Representation};
use crate::selector::Filter;
use crate::world::World;

/// What DELETE may say in its body or its query.
struct Options {
    grace: Grace,
    uid: Option<String>,
    version: Option<String>,
}

/// DELETE of one object.
pub(super) fn delete(world: &mut World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    body::check_options(request, "DeleteOptions")?;
    let options = options(request)?;
    let key = Key::new(request.namespace.as_str(), request.name.as_str());
    if resource == Resource::Namespaces && key.name == "default" {
        return Err(Refusal::forbidden(resource, &key.name, "this namespace may not be deleted"));
    }
    let found = world.store.get(resource, &key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    check_preconditions(resource, found, &options)?;
    let gone = || Refusal::not_found(resource, &key.name);
    if request.is_dry_run() {
        let preview = match resource {
            Resource::Pods => world.preview_deletion(&key, options.grace).ok_or_else(gone)?,
            _ => found.value(),
        };
        return Ok(Answer::json(200, &preview));
    }
    let answer = match resource {
        Resource::Pods => {
            let pod = world.delete_pod(&key, options.grace).ok_or_else(gone)?;
            return Ok(Answer::bytes(200, pod.json.clone()));
        }
        Resource::Namespaces => world.delete_namespace(&key.name).ok_or_else(gone)?,
        Resource::Nodes => {
            let node = world.lose_node(&key.name).ok_or_else(gone)?;
            success(&key.name, "nodes", text(&node, "/metadata/uid"))
        }
        Resource::Quotas | Resource::Events => world.store.remove(resource, &key, None).ok_or_else(gone)?.value(),
    };
    Ok(Answer::json(200, &answer))
}

/// DELETE of a collection: one after the other, as the real server does.
pub(super) fn delete_collection(world: &mut World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    if resource != Resource::Pods {
        return Err(Refusal::method_not_allowed());
    }
    body::check_options(request, "DeleteOptions")?;
    let options = options(request)?;
    let labels = request.query("labelSelector");
    let filter = Filter::parse(resource, &request.namespace, labels, request.query("fieldSelector"))?;
    let chosen: Vec<_> =
        world.store.all(resource, &request.namespace).filter(|object| filter.matches(object)).cloned().collect();
    if !request.is_dry_run() {
        for object in &chosen {
            world.delete_pod(&object.key, options.grace);
        }
    }
    let metadata = json!({"resourceVersion": world.store.version().to_string()});
    Ok(Answer::bytes(200, render::list(Representation::Whole, resource, &chosen, &metadata, &world.clock)))
}

/// POST of an Eviction: the pod is marked as a target of disruption, then deleted with its grace.
pub(super) fn evict(world: &mut World, request: &Request) -> Result<Answer, Refusal> {
    let older = matches!(&request.body, Body::Json(value) if text(value, "/apiVersion") == "policy/v1beta1");
    let version = if older { "policy/v1beta1" } else { "policy/v1" };
    let expected = Expected { version, kind: "Eviction", inner: "policy.Eviction", schema: "v1.Eviction" };
    let eviction = &body::decode(request, expected)?.value;
    if ![request.name.as_str(), ""].contains(&text(eviction, "/metadata/name")) {
        return Err(Refusal::bad_request("name in URL does not match name in Eviction object"));
    }
    let key = Key::new(request.namespace.as_str(), request.name.as_str());
    let found = world.store.get(Resource::Pods, &key).ok_or_else(|| Refusal::not_found(Resource::Pods, &key.name))?;
    let (uid, already_going) = (found.uid.clone(), found.terminating);
    let options = read_options(Some(&eviction["deleteOptions"]), request)?;
    check_preconditions(Resource::Pods, found, &options)?;
    if !request.is_dry_run() {
        if !already_going {
            world.disrupt(&key, &uid, "EvictionByEvictionAPI", "Eviction API: evicting", false);
        }
        world.delete_pod(&key, options.grace);
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Answer::json(201, &status))
}

fn options(request: &Request) -> Result<Options, Refusal> {
    read_options(body::delete_options(request)?.as_ref(), request)
}

fn read_options(body: Option<&Value>, request: &Request) -> Result<Options, Refusal> {
    let body = body.unwrap_or(&Value::Null);
    let in_query = Some(request.query("propagationPolicy")).filter(|policy| !policy.is_empty());
    if let Some(policy) = body["propagationPolicy"].as_str().or(in_query)
        && !["Foreground", "Background", "Orphan"].contains(&policy)
    {
        let supported = ["Foreground", "Background", "Orphan", "nil"];
        let cause = Cause::unsupported("propagationPolicy", &format!("{policy:?}"), &supported);
        return Err(Refusal::invalid_options("DeleteOptions", &[cause]));
    }
    let in_query = request.number("gracePeriodSeconds")?;
    let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    Ok(Options {
        grace: body["gracePeriodSeconds"].as_i64().or(in_query).map_or(Grace::OfThePod, Grace::Seconds),
        uid: precondition("uid"),
        version: precondition("resourceVersion"),
    })
}

fn check_preconditions(resource: Resource, found: &Object, options: &Options) -> Result<(), Refusal> {
    let refuse = |what, wanted: &str, is: &str| Refusal::precondition(resource, &found.key.name, what, wanted, is);
    if let Some(wanted) = options.uid.as_ref().filter(|wanted| **wanted != found.uid) {
        return Err(refuse("UID", wanted, &found.uid));
    }
    let version = found.version.to_string();
    if let Some(wanted) = options.version.as_ref().filter(|wanted| **wanted != version) {
        return Err(refuse("ResourceVersion", wanted, &version));
    }
    Ok(())
}

fn success(name: &str, kind: &str, uid: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "kind": kind, "uid": uid}
    })
}
