//! A real node: kubelet with containerd and runc on this machine. Needs root.
//!
//! ```text
//!   testbed ── unshare (own PIDs, own mounts) ── sh init.sh ── containerd ── shims, containers
//!                                                        └──── kubelet
//! ```
//!
//! All its processes are in one PID namespace, all its mounts in one mount namespace, and the pods' bridge is in a network
//! namespace that only a mount there keeps: when the first process ends, the kernel ends and removes all of them. That
//! process ends with `unshare`, and `unshare` with the testbed, even by SIGKILL. What remains then is the testbed's
//! directory and empty control groups; the next start removes both.

mod cgroups;
mod files;
mod image;
mod node;
mod packages;

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use self::{cgroups::Cgroups, files::Own, node::Told};
pub use self::{image::IMAGE, node::Node};
use super::{
    Facts,
    certificates::Authority,
    child,
    control_plane::free_port,
    directory::PREFIX,
    facts::kubeconfig,
    programs::{self, Module},
};
use crate::process::Process;

/// Its name in the cluster.
const NAME: &str = "real-node";
/// Longest wait for it to be ready: 5 s on two idle cores, much more beside a build.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 30;
/// Longest wait for its end when it was asked to.
const END: Duration = Duration::from_secs(10);

/// A running kubelet with its container runtime. Dropped, all of it ends.
#[derive(Debug)]
pub struct RealNode {
    // First: the groups can be removed when it has ended.
    init: Process,
    _cgroups: Cgroups,
    node: Node,
}

impl RealNode {
    /// Makes sure that this machine has what a real node needs, but for what is built; installs what is missing.
    ///
    /// # Errors
    /// When we are not root, or something is missing and can't be installed.
    pub(super) fn provide() -> Result<()> {
        packages::provide().map(drop)
    }

    /// Starts them and waits until the node is ready.
    ///
    /// # Errors
    /// When something that it needs is missing, a process ends, or the node is not ready within two minutes.
    pub(super) fn start(authority: &Authority, facts: &Facts, testbed: &Path) -> Result<Self> {
        let plug_ins = packages::provide()?;
        let kubelet = programs::program(Module::Node, "kubelet")?;
        let directory = node::directory(testbed);
        fs::create_dir(&directory)?;
        let cgroups = Cgroups::new(testbed, PREFIX)?;
        let own = Own { port: free_port()?, cgroup: cgroups.root() };
        image::make(&directory.join("image"))?;
        write_files(authority, facts, &directory, &plug_ins, &own)?;
        Told { name: NAME.to_owned(), kubelet: format!("https://127.0.0.1:{}", own.port) }.write(&directory)?;

        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--mount", "--fork", "--kill-child=KILL", "--mount-proc", "--"])
            .args(["sh", "-c", include_str!("init.sh"), "init.sh"])
            .args([&directory, &facts.logs, &kubelet])
            .args([format!("--config={}", directory.join("kubelet.json").display())])
            .args([format!("--kubeconfig={}", directory.join("kubeconfig").display())])
            .args([format!("--root-dir={}", directory.join("kubelet-root").display())])
            .args([format!("--hostname-override={NAME}"), "--v=2".to_owned()]);
        let init = child::start(NAME, &command, &facts.logs);
        let mut started = Self { init, _cgroups: cgroups, node: Node::of(facts)? };
        started.wait_ready(&facts.logs)?;
        Ok(started)
    }

    fn wait_ready(&mut self, logs: &Path) -> Result<()> {
        let begun = Instant::now();
        while !self.node.is_ready() {
            self.check()?;
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(logs.join("kubelet.log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
                bail!("the real node is not ready after {PATIENCE:?}; the end of kubelet's log:\n{end}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// A way to it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether its processes live.
    ///
    /// # Errors
    /// When they have ended; says what the log says.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.init.try_ended() {
            bail!("the real node of the testbed ended with {status}:\n{}", self.init.log_tail(LOG_LINES + 1));
        }
        Ok(())
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        // Asked, the first process ends before `unshare` does, and with it all others: then nothing uses the directory
        // any more. Killed (which is what remains after a while), `unshare` would end first.
        drop(self.node.ask("end"));
        let asked = Instant::now();
        while self.init.try_ended().is_none() && asked.elapsed() < END {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn write_files(authority: &Authority, facts: &Facts, directory: &Path, plug_ins: &Path, own: &Own) -> Result<()> {
    fs::write(directory.join("containerd.toml"), files::containerd(directory))?;
    files::network(directory, plug_ins)?;
    let serving = authority.server("kubelet")?;
    let kubelet = files::kubelet(directory, &facts.logs, authority, &serving, own);
    fs::write(directory.join("kubelet.json"), kubelet.to_string())?;
    let user = authority.user(&format!("system:node:{NAME}"), "system:nodes")?;
    let user = format!("client-certificate: {}\nclient-key: {}", user.certificate.display(), user.key.display());
    fs::write(directory.join("kubeconfig"), kubeconfig(&facts.server, &facts.authority, "default", &user))?;
    Ok(())
}
