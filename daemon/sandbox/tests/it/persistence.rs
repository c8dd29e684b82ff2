//! Clusters that live on in a state file.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use hfd_sandbox::{Cluster, Error, Options};
use serde_json::json;

use crate::client::{PODS, Scene, small};

fn living_in(directory: &Path) -> Options {
    Options { state_file: Some(directory.join("cluster.jsonl")), ..small() }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_lives_on_without_having_been_stopped() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::with(living_in(directory.path())).await?;
    scene.client.create("p", &json!({})).await?;
    let before = scene.client.until_ready("p").await?;
    scene.client.create("gone", &json!({})).await?;
    scene.client.must("DELETE", &format!("{PODS}/gone?gracePeriodSeconds=0"), None).await?;
    let nodes = scene.client.must("GET", "/api/v1/nodes", None).await?;
    let token = scene.cluster.token().to_owned();
    scene.cluster.stop().await; // as abrupt as a kill: nothing is written at the end

    let scene = Scene::with(living_in(directory.path())).await?;
    assert_eq!(scene.client.pod("p").await?, Some(before));
    assert_eq!(scene.client.must("GET", "/api/v1/nodes", None).await?["items"], nodes["items"]);
    assert_eq!(scene.cluster.token(), token);
    let names: Vec<_> =
        scene.cluster.pod_names().into_iter().map(|name| (name.name, name.created, name.exists)).collect();
    assert_eq!(names, [("gone".to_owned(), 1, false), ("p".to_owned(), 1, true)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn versions_go_on_and_older_watches_are_gone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::with(living_in(directory.path())).await?;
    let old = scene.client.create("a", &json!({"sandbox.hfd/fate": "never-scheduled"})).await?;
    let old: u64 = old["metadata"]["resourceVersion"].as_str().context("a version")?.parse()?;
    scene.client.until("a", "unschedulable", |pod| pod["status"]["conditions"].is_array()).await?;
    scene.cluster.stop().await;

    let scene = Scene::with(living_in(directory.path())).await?;
    let new = scene.client.create("b", &json!({})).await?;
    let new: u64 = new["metadata"]["resourceVersion"].as_str().context("a version")?.parse()?;
    assert!(new > old, "{new} after {old}");
    let mut watch = scene.client.watch(&format!("{PODS}?watch=1&resourceVersion={old}")).await?;
    assert_eq!(watch.event().await?.context("an event")?["object"]["code"], 410);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pods_go_on_where_they_were() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::with(living_in(directory.path())).await?;
    let slow = json!({"sandbox.hfd/start-delay": "20s", "sandbox.hfd/stop-delay": "10s"});
    for name in ["starting", "stopping"] {
        scene.client.create(name, &slow).await?;
    }
    scene.client.until_ready("stopping").await?;
    scene.client.create("late", &slow).await?;
    scene.client.until("late", "bound", |pod| pod["spec"]["nodeName"].is_string()).await?;
    scene.client.must("DELETE", &format!("{PODS}/stopping"), None).await?;
    scene.cluster.stop().await;

    let scene = Scene::with(living_in(directory.path())).await?;
    scene.client.until_gone("stopping").await?;
    let late = scene.client.until_ready("late").await?;
    let starting = scene.client.until_ready("starting").await?;
    assert_ne!(late["status"]["podIP"], starting["status"]["podIP"], "addresses in use are not given out again");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_torn_last_line_is_forgotten() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::with(living_in(directory.path())).await?;
    scene.client.create("p", &json!({})).await?;
    scene.cluster.stop().await;
    let path = directory.path().join("cluster.jsonl");
    fs::OpenOptions::new().append(true).open(&path)?.write_all(b"{\"put\":{\"resource\":\"pods\",\"obj")?;

    let scene = Scene::with(living_in(directory.path())).await?;
    scene.client.until_ready("p").await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_broken_line_in_the_middle_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("cluster.jsonl");
    Cluster::start(living_in(directory.path())).await?.stop().await;
    let text = fs::read_to_string(&path)?;
    fs::write(&path, text.replacen('{', "", 1))?;
    let error = Cluster::start(living_in(directory.path())).await.expect_err("it is not started on half a state");
    assert!(matches!(error, Error::State { .. }), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_state_file_has_one_user_at_a_time() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::with(living_in(directory.path())).await?;
    let error = Cluster::start(living_in(directory.path())).await.expect_err("the file is in use");
    assert!(matches!(error, Error::State { .. }), "{error}");
    scene.cluster.stop().await;
    Cluster::start(living_in(directory.path())).await?;
    Ok(())
}
