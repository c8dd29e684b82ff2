//! What annotations make of a pod's life.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{PODS, Scene, condition, small};

fn fated(fate: &str) -> Value {
    json!({"sandbox.hfd/fate": fate, "sandbox.hfd/start-delay": "1s"})
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn waits(pod: &Value, reason: &str) -> bool {
    container(pod)["state"]["waiting"]["reason"] == reason
}

#[tokio::test(start_paused = true)]
async fn a_healthy_pod_goes_through_creating_to_ready() -> Result<()> {
    let scene = Scene::small().await?;
    let started = Instant::now();
    scene.client.create("p", &json!({"sandbox.hfd/start-delay": "3s"})).await?;
    let creating = scene.client.until("p", "creating", |pod| waits(pod, "ContainerCreating")).await?;
    assert_eq!(condition(&creating, "PodScheduled")["status"], "True");
    assert_eq!(condition(&creating, "Ready")["reason"], "ContainersNotReady");
    assert!(creating["spec"]["nodeName"].is_string() && creating["status"]["hostIP"].is_string(), "{creating}");
    let ready = scene.client.until_ready("p").await?;
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(ready["status"]["phase"], "Running");
    assert!(ready["status"]["podIP"].as_str().is_some_and(|ip| ip.starts_with("10.244.")), "{ready}");
    assert_eq!(container(&ready)["ready"], true);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn start_delays_are_spread_around_their_mean() -> Result<()> {
    let scene = Scene::small().await?;
    let started = Instant::now();
    for index in 0..8 {
        scene.client.create(&format!("p{index}"), &json!({})).await?;
    }
    for index in 0..8 {
        scene.client.until_ready(&format!("p{index}")).await?;
        let elapsed = started.elapsed().as_millis();
        assert!((500..1600).contains(&elapsed), "p{index} after {elapsed} ms");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn with_equal_seeds_delays_and_uids_follow_from_the_names_in_any_order() -> Result<()> {
    let mut runs = Vec::new();
    for names in [["a", "b", "c"], ["c", "a", "b"]] {
        let scene = Scene::small().await?;
        let list = scene.client.must("GET", PODS, None).await?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
        for name in names {
            scene.client.create(name, &json!({})).await?;
        }
        let mut watch = scene.client.watch(&format!("{PODS}?watch=1&resourceVersion={version}")).await?;
        let mut became_ready = Vec::new();
        while became_ready.len() < names.len() {
            let pod = watch.event().await?.context("an event")?["object"].take();
            if condition(&pod, "Ready")["status"] == "True" {
                became_ready.push((pod["metadata"]["name"].clone(), pod["metadata"]["uid"].clone()));
            }
        }
        runs.push(became_ready);
    }
    assert_eq!(runs[0], runs[1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_says_so_twice() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &fated("image-pull-failure")).await?;
    scene.client.until("p", "failing", |pod| waits(pod, "ErrImagePull")).await?;
    let pod = scene.client.until("p", "backing off", |pod| waits(pod, "ImagePullBackOff")).await?;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().context("a message")?;
    assert!(message.starts_with("Back-off pulling image \"registry.example/machine:1\""), "{message}");
    assert_eq!(pod["status"]["phase"], "Pending");
    let events =
        scene.client.must("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp", None);
    assert_eq!(events.await?["items"][0]["reason"], "Failed");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_restarts_with_growing_pauses() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &fated("crash-loop")).await?;
    let restarts =
        |wanted: u64| move |pod: &Value| waits(pod, "CrashLoopBackOff") && container(pod)["restartCount"] == wanted;
    scene.client.until("p", "crashed once", restarts(1)).await?;
    let started = Instant::now();
    let pod = scene.client.until("p", "crashed twice", restarts(2)).await?;
    assert_eq!(started.elapsed().as_secs(), 10);
    scene.client.until("p", "crashed three times", restarts(3)).await?;
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(pod["status"]["phase"], "Running");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn exits_end_the_pod_with_their_code() -> Result<()> {
    let scene = Scene::small().await?;
    for (fate, phase, code, reason) in
        [("exit-0", "Succeeded", 0, "Completed"), ("exit-3", "Failed", 3, "Error"), ("oom", "Failed", 137, "OOMKilled")]
    {
        scene.client.create(fate, &fated(fate)).await?;
        let pod = scene.client.until(fate, "over", |pod| pod["status"]["phase"] == phase).await?;
        let end = &container(&pod)["state"]["terminated"];
        assert_eq!((&end["exitCode"], &end["reason"]), (&json!(code), &json!(reason)));
        assert_eq!(condition(&pod, "Ready")["status"], "False");
        let name = scene.cluster.pod_names().into_iter().find(|past| past.name == fate).context("a name")?;
        assert!(!name.ever_ready, "its fate ruled from the beginning");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fate_can_strike_a_ready_pod_later() -> Result<()> {
    let scene = Scene::small().await?;
    let mut annotations = fated("oom");
    annotations["sandbox.hfd/fate-after"] = "5s".into();
    scene.client.create("p", &annotations).await?;
    scene.client.until_ready("p").await?;
    let started = Instant::now();
    scene.client.until("p", "over", |pod| pod["status"]["phase"] == "Failed").await?;
    assert_eq!(started.elapsed().as_secs(), 5);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_never_ready_runs_all_the_same() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &fated("never-ready")).await?;
    let pod = scene.client.until("p", "running", |pod| pod["status"]["phase"] == "Running").await?;
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    assert_eq!(condition(&pod, "Ready")["status"], "False");
    let later = scene.client.pod("p").await?.context("the pod")?;
    assert_eq!(later["metadata"]["resourceVersion"], pod["metadata"]["resourceVersion"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_takes_half_a_minute() -> Result<()> {
    let scene = Scene::small().await?;
    let started = Instant::now();
    scene.client.create("p", &json!({"sandbox.hfd/fate": "slow-start"})).await?;
    scene.client.until_ready("p").await?;
    assert_eq!(started.elapsed().as_secs(), 30);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fate_can_be_ordered_for_a_running_pod() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({})).await?;
    scene.client.until_ready("p").await?;
    scene.client.must("POST", "/sandbox/pods/default/p", Some(&json!({"fate": "exit-7"}))).await?;
    let pod = scene.client.until("p", "over", |pod| pod["status"]["phase"] == "Failed").await?;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 7);
    let refused = scene.client.call("POST", "/sandbox/pods/default/p", Some(&json!({"fate": "wat"}))).await?;
    assert_eq!(refused.code, 400);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn readiness_can_be_taken_and_given_back() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({})).await?;
    scene.client.until_ready("p").await?;
    for (ready, status) in [(false, "False"), (true, "True")] {
        scene.client.must("POST", "/sandbox/pods/default/p", Some(&json!({"ready": ready}))).await?;
        let pod = scene.client.pod("p").await?.context("the pod")?;
        assert_eq!(condition(&pod, "Ready")["status"], status);
        assert_eq!(container(&pod)["ready"], ready);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pod_can_be_removed_at_once() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({})).await?;
    scene.client.until_ready("p").await?;
    scene.client.must("POST", "/sandbox/pods/default/p", Some(&json!({"delete": "now"}))).await?;
    assert!(scene.client.pod("p").await?.is_none());
    let missing = scene.client.call("POST", "/sandbox/pods/default/p", Some(&json!({"delete": "now"}))).await?;
    assert_eq!(missing.code, 404);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn addresses_are_unique_and_come_free_again() -> Result<()> {
    let scene = Scene::with(hfd_sandbox::Options { nodes: 1, pods_per_node: 300, ..small() }).await?;
    let mut addresses = std::collections::BTreeSet::new();
    for index in 0..300 {
        scene.client.create(&format!("p{index}"), &json!({"sandbox.hfd/start-delay": "1ms"})).await?;
    }
    for index in 0..300 {
        let pod = scene.client.until_ready(&format!("p{index}")).await?;
        addresses.insert(pod["status"]["podIP"].as_str().context("an address")?.to_owned());
    }
    assert_eq!(addresses.len(), 300);
    scene.client.must("DELETE", &format!("{PODS}/p0?gracePeriodSeconds=0"), None).await?;
    Ok(())
}
