//! hfd and its peers, each installed and configured as its own documents say, for the same pod.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tests::{
    DaemonSpec, Template, Verb, bins, daemon::hfctl_on, eventually, process::Process, template, testbed::Facts,
};

use crate::{
    provider::{Provider, Site},
    python::{self, Environment},
};

/// Morgan Stanley's provider.
const HOSTFACTORY: &str = "hostfactory 1.0.2";
/// FINOS' Open Resource Broker, with its Kubernetes provider.
const ORB: &str = "orb-py 1.8.5";
/// Longest wait for a server to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// hfd: its daemon and the installed scripts.
pub(crate) fn hfd(facts: &Facts) -> Provider {
    let site = Site::new(facts, "hfd");
    let templates = site.path("conf/templates.json");
    template::write_file(&templates, &[small()]);
    let mut spec = DaemonSpec::new(&site.path("."), &site.kubeconfig(), &templates);
    spec.namespace = site.namespace().to_owned();
    spec.set("machines.ready_deadline", "1h");
    let server = Process::start("hfd", spec.command(), &site.path("log/hfd.log"));
    eventually("hfd serves", PATIENCE, || {
        let status = hfctl_on(&spec.socket, &["status", "-o", "json"], b"");
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        (status["ready"] == json!(true)).then_some(())
    });
    let mut env = site.env(bins::directory());
    env.insert("HFD_SOCKET", spec.socket.into());
    let scripts = bins::provider_dir().join("scripts");
    let installed = [bins::hfd(), bins::hfctl(), scripts.clone()].iter().map(|path| python::size(path)).sum();
    Provider { name: "hfd", installed, template: "small".to_owned(), scripts, env, servers: vec![server], site }
}

/// hostfactory: its three watchers, and scripts as its repository has them (the package brings none).
pub(crate) fn hostfactory(facts: &Facts, python: &Path) -> anyhow::Result<Provider> {
    let environment = Environment::of(python, "hostfactory", include_str!("hostfactory.txt"))?;
    let site = Site::new(facts, "hostfactory");
    // It reads a manifest's path as it stands.
    let manifest = site.path("conf/pod-small.json");
    let template = small().field("podSpec", json!(manifest));
    template::write_file(&site.path("conf/k8sprov_templates.json"), &[template]);
    let mut env = site.env(&environment.programs());
    env.insert("HF_K8S_PROVIDER_CONFDIR", site.path("conf").into());
    env.insert("HF_K8S_WORKDIR", site.path("work/hostfactory").into());
    env.insert("KUBECONFIG", site.kubeconfig().into());
    let scripts = site.path("scripts");
    fs::create_dir(&scripts)?;
    for verb in [Verb::RequestMachines, Verb::GetRequestStatus, Verb::RequestReturnMachines] {
        let script = scripts.join(format!("{}.sh", verb.name()));
        let log = site.path("log/scripts.log");
        let text = format!("#!/usr/bin/env bash\nhostfactory {} \"$2\" 2>> '{}'\n", verb.command(), log.display());
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    let mut servers = Vec::new();
    for watcher in ["pods", "request-machines", "request-return-machines"] {
        let mut command = Command::new(environment.programs().join("hostfactory"));
        command.args(["watch", watcher]).env_clear().envs(&env);
        let log = site.path(&format!("log/{watcher}.log"));
        let server = Process::start(watcher, command, &log);
        // It says so before it looks for what is there already, so nothing is lost.
        eventually("a watcher of hostfactory watches", PATIENCE, || {
            server.log().contains("Watching for hf").then_some(())
        });
        servers.push(server);
    }
    let installed = environment.size();
    Ok(Provider { name: HOSTFACTORY, installed, template: "small".to_owned(), scripts, env, servers, site })
}

/// orb-py: no server, all is done by its own scripts.
pub(crate) fn orb(facts: &Facts, python: &Path) -> anyhow::Result<Provider> {
    let environment = Environment::of(python, "orb-py", include_str!("orb.txt"))?;
    let site = Site::new(facts, "orb-py");
    let config = json!({
        "scheduler": {"type": "hostfactory", "config_root": site.path("conf")},
        "provider": {
            "providers": [{
                "name": "k8s_bench", "type": "k8s", "enabled": true,
                // The wheel lacks the file with the provider's defaults, and without them it knows no kind of object.
                "handlers": {"Pod": {"handler_class": "K8sPodHandler"}},
                "config": {"kubeconfig_path": site.kubeconfig(), "namespace": site.namespace()},
            }],
            "default_provider_instance": "k8s_bench",
        },
        "request": {"max_machines_per_request": 10_000},
        "logging": {"file_path": site.path("log/orb.log")},
        "storage": {"json_strategy": {"base_path": site.path("work")}},
    });
    fs::write(site.path("conf/config.json"), config.to_string())?;
    let template = json!({"scheduler_type": "hostfactory", "templates": [orb_template(&small())]});
    fs::write(site.path("conf/k8s_templates.json"), template.to_string())?;
    let mut env = site.env(&environment.programs());
    env.insert("ORB_ROOT_DIR", site.path(".").into());
    env.insert("ORB_CONFIG_DIR", site.path("conf").into());
    env.insert("ORB_WORK_DIR", site.path("work").into());
    env.insert("ORB_LOG_DIR", site.path("log").into());
    let scripts = environment.packages().join("orb/infrastructure/scheduler/hostfactory/scripts");
    let (installed, servers) = (environment.size(), Vec::new());
    Ok(Provider { name: ORB, installed, template: "small".to_owned(), scripts, env, servers, site })
}

/// One small container that starts at once. On a busy machine the nodes are late to say that they are well, and the
/// cluster would take the pods from them.
fn small() -> Template {
    let endured = |key: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists"});
    Template::new("small").pod("/spec/tolerations", json!([endured("unreachable"), endured("not-ready")]))
}

/// The same pod in orb-py's own terms.
fn orb_template(template: &Template) -> Value {
    let spec = &template.manifest()["spec"];
    let container = &spec["containers"][0];
    json!({
        "templateId": template.id(),
        "maxNumber": 10_000,
        "providerApi": "Pod",
        "attributes": template.entry("")["attributes"],
        "imageId": container["image"],
        "resourceRequests": container["resources"]["requests"],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": spec["terminationGracePeriodSeconds"],
        "tolerations": spec["tolerations"],
    })
}
