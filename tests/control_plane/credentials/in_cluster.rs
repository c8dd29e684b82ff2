//! A daemon that runs as a pod does: the service account's files where a kubelet puts them, and nothing else that tells
//! of the cluster. They are put there in a mount namespace of the daemon's own.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tests::{eventually, holds_for, process::Process};

use super::{revoke, token_bound_to};
use crate::{
    hostfactory::{HostFactory, slices},
    site::{Plan, Pods},
    testbed,
};

/// Puts the directory `$1` where a kubelet mounts the service account, then becomes the rest of its arguments.
const MOUNT: &str = "set -e; place=/var/run/secrets/kubernetes.io/serviceaccount\n\
     mount -t tmpfs none /var/run; mkdir -p $place; mount --bind \"$1\" $place; shift; exec \"$@\"";

/// Service account files as a kubelet writes them: links into a directory that is replaced as a whole.
struct ServiceAccount {
    dir: PathBuf,
    version: u32,
}

impl ServiceAccount {
    fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("the test's directory can be written");
        for name in ["token", "ca.crt", "namespace"] {
            symlink(format!("..data/{name}"), dir.join(name)).expect("the test's directory can be written");
        }
        Self { dir: dir.to_owned(), version: 0 }
    }

    /// Replaces all files at once.
    fn write(&mut self, token: &str, authority: &[u8], namespace: &str) {
        self.version += 1;
        let version = format!("..{}", self.version);
        let files = self.dir.join(&version);
        fs::create_dir(&files).expect("the test's directory can be written");
        fs::write(files.join("token"), token).expect("the test's directory can be written");
        fs::write(files.join("ca.crt"), authority).expect("the test's directory can be written");
        fs::write(files.join("namespace"), namespace).expect("the test's directory can be written");
        let beside = self.dir.join("..data_tmp");
        symlink(version, &beside).expect("the test's directory can be written");
        fs::rename(beside, self.dir.join("..data")).expect("a link can be renamed in its directory");
    }
}

/// Starts the daemon of a plan in a mount namespace of its own, without any kubeconfig.
fn start(plan: &Plan, account: &ServiceAccount) -> Process {
    let config = plan.file("hfd.toml", plan.spec.config_text().as_bytes());
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", MOUNT, "sh"]).arg(&account.dir).arg(tests::bins::hfd());
    command.arg("--config").arg(config).arg("--socket").arg(&plan.spec.socket);
    command.arg("--state-dir").arg(&plan.spec.state_dir).arg("--template-file").arg(plan.dir().join("templates.json"));
    let server = plan.facts.server.trim_start_matches("https://");
    let (host, port) = server.rsplit_once(':').expect("the server's URL has a port");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", plan.dir());
    command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    Process::start("hfd", command, &plan.dir().join("hfd.log"))
}

#[test]
fn a_pods_own_service_account_is_used_and_its_token_may_be_rotated() {
    let mut plan = Plan::new(&testbed(), 1);
    plan.spec.set("kube.watch_timeout", "5s");
    let authority = fs::read(&plan.facts.authority).expect("the testbed's certificates can be read");
    let namespace = plan.ground.namespace().to_owned();
    let mut account = ServiceAccount::new(&plan.dir().join("account"));
    account.write(&token_bound_to(&plan.ground, "first"), &authority, &namespace);
    let daemon = start(&plan, &account);
    let hf = HostFactory::new(plan.dir(), &plan.spec.socket);
    let status = hf.wait_serving();
    assert_eq!(status["kube"]["namespace"], namespace.as_str(), "the pod's own namespace");
    let machines = hf.bring_up("small", 6);
    let names = slices(&machines);

    // A kubelet replaces the token long before the old one ends: nobody notices.
    account.write(&token_bound_to(&plan.ground, "second"), &authority, &namespace);
    eventually("the new token is taken", crate::site::PATIENCE, || {
        (daemon.log().matches("kubernetes client made").count() >= 2).then_some(())
    });
    hf.wait_serving();
    revoke(&plan.ground, "first");
    holds_for("the old token's end goes unnoticed", Duration::from_secs(12), || {
        hf.daemon_status().is_some_and(|status| status["kube"]["error"].is_null())
    });

    // One that ends before it is replaced is an outage.
    revoke(&plan.ground, "second");
    hf.wait_says(&["401"]);
    let asked = hf.request("small", 1);
    holds_for("a refused token is no verdict", Duration::from_secs(3), || {
        hf.status(&asked).status == "running" && hf.reclaims(&names).is_empty()
    });
    account.write(plan.ground.token(), &authority, &namespace);
    hf.wait_complete(&asked);
    hf.take_down(&names);
    assert_eq!(Pods::of(&plan.ground).managed(), [format!("{asked}-00000")]);
}
