//! Credential plug-ins: a program that the kubeconfig names and that prints a credential.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{eventually, holds_for, template};

use super::{plan_as, works};
use crate::{
    hostfactory::slices,
    site::{PATIENCE, Plan},
    testbed,
};

/// Version of the protocol between plug-ins and their callers.
const PROTOCOL: &str = "client.authentication.k8s.io/v1";

/// A plug-in in the test's directory: it prints the token in the file `token`, good for so many seconds, and notes each
/// call in the file `calls`. While there is a file `broken` it fails with that file's text on standard error.
#[track_caller]
fn plugin(plan: &Plan, good_for: u32) -> Value {
    let dir = plan.dir().display();
    let script = format!(
        "#!/bin/sh\n\
         echo \"$KUBERNETES_EXEC_INFO\" >>{dir}/calls\n\
         if [ -e {dir}/broken ]; then cat {dir}/broken >&2; echo half-a-secret; exit 3; fi\n\
         until=$(date -u -d \"+{good_for} seconds\" +%Y-%m-%dT%H:%M:%SZ)\n\
         printf '{{\"apiVersion\":\"{PROTOCOL}\",\"kind\":\"ExecCredential\",'\n\
         printf '\"status\":{{\"token\":\"%s\",\"expirationTimestamp\":\"%s\"}}}}' \"$(cat {dir}/token)\" \"$until\"\n"
    );
    let command = plan.file("site-login", script.as_bytes());
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).expect("the script is ours");
    json!({"exec": {"apiVersion": PROTOCOL, "command": command, "interactiveMode": "IfAvailable"}})
}

fn calls(dir: &Path) -> usize {
    fs::read_to_string(dir.join("calls")).map_or(0, |text| text.lines().count())
}

#[test]
fn a_plugin_is_called_for_a_token_and_again_before_the_token_expires() {
    let plan = plan_as(&testbed(), |plan| {
        plan.file("token", plan.ground.token().as_bytes());
        // A token is renewed a minute before its end.
        plugin(plan, 62)
    });
    let site = plan.start_serving();
    works(&site.hf);
    let before = calls(site.dir());
    assert!(before > 0);
    eventually("the plug-in is called again", PATIENCE, || {
        works(&site.hf);
        (calls(site.dir()) > before).then_some(())
    });
    let told = fs::read_to_string(site.dir().join("calls")).expect("it was called");
    let first: Value = serde_json::from_str(told.lines().next().unwrap_or_default()).expect("it is told in JSON");
    assert_eq!((&first["apiVersion"], &first["kind"]), (&json!(PROTOCOL), &json!("ExecCredential")));
    assert_eq!(first["spec"]["interactive"], false, "a daemon has nobody to ask: {first}");
}

#[test]
fn a_plugin_that_fails_is_quoted_and_tried_again() {
    let plan = plan_as(&testbed(), |plan| {
        plan.file("token", plan.ground.token().as_bytes());
        plan.file("broken", b"your session has ended, run site-login --renew\n");
        plugin(plan, 3600)
    });
    let site = plan.start();
    let status = site.hf.wait_says(&["site-login", "your session has ended, run site-login --renew", "3"]);
    let said = status.to_string();
    assert!(!said.contains("half-a-secret"), "what a plug-in prints may be a secret: {said}");
    fs::remove_file(site.dir().join("broken")).expect("it was broken");
    site.hf.wait_serving();
    works(&site.hf);
}

#[test]
fn a_plugin_that_fails_while_the_daemon_runs_is_an_outage() {
    let mut plan = plan_as(&testbed(), |plan| {
        plan.file("token", plan.ground.token().as_bytes());
        // A token is renewed a minute before its end: two seconds from now.
        plugin(plan, 62)
    });
    plan.spec.set("kube.watch_timeout", "5s");
    // The looks are counted: a watch that is seconds late, on a busy machine, shall cost none.
    plan.spec.set("machines.unseen_look_after", "5m");
    let site = plan.start_serving();
    let machines = site.hf.bring_up("small", 6);
    let names = slices(&machines);
    template::replace(&site.dir().join("broken"), b"the identity provider is away\n");
    site.hf.wait_says(&["the identity provider is away", "site-login"]);
    let asked = site.hf.request("small", 1);
    holds_for("no credential is no verdict", Duration::from_secs(3), || {
        site.hf.status(&asked).status == "running" && site.hf.reclaims(&names).is_empty()
    });
    fs::remove_file(site.dir().join("broken")).expect("it was broken");
    // The create never left, so nothing has to be settled first: that would take a minute.
    let mended = Instant::now();
    site.hf.wait_complete(&asked);
    assert!(mended.elapsed() < Duration::from_secs(45), "after {:?}", mended.elapsed());
    assert_eq!(site.audit.count("get"), site.audit.calls().iter().filter(|call| call.resource == "namespaces").count());
}

#[test]
fn a_plugin_that_is_not_there_or_wants_a_terminal_is_said() {
    for (exec, words) in [
        (json!({"apiVersion": PROTOCOL, "command": "no-such-login"}), &["no-such-login"][..]),
        (
            json!({"apiVersion": PROTOCOL, "command": "true", "interactiveMode": "Always"}),
            &["\\\"true\\\"", "terminal", "interactivemode"],
        ),
        (json!({"apiVersion": PROTOCOL, "command": "true", "interactiveMode": "Never"}), &["\\\"true\\\"", "exec"]),
    ] {
        let site = plan_as(&testbed(), |_| json!({ "exec": exec })).start();
        site.hf.wait_says(words);
    }
}
