//! Nodes that go, and what becomes of their pods.

use anyhow::{Context, Result};
use hfd_sandbox::Options;
use serde_json::{Value, json};

use crate::client::{PODS, Scene, condition, small};

async fn one_ready_pod(options: Options) -> Result<(Scene, String)> {
    let scene = Scene::with(options).await?;
    scene.client.create("p", &json!({})).await?;
    scene.client.until_ready("p").await?;
    let node = scene.cluster.node_of("default", "p").context("a node")?;
    Ok((scene, node))
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_lost_node_are_collected() -> Result<()> {
    let (scene, node) = one_ready_pod(small()).await?;
    let version = scene.client.must("GET", PODS, None).await?["metadata"]["resourceVersion"].clone();
    let mut watch =
        scene.client.watch(&format!("{PODS}?watch=1&resourceVersion={}", version.as_str().context("text")?)).await?;
    scene.client.must("POST", &format!("/sandbox/nodes/{node}/lose"), None).await?;
    assert_eq!(scene.client.call("GET", &format!("/api/v1/nodes/{node}"), None).await?.code, 404);
    let failed = watch.event().await?.context("an event")?;
    assert_eq!(failed["object"]["status"]["phase"], "Failed");
    assert_eq!(condition(&failed["object"], "DisruptionTarget")["reason"], "DeletionByPodGC");
    assert_eq!(condition(&failed["object"], "Ready")["status"], "True", "the collector leaves it as it was");
    assert_eq!(watch.next().await?, ("MODIFIED".to_owned(), "p".to_owned()), "no grace is left");
    assert_eq!(watch.next().await?, ("DELETED".to_owned(), "p".to_owned()));
    let unknown = scene.client.call("POST", &format!("/sandbox/nodes/{node}/lose"), None).await?;
    assert_eq!(unknown.code, 404);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn deleting_a_node_object_loses_the_node() -> Result<()> {
    let (scene, node) = one_ready_pod(small()).await?;
    scene.client.must("DELETE", &format!("/api/v1/nodes/{node}"), None).await?;
    scene.client.until_gone("p").await
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_node_that_is_not_ready_are_evicted_and_stay_terminating() -> Result<()> {
    let (scene, node) = one_ready_pod(small()).await?;
    scene.client.must("POST", &format!("/sandbox/nodes/{node}/notready"), None).await?;
    let seen = scene.client.must("GET", &format!("/api/v1/nodes/{node}"), None).await?;
    assert_eq!(condition(&seen, "Ready")["status"], "Unknown");
    assert_eq!(seen["spec"]["taints"][0]["key"], "node.kubernetes.io/unreachable");
    let pod = scene.client.pod("p").await?.context("the pod")?;
    assert_eq!(condition(&pod, "Ready")["status"], "False");
    let going = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
    let pod = scene.client.until("p", "being deleted", going).await?;
    assert_eq!(condition(&pod, "DisruptionTarget")["reason"], "DeletionByTaintManager");
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    assert!(scene.client.pod("p").await?.is_some(), "nobody is there to stop it");
    scene.client.must("POST", &format!("/sandbox/nodes/{node}/ready"), None).await?;
    scene.client.until_gone("p").await
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_soon_back_keeps_its_pods() -> Result<()> {
    let (scene, node) = one_ready_pod(small()).await?;
    scene.client.must("POST", &format!("/sandbox/nodes/{node}/notready"), None).await?;
    scene.client.must("POST", &format!("/sandbox/nodes/{node}/ready"), None).await?;
    let pod = scene.client.until_ready("p").await?;
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    let later = scene.client.pod("p").await?.context("the pod")?;
    assert_eq!(later["metadata"]["resourceVersion"], pod["metadata"]["resourceVersion"]);
    let seen = scene.client.must("GET", &format!("/api/v1/nodes/{node}"), None).await?;
    assert!(seen["spec"]["taints"].is_null() && condition(&seen, "Ready")["status"] == "True", "{seen}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_frozen_node_starts_when_the_node_is_back() -> Result<()> {
    let scene =
        Scene::with(Options { nodes: 1, eviction_delay: std::time::Duration::from_secs(600), ..small() }).await?;
    scene.client.create("p", &json!({"sandbox.hfd/start-delay": "5s"})).await?;
    scene.client.until("p", "bound", |pod| pod["spec"]["nodeName"].is_string()).await?;
    scene.client.must("POST", "/sandbox/nodes/sandbox-node-0000/notready", None).await?;
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    let pod = scene.client.pod("p").await?.context("the pod")?;
    assert_eq!(pod["status"]["phase"], "Pending");
    scene.client.must("POST", "/sandbox/nodes/sandbox-node-0000/ready", None).await?;
    scene.client.until_ready("p").await?;
    Ok(())
}
