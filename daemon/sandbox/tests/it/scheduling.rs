//! Which node a pod goes to, and what it is told if there is none.

use anyhow::Result;
use hfd_sandbox::Options;
use serde_json::{Value, json};

use crate::client::{PODS, Scene, condition, pod, small};

fn requesting(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name, &json!({}));
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

fn is_unschedulable(pod: &Value) -> bool {
    condition(pod, "PodScheduled")["reason"] == "Unschedulable"
}

async fn message(scene: &Scene, body: &Value) -> Result<String> {
    scene.client.must("POST", PODS, Some(body)).await?;
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let pod = scene.client.until(name, "unschedulable", is_unschedulable).await?;
    Ok(condition(&pod, "PodScheduled")["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(start_paused = true)]
async fn pods_are_spread_over_the_nodes() -> Result<()> {
    let scene = Scene::small().await?;
    let mut used = std::collections::BTreeMap::new();
    for index in 0..6 {
        let name = format!("p{index}");
        scene.client.create(&name, &json!({})).await?;
        scene.client.until("p0", "bound", |pod| pod["spec"]["nodeName"].is_string()).await?;
        scene.client.until_ready(&name).await?;
        *used.entry(scene.cluster.node_of("default", &name)).or_insert(0) += 1;
    }
    assert_eq!(used.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_too_large_for_any_node_is_told_so_in_the_schedulers_words() -> Result<()> {
    let scene = Scene::small().await?;
    assert_eq!(
        message(&scene, &requesting("big", "4000")).await?,
        "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: \
         3 Preemption is not helpful for scheduling."
    );
    let events = scene.client.must("GET", "/api/v1/namespaces/default/events", None).await?;
    assert_eq!(events["items"][0]["reason"], "FailedScheduling");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_node_gives_its_own_reason() -> Result<()> {
    let scene = Scene::small().await?;
    let mut picky = requesting("picky", "4000");
    picky["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "sandbox-node-0001"});
    assert_eq!(
        message(&scene, &picky).await?,
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector. no new claims \
         to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_is_bound_when_capacity_comes_free() -> Result<()> {
    let scene = Scene::with(Options { nodes: 1, pods_per_node: 1, ..small() }).await?;
    scene.client.create("first", &json!({})).await?;
    scene.client.until_ready("first").await?;
    let told = message(&scene, &pod("second", &json!({}))).await?;
    assert!(told.starts_with("0/1 nodes are available: 1 Too many pods."), "{told}");
    scene.client.must("DELETE", &format!("{PODS}/first"), None).await?;
    scene.client.until_ready("second").await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_over_frees_its_node() -> Result<()> {
    let scene = Scene::with(Options { nodes: 1, pods_per_node: 1, ..small() }).await?;
    scene.client.create("first", &json!({"sandbox.hfd/fate": "exit-0"})).await?;
    scene.client.create("second", &json!({})).await?;
    scene.client.until_ready("second").await?;
    assert!(scene.client.pod("first").await?.is_some(), "the one that is over stays until it is deleted");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_count_against_what_a_node_has() -> Result<()> {
    let scene = Scene::with(Options { nodes: 1, ..small() }).await?;
    for name in ["a", "b"] {
        scene.client.must("POST", PODS, Some(&requesting(name, "1500m"))).await?;
        scene.client.until_ready(name).await?;
    }
    let told = message(&scene, &requesting("c", "1500m")).await?;
    assert!(told.contains("1 No preemption victims found for incoming pod."), "{told}");
    scene.client.must("POST", PODS, Some(&requesting("d", "1"))).await?;
    scene.client.until_ready("d").await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cordoned_and_tainted_nodes_take_no_pods() -> Result<()> {
    let scene = Scene::with(Options { nodes: 1, ..small() }).await?;
    let node = "/api/v1/nodes/sandbox-node-0000";
    let merge = [("content-type", "application/strategic-merge-patch+json")];
    let cordon = json!({"spec": {"unschedulable": true}}).to_string();
    assert_eq!(scene.client.call_with("PATCH", node, cordon, &merge).await?.code, 200);
    let told = message(&scene, &pod("p", &json!({}))).await?;
    assert!(told.starts_with("0/1 nodes are available: 1 node(s) were unschedulable."), "{told}");
    let taint =
        json!({"spec": {"unschedulable": null, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
    scene.client.call_with("PATCH", node, taint.to_string(), &merge).await?;
    let told = scene.client.until("p", "told of the taint", |pod| {
        condition(pod, "PodScheduled")["message"].as_str().is_some_and(|text| text.contains("had untolerated taint(s)"))
    });
    told.await?;
    let mut tolerant = pod("tolerant", &json!({}));
    tolerant["spec"]["tolerations"] = json!([{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]);
    scene.client.must("POST", PODS, Some(&tolerant)).await?;
    scene.client.until_ready("tolerant").await?;
    let uncordon = json!({"spec": {"taints": null}}).to_string();
    scene.client.call_with("PATCH", node, uncordon, &merge).await?;
    scene.client.until_ready("p").await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_no_node_has_is_named() -> Result<()> {
    let scene = Scene::small().await?;
    let mut wanted = pod("p", &json!({}));
    wanted["spec"]["containers"][0]["resources"] = json!({"limits": {"nvidia.com/gpu": 1}});
    assert_eq!(
        message(&scene, &wanted).await?,
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are \
         available: 3 Preemption is not helpful for scheduling."
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_another_scheduler_is_left_alone() -> Result<()> {
    let scene = Scene::small().await?;
    let mut theirs = pod("theirs", &json!({}));
    theirs["spec"]["schedulerName"] = json!("another");
    scene.client.must("POST", PODS, Some(&theirs)).await?;
    scene.client.create("ours", &json!({})).await?;
    scene.client.until_ready("ours").await?;
    let theirs = scene.client.pod("theirs").await?.unwrap_or_default();
    assert_eq!(theirs["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    Ok(())
}
