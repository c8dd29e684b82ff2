//! Faults: each kind, its matching, and what is counted.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::client::{PODS, Scene, pod};

async fn inject(scene: &Scene, verb: &str, more: Value) -> Result<u64> {
    let mut fault = json!({"verb": verb, "resource": "pods"});
    for (field, value) in more.as_object().into_iter().flatten() {
        fault[field] = value.clone();
    }
    let answer = scene.client.must("POST", "/sandbox/faults", Some(&fault)).await?;
    answer["id"].as_u64().context("a number")
}

async fn create(scene: &Scene, name: &str) -> Result<crate::client::Reply> {
    scene.client.call("POST", PODS, Some(&pod(name, &json!({})))).await
}

#[tokio::test(start_paused = true)]
async fn a_status_is_given_instead_of_the_operation() -> Result<()> {
    let scene = Scene::small().await?;
    let status = json!({"code": 503, "reason": "ServiceUnavailable", "message": "try later", "retryAfter": 7});
    inject(&scene, "create", json!({"count": 1, "action": {"status": status}})).await?;
    let reply = create(&scene, "p").await?;
    assert_eq!((reply.code, reply.retry_after.as_deref()), (503, Some("7")));
    assert_eq!(reply.json["message"], "try later");
    assert!(scene.client.pod("p").await?.is_none());
    assert_eq!(create(&scene, "p").await?.code, 201, "once was all");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_answers_in_plain_text() -> Result<()> {
    let scene = Scene::small().await?;
    let status = json!({"code": 429, "message": "Too many requests, please try again later.", "plainText": true});
    inject(&scene, "list", json!({"action": {"status": status}})).await?;
    let reply = scene.client.call("GET", PODS, None).await?;
    assert_eq!((reply.code, reply.text.as_str()), (429, "Too many requests, please try again later.\n"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_status_after_the_operation_hides_that_it_was_done() -> Result<()> {
    let scene = Scene::small().await?;
    inject(&scene, "create", json!({"count": 1, "action": {"statusAfter": {"code": 504, "reason": "Timeout"}}}))
        .await?;
    assert_eq!(create(&scene, "p").await?.code, 504);
    assert!(scene.client.pod("p").await?.is_some());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn connections_drop_before_or_after_the_operation() -> Result<()> {
    let scene = Scene::small().await?;
    for (when, exists) in [("before", false), ("after", true)] {
        inject(&scene, "create", json!({"count": 1, "action": {"drop": when}})).await?;
        assert!(create(&scene, when).await.is_err(), "no answer");
        assert_eq!(scene.client.pod(when).await?.is_some(), exists, "{when}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_late_operation_takes_effect_after_its_connection_is_gone() -> Result<()> {
    let scene = Scene::small().await?;
    inject(&scene, "create", json!({"count": 1, "action": {"late": 5000}})).await?;
    assert!(create(&scene, "p").await.is_err());
    assert!(scene.client.pod("p").await?.is_none());
    let started = Instant::now();
    scene.client.until_ready("p").await?;
    assert!((5..8).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_slow_or_never_come() -> Result<()> {
    let scene = Scene::small().await?;
    let slow = inject(&scene, "get", json!({"action": {"delayMs": 1500}})).await?;
    let started = Instant::now();
    assert!(scene.client.pod("p").await?.is_none());
    assert_eq!(started.elapsed().as_millis() / 100, 15);
    scene.client.must("DELETE", &format!("/sandbox/faults/{slow}"), None).await?;
    inject(&scene, "get", json!({"action": {"hang": true}})).await?;
    assert!(timeout(Duration::from_secs(600), scene.client.pod("p")).await.is_err(), "not in ten minutes");
    scene.client.must("DELETE", "/sandbox/faults", None).await?;
    assert!(scene.client.pod("p").await?.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fault_hits_only_what_it_names_and_counts_its_hits() -> Result<()> {
    let scene = Scene::small().await?;
    inject(&scene, "create", json!({"namePrefix": "bad-", "action": {"status": {"code": 500}}})).await?;
    inject(&scene, "*", json!({"labelContains": "app=marked", "action": {"status": {"code": 502}}})).await?;
    assert_eq!(create(&scene, "good").await?.code, 201);
    assert_eq!(create(&scene, "bad-1").await?.code, 500);
    assert_eq!(create(&scene, "marked").await?.code, 502);
    let list = scene.client.call("GET", &format!("{PODS}?labelSelector=app%3Dmarked"), None).await?;
    assert_eq!(list.code, 502, "a list is matched by its selector");
    let faults = scene.client.must("GET", "/sandbox/faults", None).await?;
    assert_eq!((&faults[0]["hits"], &faults[1]["hits"]), (&json!(1), &json!(2)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_cannot_be_read_is_refused() -> Result<()> {
    let scene = Scene::small().await?;
    for fault in [
        json!({}),
        json!({"verb": "get", "resource": "pods", "action": {"explode": true}}),
        json!({"verb": "get", "resource": "pods", "action": {"status": {"code": 99}}}),
        json!({"verb": "get", "resource": "pods", "action": {"drop": "before"}, "typo": 1}),
    ] {
        let reply = scene.client.call("POST", "/sandbox/faults", Some(&fault)).await?;
        assert_eq!(reply.code, 400, "{fault}");
        assert!(reply.json["error"].is_string(), "{}", reply.text);
    }
    assert_eq!(scene.client.call("GET", "/sandbox/nonsense", None).await?.code, 404);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outage_closes_every_connection_but_the_controls() -> Result<()> {
    let scene = Scene::small().await?;
    let mut watch = scene.client.watch(&format!("{PODS}?watch=1")).await?;
    scene.client.must("POST", "/sandbox/outage", Some(&json!({"on": true}))).await?;
    assert!(watch.event().await.is_err(), "open streams break");
    assert!(scene.client.call("GET", PODS, None).await.is_err());
    scene.client.must("POST", "/sandbox/outage", Some(&json!({"on": false}))).await?;
    assert_eq!(scene.client.call("GET", PODS, None).await?.code, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted_refused_ones_too() -> Result<()> {
    let scene = Scene::small().await?;
    create(&scene, "p").await?;
    create(&scene, "p").await?;
    scene.client.must("GET", PODS, None).await?;
    scene.client.watch(&format!("{PODS}?watch=1")).await?;
    scene.client.must("DELETE", &format!("{PODS}/p"), None).await?;
    let counters = scene.client.must("GET", "/sandbox/counters", None).await?;
    assert_eq!(counters, json!({"create pods": 2, "delete pods": 1, "list pods": 1, "watch pods": 1}));
    scene.client.must("POST", "/sandbox/counters/reset", None).await?;
    assert_eq!(scene.client.must("GET", "/sandbox/counters", None).await?, json!({}));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn history_tells_how_often_a_name_was_used() -> Result<()> {
    let scene = Scene::small().await?;
    let first = create(&scene, "p").await?.json;
    scene.client.until_ready("p").await?;
    scene.client.must("DELETE", &format!("{PODS}/p?gracePeriodSeconds=0"), None).await?;
    let second = create(&scene, "p").await?.json;
    scene.client.must("DELETE", &format!("{PODS}/p?gracePeriodSeconds=0"), None).await?;
    let history = scene.client.must("GET", "/sandbox/history?resource=pods", None).await?;
    assert_eq!(
        history["p"],
        json!({
            "namespace": "default", "created": 2, "firstUid": first["metadata"]["uid"],
            "lastUid": second["metadata"]["uid"], "everReady": true, "exists": false
        })
    );
    Ok(())
}
