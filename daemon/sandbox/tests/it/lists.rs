//! Lists: selection, pages, versions, representations.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::{PODS, Scene, pod};

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

async fn five_pods() -> Result<Scene> {
    let scene = Scene::small().await?;
    for name in ["a", "b", "c", "d", "e"] {
        scene.client.create(name, &json!({"sandbox.hfd/fate": "never-scheduled"})).await?;
    }
    Ok(scene)
}

#[tokio::test(start_paused = true)]
async fn selectors_choose_what_is_listed() -> Result<()> {
    let scene = five_pods().await?;
    for (query, expected) in [
        ("labelSelector=app%3Da", vec!["a"]),
        ("labelSelector=app+in+(a,c)", vec!["a", "c"]),
        ("labelSelector=app,app!%3Da,app!%3Db,app!%3Dc", vec!["d", "e"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=status.phase%3DRunning", vec![]),
        ("fieldSelector=spec.nodeName%3D&labelSelector=app+notin+(a,b,c,d)", vec!["e"]),
    ] {
        let list = scene.client.must("GET", &format!("{PODS}?{query}"), None).await?;
        assert_eq!(names(&list), expected, "{query}");
        let everywhere = scene.client.must("GET", &format!("/api/v1/pods?{query}"), None).await?;
        assert_eq!(names(&everywhere), expected, "{query} in all namespaces");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pages_show_the_state_of_the_first_one() -> Result<()> {
    let scene = five_pods().await?;
    let first = scene.client.must("GET", &format!("{PODS}?limit=2"), None).await?;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    scene.client.must("DELETE", &format!("{PODS}/c"), None).await?;
    scene.client.create("bb", &json!({"sandbox.hfd/fate": "never-scheduled"})).await?;
    let token = first["metadata"]["continue"].as_str().context("a token")?;
    let second = scene.client.must("GET", &format!("{PODS}?limit=2&continue={token}"), None).await?;
    assert_eq!(names(&second), ["c", "d"], "what was deleted since is still shown, what was created is not");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().context("a token")?;
    let last = scene.client.must("GET", &format!("{PODS}?limit=2&continue={token}"), None).await?;
    assert_eq!(names(&last), ["e"]);
    assert!(last["metadata"]["continue"].is_null());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_expired_page_is_410_and_says_how_to_go_on() -> Result<()> {
    let scene = five_pods().await?;
    let first = scene.client.must("GET", &format!("{PODS}?limit=2"), None).await?;
    scene.client.must("DELETE", &format!("{PODS}/c"), None).await?;
    scene.client.must("POST", "/sandbox/watch/compact", None).await?;
    let token = first["metadata"]["continue"].as_str().context("a token")?;
    let reply = scene.client.call("GET", &format!("{PODS}?limit=2&continue={token}"), None).await?;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (410, Some("Expired")));
    let token = reply.json["metadata"]["continue"].as_str().context("a way on")?;
    let rest = scene.client.must("GET", &format!("{PODS}?continue={token}"), None).await?;
    assert_eq!(names(&rest), ["d", "e"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_exact_version_shows_the_past() -> Result<()> {
    let scene = five_pods().await?;
    let before = scene.client.must("GET", PODS, None).await?;
    let version = before["metadata"]["resourceVersion"].as_str().context("a version")?;
    scene.client.must("DELETE", &format!("{PODS}/a"), None).await?;
    let path = format!("{PODS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&scene.client.must("GET", &path, None).await?), ["a", "b", "c", "d", "e"]);
    let path = format!("{PODS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&scene.client.must("GET", &path, None).await?), ["b", "c", "d", "e"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn queries_that_make_no_sense_are_refused_in_the_servers_words() -> Result<()> {
    let scene = Scene::small().await?;
    for (query, code, message) in [
        ("limit=zz", 400, "strconv.ParseInt: parsing \"zz\": invalid syntax"),
        ("labelSelector=a%3D%3D%3Db", 400, "unable to parse requirement: found '=', expected: identifier"),
        ("fieldSelector=spec.wat%3Dx", 400, "field label not supported: spec.wat"),
        (
            "resourceVersion=abc",
            400,
            "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax",
        ),
        (
            "resourceVersionMatch=Exact",
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Wat",
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"Wat\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
    ] {
        let reply = scene.client.call("GET", &format!("{PODS}?{query}"), None).await?;
        assert_eq!((reply.code, reply.json["message"].as_str()), (code, Some(message)), "{query}");
    }
    let reply = scene.client.call("GET", &format!("{PODS}?resourceVersion=99999999"), None).await?;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (504, Some("Timeout")));
    assert_eq!(scene.client.call("GET", &format!("{PODS}?continue=zzz"), None).await?.code, 400);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn kubectls_columns_come_as_a_table() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({})).await?;
    scene.client.until_ready("p").await?;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let reply = scene.client.call_with("GET", PODS, String::new(), &accept).await?;
    assert_eq!(reply.json["kind"], "Table");
    let cells = &reply.json["rows"][0]["cells"];
    assert_eq!([&cells[0], &cells[1], &cells[2], &cells[3]], ["p", "1/1", "Running", "0"]);
    let nodes = scene.client.call_with("GET", "/api/v1/nodes", String::new(), &accept).await?;
    assert_eq!(nodes.json["rows"][2]["cells"][1], "Ready");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn metadata_can_be_had_alone() -> Result<()> {
    let scene = five_pods().await?;
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];
    let reply = scene.client.call_with("GET", PODS, String::new(), &accept).await?;
    assert_eq!(reply.json["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&reply.json).len(), 5);
    assert!(reply.json["items"][0]["spec"].is_null());
    let html = scene.client.call_with("GET", PODS, String::new(), &[("accept", "text/html")]).await?;
    assert_eq!(html.code, 406);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn labels_can_be_patched_and_the_spec_cannot() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.must("POST", PODS, Some(&pod("p", &json!({"sandbox.hfd/fate": "never-scheduled"})))).await?;
    let path = format!("{PODS}/p");
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = json!({"metadata": {"labels": {"app": null, "x": "y"}}}).to_string();
    let reply = scene.client.call_with("PATCH", &path, patch, &merge).await?;
    assert_eq!(reply.json["metadata"]["labels"], json!({"x": "y"}), "{}", reply.text);
    let patch = json!({"spec": {"nodeName": "elsewhere"}}).to_string();
    let reply = scene.client.call_with("PATCH", &path, patch, &merge).await?;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (422, Some("Invalid")));
    let patch = json!({"metadata": {"resourceVersion": "1"}}).to_string();
    assert_eq!(scene.client.call_with("PATCH", &path, patch, &merge).await?.code, 409);
    let json_patch = [("content-type", "application/json-patch+json")];
    assert_eq!(scene.client.call_with("PATCH", &path, "{}".to_owned(), &json_patch).await?.code, 415);
    Ok(())
}
