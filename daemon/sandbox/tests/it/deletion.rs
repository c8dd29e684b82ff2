//! Deletion: grace, preconditions, eviction, namespaces.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{PODS, Scene, condition};

const STUCK: &str = "stuck-terminating";

async fn ready(scene: &Scene, name: &str, annotations: &Value) -> Result<Value> {
    scene.client.create(name, annotations).await?;
    scene.client.until_ready(name).await
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_node_is_gone_at_once() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({"sandbox.hfd/fate": "never-scheduled"})).await?;
    let deleted = scene.client.must("DELETE", &format!("{PODS}/p"), None).await?;
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 0);
    assert!(scene.client.pod("p").await?.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_terminates_before_it_is_gone() -> Result<()> {
    let scene = Scene::small().await?;
    let pod = ready(&scene, "p", &json!({"sandbox.hfd/stop-delay": "2s"})).await?;
    let version = pod["metadata"]["resourceVersion"].as_str().context("a version")?;
    let mut watch = scene.client.watch(&format!("{PODS}?watch=1&resourceVersion={version}")).await?;
    let started = Instant::now();
    let deleted = scene.client.must("DELETE", &format!("{PODS}/p"), None).await?;
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 30);
    let terminating = watch.event().await?.context("an event")?;
    assert_eq!(terminating["type"], "MODIFIED");
    assert!(terminating["object"]["metadata"]["deletionTimestamp"].is_string(), "{terminating}");
    let stopped = watch.event().await?.context("an event")?;
    assert_eq!(stopped["object"]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    assert_eq!(condition(&stopped["object"], "Ready")["status"], "False");
    let last = watch.event().await?.context("an event")?;
    assert_eq!(
        (&last["type"], &last["object"]["metadata"]["deletionGracePeriodSeconds"]),
        (&json!("MODIFIED"), &json!(0))
    );
    assert_eq!(watch.next().await?, ("DELETED".to_owned(), "p".to_owned()));
    assert!((2..4).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_cuts_a_slow_stop_off() -> Result<()> {
    let scene = Scene::small().await?;
    ready(&scene, "p", &json!({"sandbox.hfd/fate": "slow-stop"})).await?;
    let started = Instant::now();
    let options = json!({"gracePeriodSeconds": 7});
    scene.client.must("DELETE", &format!("{PODS}/p"), Some(&options)).await?;
    scene.client.until_gone("p").await?;
    assert_eq!(started.elapsed().as_secs(), 7);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn grace_zero_removes_even_a_stuck_pod() -> Result<()> {
    let scene = Scene::small().await?;
    ready(&scene, "p", &json!({"sandbox.hfd/fate": STUCK})).await?;
    scene.client.must("DELETE", &format!("{PODS}/p"), None).await?;
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(scene.client.pod("p").await?.is_some(), "a stuck pod outlives its grace");
    scene.client.must("DELETE", &format!("{PODS}/p?gracePeriodSeconds=0"), None).await?;
    assert!(scene.client.pod("p").await?.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_may_only_shorten_the_grace() -> Result<()> {
    let scene = Scene::small().await?;
    ready(&scene, "p", &json!({"sandbox.hfd/fate": STUCK})).await?;
    let path = format!("{PODS}/p");
    let first = scene.client.must("DELETE", &path, None).await?;
    let again = scene.client.must("DELETE", &path, None).await?;
    assert_eq!(again["metadata"], first["metadata"], "nothing changes, not even the version");
    let longer = scene.client.must("DELETE", &path, Some(&json!({"gracePeriodSeconds": 60}))).await?;
    assert_eq!(longer["metadata"], first["metadata"]);
    let shorter = scene.client.must("DELETE", &path, Some(&json!({"gracePeriodSeconds": 7}))).await?;
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 7);
    assert_ne!(shorter["metadata"]["deletionTimestamp"], first["metadata"]["deletionTimestamp"]);
    assert_eq!(shorter["metadata"]["generation"], first["metadata"]["generation"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn preconditions_that_do_not_hold_are_conflicts_in_the_servers_words() -> Result<()> {
    let scene = Scene::small().await?;
    let pod = scene.client.create("p", &json!({"sandbox.hfd/fate": "never-scheduled"})).await?;
    let uid = pod["metadata"]["uid"].as_str().context("a UID")?;
    let options = json!({"preconditions": {"uid": "zz"}});
    let reply = scene.client.call("DELETE", &format!("{PODS}/p"), Some(&options)).await?;
    let message = format!(
        "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (zz) does not match the UID in record \
         ({uid}). The object might have been deleted and then recreated"
    );
    assert_eq!((reply.code, reply.json["message"].as_str()), (409, Some(message.as_str())));
    assert_eq!(reply.json["details"], json!({"name": "p", "kind": "Pod"}));
    let options = json!({"preconditions": {"resourceVersion": "1"}});
    let reply = scene.client.call("DELETE", &format!("{PODS}/p"), Some(&options)).await?;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (409, Some("Conflict")));
    let options = json!({"preconditions": {"uid": uid}});
    assert_eq!(scene.client.call("DELETE", &format!("{PODS}/p"), Some(&options)).await?.code, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_deleted() -> Result<()> {
    let scene = Scene::small().await?;
    let reply = scene.client.call("DELETE", &format!("{PODS}/absent"), None).await?;
    assert_eq!((reply.code, reply.json["message"].as_str()), (404, Some("pods \"absent\" not found")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_eviction_marks_the_pod_before_it_goes() -> Result<()> {
    let scene = Scene::small().await?;
    ready(&scene, "p", &json!({})).await?;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let reply = scene.client.call("POST", &format!("{PODS}/p/eviction"), Some(&eviction)).await?;
    assert_eq!((reply.code, reply.json["status"].as_str()), (201, Some("Success")));
    let pod = scene.client.pod("p").await?.context("it has its grace")?;
    let target = condition(&pod, "DisruptionTarget");
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("EvictionByEvictionAPI")));
    scene.client.until_gone("p").await
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_takes_its_pods_with_it_and_no_new_ones() -> Result<()> {
    let scene = Scene::small().await?;
    let namespace = json!({"metadata": {"name": "team"}});
    scene.client.must("POST", "/api/v1/namespaces", Some(&namespace)).await?;
    let pods = "/api/v1/namespaces/team/pods";
    let mut pod = crate::client::pod("p", &json!({"sandbox.hfd/fate": STUCK}));
    scene.client.must("POST", pods, Some(&pod)).await?;
    tokio::time::advance(Duration::from_secs(10)).await;
    let running = scene.client.must("GET", &format!("{pods}/p"), None).await?;
    assert!(running["spec"]["nodeName"].is_string(), "{running}");
    let deleted = scene.client.must("DELETE", "/api/v1/namespaces/team", None).await?;
    assert_eq!(deleted["status"]["phase"], "Terminating");
    pod["metadata"]["name"] = "late".into();
    let reply = scene.client.call("POST", pods, Some(&pod)).await?;
    assert_eq!(reply.json["details"]["causes"][0]["reason"], "NamespaceTerminating");
    scene.client.must("DELETE", &format!("{pods}/p?gracePeriodSeconds=0"), None).await?;
    assert_eq!(scene.client.call("GET", "/api/v1/namespaces/team", None).await?.code, 404);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_recreated_namespace_is_empty_and_another_one() -> Result<()> {
    let scene = Scene::small().await?;
    let before = scene.client.must("GET", "/api/v1/namespaces/default", None).await?;
    ready(&scene, "p", &json!({})).await?;
    scene.client.must("POST", "/sandbox/namespaces/default/recreate", None).await?;
    let after = scene.client.must("GET", "/api/v1/namespaces/default", None).await?;
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(scene.client.pod("p").await?.is_none());
    Ok(())
}
