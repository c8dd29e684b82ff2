//! Permissions withdrawn and given back: the Role of the namespace is edited, and the server itself refuses.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Real, Site, administrator::until};
use crate::gate::control::{Problem, failed};

/// The name of the Role that the project ships.
const ROLE: &str = "hfd";

/// What RBAC is to refuse.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Denial {
    verb: String,
    /// Plural name of a resource of the core group.
    resource: String,
}

/// Takes a verb on a resource out of the Role, and waits until the server refuses it.
pub(super) fn withdraw(site: &Site, real: &mut Real, denial: &Denial) -> Result<Value, Problem> {
    let role = site.admin().json("GET", &path(site), None).map_err(failed)?;
    let before = role["rules"].clone();
    let after = without(&before, denial);
    if after == before {
        return Err((404, format!("the Role does not allow {} {}", denial.verb, denial.resource)));
    }
    put(site, role, &after).map_err(failed)?;
    real.rules.get_or_insert(before);
    wait_allowed(site, real, denial, false).map_err(failed)?;
    Ok(json!({}))
}

/// Gives everything back, and waits until the server allows it.
pub(super) fn restore(site: &Site, real: &mut Real) -> Result<Value> {
    let Some(rules) = real.rules.take() else { return Ok(json!({})) };
    let role = site.admin().json("GET", &path(site), None)?;
    let narrowed = role["rules"].clone();
    put(site, role, &rules)?;
    for denial in differences(&rules, &narrowed) {
        wait_allowed(site, real, &denial, true)?;
    }
    Ok(json!({}))
}

fn path(site: &Site) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/{ROLE}", site.namespace())
}

fn put(site: &Site, mut role: Value, rules: &Value) -> Result<()> {
    role["rules"] = rules.clone();
    site.admin().json("PUT", &path(site), Some(&role)).map(drop)
}

/// The rules with one resource on its own, without that verb.
fn without(rules: &Value, denial: &Denial) -> Value {
    let mut after = Vec::new();
    for rule in rules.as_array().into_iter().flatten() {
        let (named, others): (Vec<String>, Vec<String>) =
            list(rule, "resources").into_iter().partition(|resource| *resource == denial.resource);
        let verbs = list(rule, "verbs");
        let fewer: Vec<&String> = verbs.iter().filter(|verb| denial.verb != "*" && **verb != denial.verb).collect();
        if named.is_empty() || fewer.len() == verbs.len() {
            after.push(rule.clone());
            continue;
        }
        for (resources, verbs) in [(others, json!(verbs)), (named, json!(fewer))] {
            if !resources.is_empty() && verbs != json!([]) {
                let mut part = rule.clone();
                part["resources"] = json!(resources);
                part["verbs"] = verbs;
                after.push(part);
            }
        }
    }
    json!(after)
}

/// Verbs on resources that `wide` allows and `narrow` does not.
fn differences(wide: &Value, narrow: &Value) -> Vec<Denial> {
    let pairs = |rules: &Value| {
        let mut pairs = Vec::new();
        for rule in rules.as_array().into_iter().flatten() {
            for resource in list(rule, "resources") {
                for verb in list(rule, "verbs") {
                    pairs.push((verb, resource.clone()));
                }
            }
        }
        pairs
    };
    let left = pairs(narrow);
    let gone = pairs(wide).into_iter().filter(|pair| !left.contains(pair));
    gone.map(|(verb, resource)| Denial { verb, resource }).collect()
}

fn list(rule: &Value, field: &str) -> Vec<String> {
    let entries = rule[field].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
}

/// The server's authorizer reads changed Roles a moment later.
fn wait_allowed(site: &Site, real: &Real, denial: &Denial, wanted: bool) -> Result<()> {
    let daemon = site.server().with_token(Some(real.ground.token()));
    let verb = if denial.verb == "*" { "get" } else { &denial.verb };
    let ask = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
        "resourceAttributes": {"namespace": site.namespace(), "verb": verb, "resource": denial.resource}}});
    until("the server's authorizer knows the changed Role", || {
        let review = daemon.json("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", Some(&ask))?;
        Ok(review["status"]["allowed"].as_bool().context("a review without an answer")? == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(verb: &str, resource: &str) -> Denial {
        Denial { verb: verb.to_owned(), resource: resource.to_owned() }
    }

    #[test]
    fn a_verb_is_taken_from_one_resource_and_from_no_other() {
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list", "delete"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]},
        ]);
        let narrowed = without(&rules, &denial("delete", "pods"));
        let wanted = json!([
            {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "delete"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]},
        ]);
        assert_eq!(narrowed, wanted);
        let back = differences(&rules, &narrowed);
        assert_eq!(back.len(), 1);
        assert_eq!((back[0].verb.as_str(), back[0].resource.as_str()), ("delete", "pods"));
        assert_eq!(without(&rules, &denial("watch", "pods")), rules);
    }
}
