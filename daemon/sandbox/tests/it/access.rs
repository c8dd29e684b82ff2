//! Who may do what, and what a client asks first.

use anyhow::Result;
use hfd_sandbox::Options;
use serde_json::json;

use crate::client::{PODS, Scene, small};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_unauthorized_everywhere() -> Result<()> {
    let scene = Scene::small().await?;
    for path in [PODS, "/version", "/api/v1/nonsense", "/sandbox/counters"] {
        let reply = scene.client.call_with("GET", path, String::new(), &[("authorization", "Bearer wrong")]).await?;
        assert_eq!(
            reply.json,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized",
                "reason": "Unauthorized", "code": 401
            }),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_token_is_a_password_too_since_kubectl_sends_no_bearer_token_over_http() -> Result<()> {
    let scene = Scene::with(Options { token: Some("t".to_owned()), ..small() }).await?;
    let kubeconfig = scene.cluster.kubeconfig();
    assert!(kubeconfig.contains(&scene.cluster.url().replace("http://", "http://sandbox:t@")), "{kubeconfig}");
    let basic = [("authorization", "Basic c2FuZGJveDp0")];
    assert_eq!(scene.client.call_with("GET", PODS, String::new(), &basic).await?.code, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_token_can_be_made_to_expire() -> Result<()> {
    let scene = Scene::small().await?;
    scene.client.must("POST", "/sandbox/unauthorized", Some(&json!({"on": true}))).await?;
    assert_eq!(scene.client.call("GET", PODS, None).await?.code, 401);
    scene.client.must("POST", "/sandbox/unauthorized", Some(&json!({"on": false}))).await?;
    assert_eq!(scene.client.call("GET", PODS, None).await?.code, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_denied_verb_is_forbidden_and_reviews_say_so() -> Result<()> {
    let scene = Scene::small().await?;
    let review = |verb: &str| json!({"spec": {"resourceAttributes": {"namespace": "default", "verb": verb, "resource": "pods"}}});
    scene.client.must("POST", "/sandbox/deny", Some(&json!({"verb": "list", "resource": "pods"}))).await?;
    let reply = scene.client.call("GET", PODS, None).await?;
    let message = "pods is forbidden: User \"sandbox\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    assert_eq!((reply.code, reply.json["message"].as_str()), (403, Some(message)));
    assert_eq!(reply.json["details"], json!({"kind": "pods"}));
    for (verb, allowed) in [("list", false), ("watch", true)] {
        let answer = scene.client.must("POST", REVIEWS, Some(&review(verb))).await?;
        assert_eq!(answer["status"]["allowed"], allowed, "{verb}");
    }
    scene.client.must("DELETE", "/sandbox/deny", None).await?;
    assert_eq!(scene.client.call("GET", PODS, None).await?.code, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn discovery_names_what_can_be_done() -> Result<()> {
    let scene = Scene::small().await?;
    let version = scene.client.must("GET", "/version", None).await?;
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    let core = scene.client.must("GET", "/api/v1", None).await?;
    assert_eq!((&core["kind"], &core["resources"][0]["name"]), (&json!("APIResourceList"), &json!("pods")));
    let groups = scene.client.must("GET", "/apis", None).await?;
    assert_eq!(groups["groups"][0]["name"], "authorization.k8s.io");
    for path in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(scene.client.call("GET", path, None).await?.text, "ok");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn paths_that_lead_nowhere_are_not_found() -> Result<()> {
    let scene = Scene::small().await?;
    let reply = scene.client.call("GET", "/api/v1/nonsense", None).await?;
    let message = "the server could not find the requested resource";
    assert_eq!((reply.code, reply.json["message"].as_str()), (404, Some(message)));
    let reply = scene.client.call("GET", "/nonsense", None).await?;
    assert_eq!((reply.code, reply.text.as_str()), (404, "404 page not found\n"));
    let reply = scene.client.call("PUT", PODS, Some(&json!({}))).await?;
    assert_eq!((reply.code, reply.json["reason"].as_str()), (405, Some("MethodNotAllowed")));
    Ok(())
}
