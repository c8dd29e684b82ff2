//! The journal is lost while machines run: nothing is touched, and a rebuild brings them back.

use std::{fs, process::Command, time::Duration};

use tests::{bins, holds_for, process::run};

use crate::{
    audit::used,
    births::Births,
    hostfactory::slices,
    site::{Plan, must},
    testbed,
};

#[test]
fn machines_without_a_journal_are_left_alone_and_come_back_by_a_rebuild() {
    let mut plan = Plan::new(&testbed(), 1);
    // No create is in flight when the journal is lost, so nothing has to be waited for.
    plan.spec.set("kube.server_request_timeout", "5s");
    let mut site = plan.start_serving();
    let births = Births::watch(site.ground.admin(), site.ground.namespace());
    let id = site.hf.request("small", 7);
    let machines: Vec<String> = site.hf.wait_complete(&id).machines.into_iter().map(|machine| machine.name).collect();
    let names = slices(&machines);
    let before =
        must(site.ground.admin(), "GET", &format!("/api/v1/namespaces/{}/pods", site.ground.namespace()), None);

    site.daemon.kill9();
    fs::remove_dir_all(site.dir().join("state")).expect("the state directory is there");
    site.audit.start_over();
    site.daemon.start_again();
    site.hf.checker().rebuilt = true;
    site.hf.wait_says(&["rebuild_pending", "hfd rebuild --from-cluster"]);
    assert!(site.hf.ask("small", 1).refused().contains("rebuild"));
    holds_for("an empty journal judges nothing", Duration::from_secs(3), || {
        site.hf.status(&id).status == "running" && site.hf.reclaims(&names).is_empty()
    });

    let mut command = Command::new(bins::hfd());
    command.args(["rebuild", "--from-cluster", "--socket"]).arg(site.daemon.socket());
    let rebuilt = run(command, b"", Duration::from_secs(60));
    assert!(rebuilt.code == 0, "{}{}", rebuilt.text(), rebuilt.error_text());
    site.hf.wait_serving();
    assert_eq!(site.hf.wait_end(&id).with("succeed").len(), 7);
    let verbs: Vec<_> =
        used(&site.audit.calls()).into_iter().filter(|(verb, _)| verb == "create" || verb == "delete").collect();
    assert!(verbs.is_empty(), "a rebuild only looks: {verbs:?}");
    let after = must(site.ground.admin(), "GET", &format!("/api/v1/namespaces/{}/pods", site.ground.namespace()), None);
    assert_eq!(after["items"], before["items"], "the pods are not as they were");

    site.hf.take_down(&names);
    let more = site.hf.bring_up("small", 1);
    site.hf.take_down(&slices(&more));
    site.pods().wait_none();
    assert_eq!((births.names(), births.twice().len()), (8, 0));
}
