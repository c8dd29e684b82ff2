//! Creation: what is added, what is refused, and in which words.

use anyhow::Result;
use serde_json::{Value, json};

use crate::client::{PODS, Scene, pod};

#[tokio::test(start_paused = true)]
async fn a_created_pod_is_answered_with_the_servers_defaults() -> Result<()> {
    let scene = Scene::small().await?;
    let reply = scene.client.call("POST", PODS, Some(&pod("p", &json!({})))).await?;
    assert_eq!(reply.code, 201);
    let pod = reply.json;
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(pod["spec"]["restartPolicy"], "Always");
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(pod["spec"]["schedulerName"], "default-scheduler");
    assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    assert_eq!(pod["metadata"]["namespace"], "default");
    assert_eq!(pod["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert!(pod["metadata"]["creationTimestamp"].as_str().is_some_and(|stamp| stamp.ends_with('Z')), "{pod}");
    assert!(pod["spec"]["nodeName"].is_null(), "a new pod has no node yet");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_a_conflict() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({})).await?;
    let reply = scene.client.call("POST", PODS, Some(&pod("p", &json!({})))).await?;
    assert_eq!(
        reply.json,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "pods \"p\" already exists", "reason": "AlreadyExists",
            "details": {"name": "p", "kind": "pods"}, "code": 409
        })
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_generated_name_has_five_characters_more() -> Result<()> {
    let scene = Scene::small().await?;
    let mut wanted = pod("", &json!({}));
    wanted["metadata"] = json!({"generateName": "gen-"});
    let created = scene.client.must("POST", PODS, Some(&wanted)).await?;
    let name = created["metadata"]["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
    assert_eq!(created["metadata"]["generateName"], "gen-");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_validates_and_stores_nothing() -> Result<()> {
    let scene = Scene::small().await?;
    let path = format!("{PODS}?dryRun=All");
    let reply = scene.client.call("POST", &path, Some(&pod("p", &json!({})))).await?;
    assert_eq!(reply.code, 201);
    assert!(reply.json["metadata"]["resourceVersion"].is_null(), "{}", reply.text);
    assert_eq!(scene.client.call("POST", &path, Some(&pod("P", &json!({})))).await?.code, 422);
    assert!(scene.client.pod("p").await?.is_none());
    Ok(())
}

/// Bodies a real server of version 1.36.3 refused, with its code, reason and message.
fn refused_bodies() -> Vec<(Value, u16, &'static str, &'static str)> {
    let with =
        |metadata: Value, spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    let container = json!([{"name": "c", "image": "i"}]);
    let spec = |field: &str, value: Value| {
        let mut spec = json!({"containers": container});
        spec[field] = value;
        with(json!({"name": "x"}), spec)
    };
    let ok = json!({"containers": container});
    vec![
        (
            json!({}),
            422,
            "Invalid",
            "Pod \"\" is invalid: [metadata.name: Required value: name or generateName is required, spec.containers: Required value]",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}}),
            400,
            "BadRequest",
            "Node in version \"v1\" cannot be handled as a Pod: converting (v1.Node) to (core.Pod): unknown conversion",
        ),
        (
            with(json!({"name": "x", "namespace": "other"}), ok.clone()),
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            with(json!({"name": "UPPER_x"}), ok.clone()),
            422,
            "Invalid",
            "Pod \"UPPER_x\" is invalid: metadata.name: Invalid value: \"UPPER_x\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            with(json!({"name": "x", "labels": {"a": "b c"}}), ok.clone()),
            422,
            "Invalid",
            "Pod \"x\" is invalid: metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            with(json!({"name": "x", "labels": {"c": "x".repeat(64)}}), ok.clone()),
            422,
            "Invalid",
            "Pod \"x\" is invalid: metadata.labels: Invalid value: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\": must be no more than 63 bytes",
        ),
        (
            with(json!({"name": "x", "labels": {"a": 1}}), ok.clone()),
            400,
            "BadRequest",
            "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            with(json!({"name": "x", "annotations": {"a b": "b"}}), ok),
            422,
            "Invalid",
            "Pod \"x\" is invalid: metadata.annotations: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (spec("containers", json!([])), 422, "Invalid", "Pod \"x\" is invalid: spec.containers: Required value"),
        (
            spec("containers", json!("no")),
            400,
            "BadRequest",
            "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            spec("containers", json!([{}])),
            422,
            "Invalid",
            "Pod \"x\" is invalid: [spec.containers[0].name: Required value, spec.containers[0].image: Required value]",
        ),
        (
            spec("containers", json!([{"name": "C_", "image": "i"}])),
            422,
            "Invalid",
            "Pod \"x\" is invalid: spec.containers[0].name: Invalid value: \"C_\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            spec("containers", json!([{"name": "c", "image": "i"}, {"name": "c", "image": "i"}])),
            422,
            "Invalid",
            "Pod \"x\" is invalid: spec.containers[1].name: Duplicate value: \"c\"",
        ),
        (
            spec("containers", json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": "zzz"}}}])),
            400,
            "BadRequest",
            "Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            spec(
                "containers",
                json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": "-1", "memory": "2Gi"}, "limits": {"memory": "1Gi"}}}]),
            ),
            422,
            "Invalid",
            "Pod \"x\" is invalid: [spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0, spec.containers[0].resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi]",
        ),
        (
            spec("restartPolicy", json!("Maybe")),
            422,
            "Invalid",
            "Pod \"x\" is invalid: spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            spec("tolerations", json!([{"key": "a", "operator": "Some", "effect": "Nope"}])),
            422,
            "Invalid",
            "Pod \"x\" is invalid: [spec.tolerations[0].operator: Unsupported value: \"Some\": supported values: \"Equal\", \"Exists\", spec.tolerations[0].effect: Unsupported value: \"Nope\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"]",
        ),
        (
            spec("priorityClassName", json!("nope")),
            403,
            "Forbidden",
            "pods \"x\" is forbidden: no PriorityClass with name nope was found",
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn refusals_have_the_words_of_a_real_server() -> Result<()> {
    let scene = Scene::small().await?;
    for (body, code, reason, message) in refused_bodies() {
        let reply = scene.client.call("POST", PODS, Some(&body)).await?;
        assert_eq!(reply.json["message"], message, "for {body}");
        assert_eq!((reply.code, reply.json["reason"].as_str()), (code, Some(reason)), "for {body}");
    }
    assert!(scene.client.pod("x").await?.is_none(), "nothing of it was stored");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_invalid_pod_is_told_the_field_of_each_cause() -> Result<()> {
    let scene = Scene::small().await?;
    let body = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c"}]}});
    let reply = scene.client.call("POST", PODS, Some(&body)).await?;
    let cause = json!({
        "reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers[0].image"
    });
    assert_eq!(reply.json["details"], json!({"name": "x", "kind": "Pod", "causes": [cause]}));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn bodies_that_cannot_be_read_are_bad_requests() -> Result<()> {
    let scene = Scene::small().await?;
    for body in ["garbage", "[]", "{\"metadata\":", &"[".repeat(100_000)] {
        let reply = scene.client.call_with("POST", PODS, body.to_owned(), &[]).await?;
        assert_eq!(reply.code, 400, "{}", reply.text);
        let message = reply.json["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("the object provided is unrecognized (must be of type Pod)"), "{message}");
    }
    let yaml = [("content-type", "application/yaml")];
    assert_eq!(scene.client.call_with("POST", PODS, "a: b".to_owned(), &yaml).await?.code, 415);
    let huge = format!("\"{}\"", "x".repeat(4 << 20));
    let reply = scene.client.call_with("POST", PODS, huge, &[]).await?;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_does_not_exist_takes_no_pods() -> Result<()> {
    let scene = Scene::small().await?;
    let reply = scene.client.call("POST", "/api/v1/namespaces/absent/pods", Some(&pod("p", &json!({})))).await?;
    assert_eq!((reply.code, reply.json["message"].as_str()), (404, Some("namespaces \"absent\" not found")));
    assert_eq!(reply.json["details"], json!({"name": "absent", "kind": "namespaces"}));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_misspelt_fate_is_refused_instead_of_ignored() -> Result<()> {
    let scene = Scene::small().await?;
    let wanted = pod("p", &json!({"sandbox.hfd/fate": "exit-zero"}));
    let reply = scene.client.call("POST", PODS, Some(&wanted)).await?;
    assert_eq!(reply.code, 422);
    assert!(reply.text.contains("never-scheduled"), "it names the fates: {}", reply.text);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quota_refuses_the_pod_that_would_exceed_it() -> Result<()> {
    let scene = Scene::small().await?;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
    scene.client.must("POST", "/api/v1/namespaces/default/resourcequotas", Some(&quota)).await?;
    scene.client.create("one", &json!({})).await?;
    let reply = scene.client.call("POST", PODS, Some(&pod("two", &json!({})))).await?;
    let message = "pods \"two\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
    assert_eq!((reply.code, reply.json["message"].as_str()), (403, Some(message)));
    let quota = scene.client.must("GET", "/api/v1/namespaces/default/resourcequotas/q", None).await?;
    assert_eq!(quota["status"], json!({"hard": {"pods": "1"}, "used": {"pods": "1"}}));
    scene.client.must("DELETE", &format!("{PODS}/one?gracePeriodSeconds=0"), None).await?;
    scene.client.create("two", &json!({})).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_field_that_nobody_knows_is_dropped_with_a_warning_or_refused() -> Result<()> {
    let scene = Scene::small().await?;
    let mut wanted = pod("p", &json!({}));
    wanted["spec"]["containers"][0]["immage"] = json!("x");
    let strict = scene.client.call("POST", &format!("{PODS}?fieldValidation=Strict"), Some(&wanted)).await?;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.json["message"],
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
         \"spec.containers[0].immage\""
    );
    let created = scene.client.must("POST", PODS, Some(&wanted)).await?;
    assert!(created["spec"]["containers"][0].get("immage").is_none(), "{created}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn quantities_are_answered_as_the_server_writes_them() -> Result<()> {
    let scene = Scene::small().await?;
    let mut wanted = pod("p", &json!({}));
    wanted["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}});
    let created = scene.client.must("POST", PODS, Some(&wanted)).await?;
    let expected = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(created["spec"]["containers"][0]["resources"], json!({"limits": expected, "requests": expected}));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_pod_is_being_deleted_says_so() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.create("p", &json!({"sandbox.hfd/fate": "stuck-terminating"})).await?;
    scene.client.until_ready("p").await?;
    scene.client.must("DELETE", &format!("{PODS}/p"), None).await?;
    let reply = scene.client.call("POST", PODS, Some(&pod("p", &json!({})))).await?;
    assert_eq!(
        (reply.code, &reply.json["message"]),
        (409, &json!("object is being deleted: pods \"p\" already exists"))
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_resources_wants_them_named_and_counts_them() -> Result<()> {
    let scene = Scene::small().await?;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "1"}}});
    scene.client.must("POST", &PODS.replace("/pods", "/resourcequotas"), Some(&quota)).await?;
    let silent = scene.client.call("POST", PODS, Some(&pod("a", &json!({})))).await?;
    let words = "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: main";
    assert_eq!((silent.code, &silent.json["message"]), (403, &json!(words)));
    let mut wanted = pod("a", &json!({}));
    wanted["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}});
    scene.client.must("POST", PODS, Some(&wanted)).await?;
    wanted["metadata"]["name"] = json!("b");
    let second = scene.client.call("POST", PODS, Some(&wanted)).await?;
    let words = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, \
                 limited: requests.cpu=1";
    assert_eq!((second.code, &second.json["message"]), (403, &json!(words)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_the_storage_is_refused_without_a_reason() -> Result<()> {
    let scene = Scene::small().await?;
    let mut wanted = pod("p", &json!({}));
    wanted["spec"]["containers"][0]["args"] = json!(["x".repeat(2_000_000)]);
    let reply = scene.client.call("POST", PODS, Some(&wanted)).await?;
    assert_eq!((reply.code, &reply.json["message"]), (500, &json!("etcdserver: request is too large")));
    assert!(scene.client.pod("p").await?.is_none());
    Ok(())
}
