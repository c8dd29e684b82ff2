//! Where a proof runs: a directory, a cluster in a process of its own, and all that a start of `hfd` is given.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, ClusterOptions},
    daemon::{Daemon, DaemonSpec},
    script::Scripts,
    template::{self, Template},
    world::find,
};

/// Template without a limit, whose pods come up.
pub const PLAIN: &str = "plain";
/// Template with a limit of [`BOUND`] machines.
pub const BOUNDED: &str = "bounded";
/// Template whose pods end before they are ready.
pub const BROKEN: &str = "broken";
/// `maxNumber` of [`BOUNDED`].
pub const BOUND: i64 = 12;

/// Longest wait for a start.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster and the files of one daemon. The fields end in the order written.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    /// How hfd is started here.
    pub spec: DaemonSpec,
    /// HostFactory's scripts.
    pub scripts: Scripts,
    dir: TempDir,
}

impl Site {
    /// Makes one; pods start and stop within some milliseconds.
    ///
    /// # Panics
    /// When it can't be set up.
    pub fn open(seed: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("hfd-proof-").tempdir().expect("a temporary directory can be made");
        let options = ClusterOptions {
            nodes: 20,
            seed,
            start_delay: "20ms".to_owned(),
            stop_delay: "20ms".to_owned(),
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(dir.path(), &options);
        let file = dir.path().join("templates.json");
        let templates = [Template::new(PLAIN), Template::new(BOUNDED).max(BOUND), Template::new(BROKEN).fate("exit-1")];
        template::write_file(&file, &templates);
        let mut spec = DaemonSpec::of(dir.path(), &cluster, &file);
        // Decides how long after a start an unsettled create of an earlier life may still land.
        spec.set("kube.server_request_timeout", "1s");
        spec.set("machines.unseen_look_after", "1s");
        // Told and ended machines are never listed as phantoms then: whatever is listed is false.
        spec.set("returns.phantom_after", "1d");
        spec.set("log.filter", "info");
        let scripts = Scripts::new(dir.path(), &spec.socket);
        Self { cluster, spec, scripts, dir }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves everything where it is, for whoever looks into a failure.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }

    /// Waits until `daemon` answers and has seen the cluster.
    ///
    /// # Errors
    /// When it ended, or does not within [`PATIENCE`].
    pub fn wait_synced(daemon: &mut Daemon) -> Result<()> {
        wait_until(PATIENCE, "hfd serves and has seen the cluster", || {
            if let Some(ended) = daemon.process().try_ended() {
                anyhow::bail!("hfd ended by itself with {ended}:\n{}", daemon.log_tail(40));
            }
            let status = daemon.status().unwrap_or_default();
            Ok(find(&status, "synced") == Some(&json!(true)))
        })
    }

    /// A question of `hfctl` that must be answered.
    ///
    /// # Errors
    /// When it is not.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let all: Vec<&str> = ["--timeout", "60"].iter().chain(arguments).chain(&["-o", "json"]).copied().collect();
        let finished = crate::daemon::hfctl_on(&self.spec.socket, &all, b"");
        ensure!(finished.code == 0, "hfctl {arguments:?} ended with {}: {}", finished.code, finished.error_text());
        Ok(serde_json::from_slice(&finished.stdout)?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("kept for a look: {}", self.keep().display());
        }
    }
}

/// Asks again until `look` says yes.
///
/// # Errors
/// When `within` passes, or `look` fails.
pub fn wait_until(within: Duration, what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        if look()? {
            return Ok(());
        }
        ensure!(begun.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
