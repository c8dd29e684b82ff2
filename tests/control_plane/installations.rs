//! Installations of the older provider by Morgan Stanley: their files as they are, and the way over while its pods run.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tests::{holds_for, template};

use crate::{hostfactory::slices, site::Plan, testbed};

/// A pod manifest as such a site has it: a name of its own, labels for people, nothing that hfd asks for.
const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: compute-test
  labels:
    app.kubernetes.io/name: compute
    app.kubernetes.io/instance: symphony-k8s
spec:
  containers:
    - name: compute
      image: registry.example/symphony/compute:2024.05
      command: ['sh', '-c', 'echo \"started\" && sleep 3600']
";

/// Another one, with what larger sites have.
const FULL_MANIFEST: &str = "\
# Large hosts.
apiVersion: v1
kind: Pod
metadata:
  name: compute-large
  namespace: elsewhere
  labels: {app.kubernetes.io/name: compute, app.kubernetes.io/instance: symphony-k8s}
  annotations:
    cluster-autoscaler.kubernetes.io/safe-to-evict: \"false\"
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  nodeSelector: {kubernetes.io/os: linux}
  tolerations:
    - {key: dedicated, operator: Equal, value: symphony, effect: NoSchedule}
  volumes:
    - name: scratch
      emptyDir: {sizeLimit: 1Gi}
  initContainers:
    - {name: prepare, image: 'registry.example/symphony/prepare:1', command: [\"true\"]}
  containers:
    - name: compute
      image: registry.example/symphony/compute:2024.05
      env:
        - {name: EGO_MASTER_LIST, value: management.example}
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
      resources:
        requests: {cpu: 500m, memory: 512Mi}
        limits: {memory: 1Gi}
      volumeMounts:
        - {name: scratch, mountPath: /scratch}
      readinessProbe:
        exec: {command: ['sh', '-c', 'pgrep lim']}
        periodSeconds: 5
";

/// Writes such an installation into `conf` and makes the plan's daemon find it as the old provider does.
#[track_caller]
fn install(plan: &mut Plan) {
    let conf = plan.dir().join("conf");
    fs::create_dir_all(conf.join("specs")).expect("the test's directory can be written");
    let absolute = conf.join("pod-spec.yml");
    template::replace(&absolute, MANIFEST.as_bytes());
    template::replace(&conf.join("specs/large.yaml"), FULL_MANIFEST.as_bytes());
    let kind = json!(["String", "X86_64"]);
    let file = json!({"templates": [
        {"templateId": "Template-K8s-A", "maxNumber": 10, "podSpec": absolute,
            "attributes": {"nram": ["4096"], "ncpus": ["8"], "ncores": ["1"], "type": kind}},
        {"templateId": "Template-K8s-B", "maxNumber": 5, "podSpec": "specs/large.yaml",
            "attributes": {"nram": ["Numeric", "65536"], "ncpus": ["Numeric", "16"], "ncores": ["Numeric", "1"],
                "type": kind, "rank": ["Numeric", "3"], "zone": ["String", "eu-1"]}},
        {"templateId": "Template-K8s-C", "maxNumber": 5, "podSpec": "pod-spec.yml", "availableNumber": 5,
            "requestedMachines": [], "attributes": {"nram": 2048, "ncpus": "2", "type": "X86_64", "spot": true}},
    ]});
    template::replace(&conf.join("k8sprov_templates.json"), file.to_string().as_bytes());
    plan.spec.template_file = None;
    plan.spec.env.insert("HF_K8S_PROVIDER_CONFDIR".to_owned(), conf.display().to_string());
}

#[test]
fn template_files_and_manifests_of_the_older_provider_run_unchanged() {
    let mut plan = Plan::new(&testbed(), 1);
    install(&mut plan);
    let site = plan.start_serving();
    let templates = site.hf.templates();
    let told: Vec<(&str, &Value)> =
        templates.iter().filter_map(|t| Some((t["templateId"].as_str()?, &t["attributes"]))).collect();
    assert_eq!(
        told.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        ["Template-K8s-A", "Template-K8s-B", "Template-K8s-C"]
    );
    let numeric = |place: usize| ["ncores", "ncpus", "nram"].map(|key| told[place].1[key].clone());
    assert_eq!(numeric(0), [json!(["Numeric", "1"]), json!(["Numeric", "8"]), json!(["Numeric", "4096"])]);
    assert_eq!(numeric(1), [json!(["Numeric", "1"]), json!(["Numeric", "16"]), json!(["Numeric", "65536"])]);
    assert_eq!(numeric(2), [json!(["Numeric", "1"]), json!(["Numeric", "2"]), json!(["Numeric", "2048"])]);

    for id in ["Template-K8s-A", "Template-K8s-B", "Template-K8s-C"] {
        let machines = site.hf.bring_up(id, 2);
        let pod = site.pods().get(&machines[0]).expect("the machine has a pod");
        assert_eq!(pod["spec"]["hostname"], machines[0].as_str());
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/name"], "compute");
        site.hf.take_down(&slices(&machines));
    }
    // More than the template allows: the rest fails and says so.
    let end = site.hf.wait_end(&site.hf.request("Template-K8s-B", 7));
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (5, 2), "{end:#?}");
    let left: Vec<&str> = end.machines.iter().map(|machine| machine.name.as_str()).collect();
    site.hf.take_down(&left);
    site.pods().wait_none();
}

#[test]
fn machines_of_the_older_provider_go_when_hostfactory_returns_them_and_not_before() {
    let mut plan = Plan::new(&testbed(), 1);
    install(&mut plan);
    // Two requests of the older provider, and a pod that is none of its own.
    let old: Vec<String> = ["k3v9x0q2m7ab", "zz81kd02lq7c"]
        .iter()
        .flat_map(|request| (0..3).map(move |number| format!("{request}-{number}")))
        .collect();
    let pods = crate::site::Pods::of(&plan.ground);
    for name in &old {
        let request = name.rsplit_once('-').map_or("", |(request, _)| request);
        let labels = json!({"app": name, "app.kubernetes.io/name": "compute", "symphony/hostfactory-reqid": request});
        pods.create(name, &labels, &json!({"sandbox.hfd/stop-delay": "2s"}));
    }
    pods.create("database-0", &json!({"app": "database"}), &json!({}));
    let uid = |site: &crate::site::Site, name: &str| site.pods().get(name).map(|pod| pod["metadata"]["uid"].clone());
    let site = plan.start_serving();
    let kept: Vec<(String, Option<Value>)> =
        old[3..].iter().chain([&"database-0".to_owned()]).map(|name| (name.clone(), uid(&site, name))).collect();

    // HostFactory names all that it believes to have from us.
    let all = slices(&old);
    let new = site.hf.request("Template-K8s-A", 3);
    holds_for("what was not issued here is not called back", Duration::from_secs(2), || {
        site.hf.reclaims(&all).is_empty()
    });
    let ret = site.hf.give_back(&all[..3]);
    site.hf.wait(&ret, "ended", |status| {
        let left = old[..3].iter().filter(|name| uid(&site, name).is_some()).count();
        let gone = status.with("succeed").len();
        assert!(gone <= 3 - left || status.status == "running", "{gone} told gone while {left} of 3 are there");
        assert!(site.hf.reclaims(&all).is_empty());
        status.status != "running"
    });
    assert!(old[..3].iter().all(|name| site.pods().get(name).is_none()), "a return ended before its pods");

    // Returned by name or not: a pod that is no HostFactory provider's is left alone, and the answer says so.
    let end = site.hf.wait_end(&site.hf.give_back(&["database-0", "long-gone-0"]));
    assert_eq!(end.status, "complete_with_error");
    assert_eq!(end.with("fail")[0].name, "database-0");
    assert_eq!(end.with("succeed")[0].name, "long-gone-0");

    let machines: Vec<String> = site.hf.wait_complete(&new).machines.into_iter().map(|machine| machine.name).collect();
    site.hf.take_down(&slices(&machines));
    site.pods().wait_none();
    for (name, before) in &kept {
        assert_eq!(&uid(&site, name), before, "{name} was touched");
    }
    let deleted: Vec<String> =
        site.audit.calls().into_iter().filter(|call| call.verb == "delete").map(|call| call.name).collect();
    assert_eq!(deleted.len(), 6, "{deleted:?}");
}
