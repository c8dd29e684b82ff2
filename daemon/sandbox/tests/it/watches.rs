//! Watches: order, selection, bookmarks, 410, and everything that can be done to a stream.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::Instant;

use crate::client::{PODS, Scene, Watch};

const STILL: &str = "never-scheduled";

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn create(scene: &Scene, name: &str) -> Result<String> {
    let pod = scene.client.create(name, &json!({"sandbox.hfd/fate": STILL})).await?;
    Ok(pod["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned())
}

/// The version of an empty list.
async fn version(scene: &Scene) -> Result<String> {
    let list = scene.client.must("GET", PODS, None).await?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned())
}

async fn watch(scene: &Scene, query: &str) -> Result<Watch> {
    scene.client.watch(&format!("{PODS}?watch=1&{query}")).await
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_version_begins_with_what_is_there() -> Result<()> {
    let scene = Scene::small().await?;
    create(&scene, "a").await?;
    let mut watch = watch(&scene, "").await?;
    assert_eq!(watch.next().await?, pair("ADDED", "a"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_shows_all_that_came_after_it() -> Result<()> {
    let scene = Scene::small().await?;
    let from = create(&scene, "a").await?;
    create(&scene, "b").await?;
    let mut watch = watch(&scene, &format!("resourceVersion={from}&labelSelector=app%3Db")).await?;
    assert_eq!(watch.next().await?, pair("ADDED", "b"));
    assert_eq!(watch.next().await?, pair("MODIFIED", "b"), "the scheduler says that there is no node");
    scene.client.must("DELETE", &format!("{PODS}/b"), None).await?;
    assert_eq!(watch.next().await?, pair("MODIFIED", "b"), "its deletion has no grace");
    assert_eq!(watch.next().await?, pair("DELETED", "b"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_bookmark_where_bookmarks_are_allowed() -> Result<()> {
    let scene = Scene::small().await?;
    create(&scene, "a").await?;
    for query in ["allowWatchBookmarks=true&resourceVersion=0", "allowWatchBookmarks=yes"] {
        let mut watch = watch(&scene, query).await?;
        assert_eq!(watch.next().await?, pair("ADDED", "a"));
        let bookmark = watch.event().await?.context("an event")?;
        assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    }
    let early = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=9000000000";
    let error = watch(&scene, early).await?.event().await?.context("an event")?;
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(504)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn leaving_the_selection_looks_like_a_deletion_and_entering_it_like_a_creation() -> Result<()> {
    let scene = Scene::small().await?;
    create(&scene, "a").await?;
    scene.client.until("a", "unschedulable", |pod| pod["status"]["conditions"].is_array()).await?;
    let from = version(&scene).await?;
    let mut watch = watch(&scene, &format!("resourceVersion={from}&labelSelector=role%3Dx")).await?;
    let merge = [("content-type", "application/merge-patch+json")];
    for label in [json!("x"), json!("y")] {
        let patch = json!({"metadata": {"labels": {"role": label}}}).to_string();
        scene.client.call_with("PATCH", &format!("{PODS}/a"), patch, &merge).await?;
    }
    assert_eq!(watch.next().await?, pair("ADDED", "a"));
    let gone = watch.event().await?.context("an event")?;
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"]["role"], "x", "the last state that was selected");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_before_the_end() -> Result<()> {
    let scene = Scene::small().await?;
    let from = version(&scene).await?;
    let started = Instant::now();
    let query = format!("resourceVersion={from}&allowWatchBookmarks=true&timeoutSeconds=100");
    let mut watch = watch(&scene, &query).await?;
    let mut seen = Vec::new();
    while let Some(event) = watch.event().await? {
        assert_eq!(event["type"], "BOOKMARK");
        assert!(event["object"]["metadata"]["resourceVersion"].is_string(), "{event}");
        seen.push(started.elapsed().as_secs());
    }
    assert_eq!(seen, [60, 98]);
    assert_eq!(started.elapsed().as_secs(), 100);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_bookmark_that_says_so() -> Result<()> {
    let scene = Scene::small().await?;
    create(&scene, "a").await?;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = watch(&scene, query).await?;
    assert_eq!(watch.next().await?, pair("ADDED", "a"));
    let end = watch.event().await?.context("an event")?;
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let path = format!("{PODS}?watch=1&sendInitialEvents=true");
    let reply = scene.client.call("GET", &path, None).await?;
    assert_eq!(reply.code, 422, "{}", reply.text);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_compacted_is_gone() -> Result<()> {
    let scene = Scene::small().await?;
    let old = create(&scene, "a").await?;
    create(&scene, "b").await?;
    let mut open = watch(&scene, &format!("resourceVersion={old}&labelSelector=app%3Db")).await?;
    assert_eq!(open.next().await?, pair("ADDED", "b"));
    scene.client.must("POST", "/sandbox/watch/compact", None).await?;
    let mut late = watch(&scene, &format!("resourceVersion={old}")).await?;
    let error = late.event().await?.context("an event")?;
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert!(late.event().await?.is_none(), "the stream ends after it");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_seen_everything_survives_a_compaction() -> Result<()> {
    let scene = Scene::small().await?;
    let from = version(&scene).await?;
    let mut watch = watch(&scene, &format!("resourceVersion={from}")).await?;
    scene.client.must("POST", "/sandbox/watch/compact", None).await?;
    create(&scene, "a").await?;
    assert_eq!(watch.next().await?, pair("ADDED", "a"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cut_breaks_streams_in_the_middle_of_a_frame() -> Result<()> {
    let scene = Scene::small().await?;
    let mut watch = watch(&scene, "").await?;
    scene.client.must("POST", "/sandbox/watch/cut", None).await?;
    assert!(watch.event().await.is_err(), "the stream breaks instead of ending");
    assert!(!watch.torn().is_empty(), "half a frame had arrived");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_carries_nothing_until_it_is_let_go() -> Result<()> {
    let scene = Scene::small().await?;
    let from = version(&scene).await?;
    let mut watch = watch(&scene, &format!("resourceVersion={from}&allowWatchBookmarks=true")).await?;
    scene.client.must("POST", "/sandbox/watch/silence", Some(&json!({"on": true}))).await?;
    create(&scene, "a").await?;
    let silence = tokio::time::timeout(Duration::from_secs(600), watch.event()).await;
    assert!(silence.is_err(), "not even a bookmark in ten minutes");
    scene.client.must("POST", "/sandbox/watch/silence", Some(&json!({"on": false}))).await?;
    assert_eq!(watch.next().await?, pair("ADDED", "a"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_falls_behind_the_past_is_told_so() -> Result<()> {
    let scene = Scene::small().await?;
    create(&scene, "a").await?;
    scene.client.until("a", "unschedulable", |pod| pod["status"]["conditions"].is_array()).await?;
    let from = version(&scene).await?;
    scene.client.must("POST", "/sandbox/watch/silence", Some(&json!({"on": true}))).await?;
    let mut watch = watch(&scene, &format!("resourceVersion={from}")).await?;
    create(&scene, "b").await?;
    scene.client.must("POST", "/sandbox/watch/compact", None).await?;
    scene.client.must("POST", "/sandbox/watch/silence", Some(&json!({"on": false}))).await?;
    let error = watch.event().await?.context("an event")?;
    assert_eq!(error["object"]["code"], 410);
    Ok(())
}
