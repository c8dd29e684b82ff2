//! An installed provider on a testbed: HostFactory's configuration directory as an administrator leaves it, a namespace
//! with the shipped permissions, and a running `hfd`. For people who play, and for the HostFactory stand-in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{Facts, Ground};
use crate::{
    bins,
    daemon::{Daemon, DaemonSpec},
    template::{self, Template},
};

/// The variable that names the namespace of the machines.
pub const NAMESPACE_VARIABLE: &str = "HFD_TESTBED_NAMESPACE";

/// A running provider. Dropped, `hfd` ends first, then the namespace goes.
#[derive(Debug)]
pub struct Provider {
    daemon: Daemon,
    ground: Ground,
    confdir: PathBuf,
}

impl Provider {
    /// Installs it below `directory` and starts `hfd` on `nodes` nodes of its own.
    ///
    /// # Errors
    /// When the cluster refuses something or the tree can't be written.
    ///
    /// # Panics
    /// When `hfd` does not serve within 30 s.
    pub fn start(facts: &Facts, directory: &Path, nodes: u32, pods_per_node: u32) -> Result<Self> {
        let ground = Ground::prepare(facts, nodes, pods_per_node)?;
        let confdir = directory.join("hostfactory/conf");
        install(&confdir)?;
        let kubeconfig = directory.join("hfd.kubeconfig");
        fs::write(&kubeconfig, facts.kubeconfig(ground.namespace(), ground.token()))?;
        let templates = confdir.join("providers/k8s-hf/conf/k8sprov_templates.json");
        let mut spec = DaemonSpec::new(directory, &kubeconfig, &templates);
        spec.namespace = ground.namespace().to_owned();
        Ok(Self { daemon: Daemon::start(spec), ground, confdir })
    }

    /// What a shell needs to call the scripts and `hfctl`, and to look at the machines.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        vec![
            ("HF_CONFDIR", self.confdir.display().to_string()),
            ("HF_PROVIDER_NAME", "k8s-hf".to_owned()),
            ("HFD_SOCKET", self.daemon.socket().display().to_string()),
            (NAMESPACE_VARIABLE, self.ground.namespace().to_owned()),
            ("PATH", format!("{}:{path}", bins::directory().display())),
        ]
    }

    /// The end of `hfd`'s log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }

    /// Whether `hfd` lives.
    ///
    /// # Errors
    /// When it has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.daemon.process().try_ended();
        ensure!(ended.is_none(), "hfd ended with {ended:?}:\n{}", self.daemon.log_tail(30));
        Ok(())
    }
}

/// The provider tree as it is shipped, with two templates of small pods: one without limit, one with.
fn install(confdir: &Path) -> Result<()> {
    fs::create_dir_all(confdir)?;
    let shipped = bins::source_root().join("scripts/hostfactory");
    let copied = Command::new("cp").arg("-a").arg(shipped.join(".")).arg(confdir).status().context("run cp")?;
    ensure!(copied.success(), "cp of {} failed", shipped.display());
    let conf = confdir.join("providers/k8s-hf/conf");
    template::write_file(&conf.join("k8sprov_templates.json"), &[Template::new("small"), Template::new("few").max(40)]);
    // HostFactory's scripts run with a small PATH, where an administrator has installed hfctl.
    let bin = confdir.join("../bin");
    fs::create_dir_all(&bin)?;
    symlink(bins::hfctl(), bin.join("hfctl")).context("link hfctl")?;
    Ok(())
}
