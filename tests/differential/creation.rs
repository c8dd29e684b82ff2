//! Creation of pods: what a good one is answered, the same again, names and namespaces, dry run.

use serde_json::{Value, json};

use crate::{
    case::case,
    normal::Numbers,
    pair::{bound_pod, idle_pod},
};

/// A pod as hfd makes it: the shape of `daemon/src/kube/manifest.rs`, with what sites usually put into a template.
fn pod_of_hfd(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "hfd", "symphony/hostfactory-reqid": "req",
                "symphony/hostfactory-provider": "k8s-hf", "symphony/hostfactory-template": "Template-K8s-A",
            },
            "annotations": {"hfd/template": "Template-K8s-A", "hfd/count": "10", "hfd/ordinal": "7"},
        },
        "spec": {
            "hostname": name, "subdomain": "workers", "schedulerName": "nobody", "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 7, "automountServiceAccountToken": false,
            "nodeSelector": {"pool": "batch"},
            "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "initContainers": [{"name": "setup", "image": "registry.example/setup"}],
            "containers": [
                {
                    "name": "main", "image": "registry.example/worker:1", "args": ["run"],
                    "env": [{"name": "A", "value": "b"}],
                    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                },
                {"name": "side", "image": "registry.example/side:latest", "resources": {"limits": {"cpu": 1}}},
            ],
        },
    })
}

#[test]
fn a_good_pod_is_answered_with_the_same_defaults() {
    case("creation", 0, |case| {
        let pods = case.pair.pods();
        case.same_call("small", "POST", &pods, Some(&idle_pod("small")));
        case.same_call("of hfd", "POST", &pods, Some(&pod_of_hfd("of-hfd")));
        case.same_call("bound", "POST", &pods, Some(&bound_pod("bound")));
        let mut guaranteed = idle_pod("guaranteed");
        guaranteed["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2000m", "memory": "1024Mi"}});
        case.same_call("guaranteed", "POST", &pods, Some(&guaranteed));
        let mut typeless = idle_pod("typeless");
        for key in ["apiVersion", "kind"] {
            typeless.as_object_mut().expect("a pod is an object").remove(key);
        }
        case.same_call("without apiVersion and kind", "POST", &pods, Some(&typeless));
        let mut own_namespace = idle_pod("own-namespace");
        own_namespace["metadata"]["namespace"] = json!(case.pair.namespace());
        case.same_call("namespace in the body", "POST", &pods, Some(&own_namespace));
        let mut theirs = idle_pod("server-fields");
        theirs["metadata"]["uid"] = json!("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
        theirs["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
        theirs["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
        theirs["metadata"]["generation"] = json!(7);
        theirs["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
        case.same_call("fields that are the server's", "POST", &pods, Some(&theirs));
        let mut versioned = idle_pod("versioned");
        versioned["metadata"]["resourceVersion"] = json!("7");
        case.same_call("with a resourceVersion", "POST", &pods, Some(&versioned));
        let mut empty = idle_pod("empties");
        empty["metadata"]["labels"] = json!({});
        empty["metadata"]["annotations"] = json!(null);
        empty["spec"]["nodeSelector"] = json!({});
        empty["spec"]["volumes"] = json!([]);
        case.same_call("with empty fields", "POST", &pods, Some(&empty));
        let mut patient = idle_pod("patient");
        patient["spec"]["terminationGracePeriodSeconds"] = json!(-5);
        case.same_call("with a negative grace period", "POST", &pods, Some(&patient));
        let mut tolerant = idle_pod("tolerant");
        tolerant["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        case.same_call("that tolerates everything", "POST", &pods, Some(&tolerant));
    });
}

#[test]
fn a_name_that_is_taken_is_refused_alike() {
    case("taken names", 0, |case| {
        let pods = case.pair.pods();
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        case.same_call("the same pod", "POST", &pods, Some(&bound_pod("p")));
        case.same_call("another pod", "POST", &pods, Some(&pod_of_hfd("p")));
        case.same_call("in a dry run", "POST", &format!("{pods}?dryRun=All"), Some(&idle_pod("p")));
        let mut bad = idle_pod("p");
        bad["spec"]["containers"] = json!([]);
        case.same_call("a pod that is not even valid", "POST", &pods, Some(&bad));
        case.same_call("the first is deleted", "DELETE", &format!("{pods}/p"), None);
        case.same_call("while it is being deleted", "POST", &pods, Some(&idle_pod("p")));
        case.same_call("the first is gone", "DELETE", &format!("{pods}/p?gracePeriodSeconds=0"), None);
        case.same_call("when it is gone", "POST", &pods, Some(&idle_pod("p")));
    });
}

#[test]
fn a_generated_name_has_the_same_form() {
    case("generated names", 0, |case| {
        let mut wanted = idle_pod("");
        wanted["metadata"] = json!({"generateName": "gen-"});
        case.same_value("answer", |side| {
            let mut pod = side.create(&wanted);
            let name = pod["metadata"]["name"].as_str().expect("a pod has a name").to_owned();
            let suffix = name.strip_prefix("gen-").expect("the base comes first");
            assert!(suffix.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)), "{}: {name}", side.name);
            pod["metadata"]["name"] = json!(format!("gen- and {} characters", suffix.len()));
            pod
        });
        let pods = case.pair.pods();
        wanted["metadata"] = json!({"generateName": "gen-", "name": "chosen"});
        case.same_call("with a name of its own", "POST", &pods, Some(&wanted));
        wanted["metadata"] = json!({});
        case.same_call("neither name nor base", "POST", &pods, Some(&wanted));
        wanted["metadata"] = json!({"generateName": "UPPER-"});
        case.same_value("a base that is no name", |side| {
            let answer = side.hfd.call("POST", &pods, Some(&wanted)).expect("an answer");
            let said = answer.json().expect("a Status")["message"].as_str().unwrap_or_default().to_owned();
            // The suffix stands in the text.
            json!([answer.code, said.split(": metadata").nth(1), said.contains("generateName")])
        });
        wanted["metadata"] = json!({"generateName": "x".repeat(300)});
        case.same_value("a base that is too long", |side| {
            let answer = side.hfd.call("POST", &pods, Some(&wanted)).expect("an answer");
            let body = answer.json().expect("JSON");
            json!([answer.code, body["details"]["causes"][0]["field"], body["metadata"]["name"].as_str().map(str::len)])
        });
    });
}

#[test]
fn a_namespace_that_does_not_fit_is_refused_alike() {
    case("namespaces of creates", 0, |case| {
        let mut elsewhere = idle_pod("p");
        elsewhere["metadata"]["namespace"] = json!("elsewhere");
        case.same_call("the body names another", "POST", &case.pair.pods(), Some(&elsewhere));
        let path = "/api/v1/namespaces/there-is-none/pods";
        case.same("there is none", |side| side.admin.call("POST", path, Some(&idle_pod("p"))));
        case.same("there is none, and the pod is bad", |side| {
            side.admin.call("POST", path, Some(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})))
        });
        case.same("there is none, dry run", |side| {
            side.admin.call("POST", &format!("{path}?dryRun=All"), Some(&idle_pod("p")))
        });
        case.same("no namespace in the path", |side| side.admin.call("POST", "/api/v1/pods", Some(&idle_pod("p"))));
        case.same("a name in the path", |side| {
            side.admin.call("POST", &format!("{}/p", side.pods()), Some(&idle_pod("p")))
        });
    });
}

#[test]
fn a_dry_run_answers_alike_and_stores_nothing() {
    case("dry run", 0, |case| {
        let pods = case.pair.pods();
        case.same_call("good", "POST", &format!("{pods}?dryRun=All"), Some(&pod_of_hfd("p")));
        case.same_call("strict", "POST", &format!("{pods}?dryRun=All&fieldValidation=Strict"), Some(&pod_of_hfd("p")));
        case.same_call("nothing was stored", "GET", &format!("{pods}/p"), None);
        case.same_call("bad", "POST", &format!("{pods}?dryRun=All"), Some(&json!({"metadata": {"name": "p"}})));
        case.same_call("another word", "POST", &format!("{pods}?dryRun=Some"), Some(&idle_pod("p")));
        case.same_call("an empty word", "POST", &format!("{pods}?dryRun="), Some(&idle_pod("empty-word")));
        case.same_call("said twice", "POST", &format!("{pods}?dryRun=All&dryRun=All"), Some(&idle_pod("p")));
    });
}

#[test]
fn a_create_is_read_back_as_it_was_answered() {
    case("read back", 0, |case| {
        case.same_value("the answer and the object are one", |side| {
            let created = side.create(&pod_of_hfd("p"));
            let read = side.pod("p");
            json!([read.as_ref() == Some(&created), created["metadata"]["resourceVersion"].is_string()])
        });
        case.same("the object", |side| side.hfd.call("GET", &side.pod_path("p"), None));
        case.same_value("texts have the order of the fields", |side| {
            let answer = side.hfd.call("GET", &side.pod_path("p"), None).expect("an answer");
            let text = crate::normal::text(&String::from_utf8_lossy(&answer.body), Numbers::Kept);
            json!(text.starts_with(r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","#))
        });
    });
}
