//! `hfd` as a process: how it is started, when it serves, how it is stopped or killed and started again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use serde_json::Value;

use crate::{
    bins,
    cluster::Cluster,
    process::{Finished, Process, run},
    wait::eventually,
};

/// Longest wait for a daemon to serve or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that a start of the daemon is given.
#[derive(Debug, Clone)]
pub struct DaemonSpec {
    /// Directory of its configuration file, socket and log.
    pub dir: PathBuf,
    /// Provider instance.
    pub instance: String,
    /// Configuration by `section.key`; the value is a TOML literal.
    pub config: BTreeMap<String, String>,
    /// Socket it listens on.
    pub socket: PathBuf,
    /// State directory.
    pub state_dir: PathBuf,
    /// Kubeconfig.
    pub kubeconfig: PathBuf,
    /// Namespace of the pods.
    pub namespace: String,
    /// Template file; without one the daemon finds it by itself.
    pub template_file: Option<PathBuf>,
    /// Environment, which is otherwise empty.
    pub env: BTreeMap<String, String>,
    /// Size of a file system of its own for the state directory, as `mount -o size=` wants it.
    pub own_disk: Option<String>,
    /// Whether that file system is read-only.
    pub read_only: bool,
}

impl DaemonSpec {
    /// A daemon of a test's own cluster.
    pub fn of(dir: &Path, cluster: &Cluster, template_file: &Path) -> Self {
        let namespace = cluster.namespace().to_owned();
        Self { namespace, ..Self::new(dir, cluster.kubeconfig(), template_file) }
    }

    /// A daemon whose files all lie in `dir`, in the namespace `default`.
    pub fn new(dir: &Path, kubeconfig: &Path, template_file: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            instance: "k8s-hf".to_owned(),
            config: BTreeMap::new(),
            socket: dir.join("hfd.sock"),
            state_dir: dir.join("state"),
            kubeconfig: kubeconfig.to_owned(),
            namespace: "default".to_owned(),
            template_file: Some(template_file.to_owned()),
            env: BTreeMap::new(),
            own_disk: None,
            read_only: false,
        }
    }

    /// Sets a configuration value: text (durations too).
    pub fn set(&mut self, key: &str, text: &str) {
        self.config.insert(key.to_owned(), format!("\"{text}\""));
    }

    /// Sets a configuration value: any TOML literal.
    pub fn set_literal(&mut self, key: &str, literal: &str) {
        self.config.insert(key.to_owned(), literal.to_owned());
    }

    /// The configuration file's text.
    pub fn config_text(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (key, value) in &self.config {
            let (own_section, name) = key.split_once('.').unwrap_or(("", key));
            if own_section != section {
                text.push_str(&format!("[{own_section}]\n"));
                section = own_section;
            }
            text.push_str(&format!("{name} = {value}\n"));
        }
        text
    }

    /// The command line, with the configuration file written.
    ///
    /// # Panics
    /// When the directory can't be written.
    pub fn command(&self) -> Command {
        let config = self.dir.join("hfd.toml");
        fs::write(&config, self.config_text()).expect("the test's directory can be written");
        let mut command = match &self.own_disk {
            None => Command::new(bins::hfd()),
            Some(size) => self.on_own_disk(size),
        };
        command.arg("--config").arg(&config).args(["--instance", &self.instance]);
        command.arg("--socket").arg(&self.socket).arg("--state-dir").arg(&self.state_dir);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", &self.namespace]);
        if let Some(file) = &self.template_file {
            command.arg("--template-file").arg(file);
        }
        command.env_clear().env("HOME", &self.dir).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&self.env);
        command
    }

    /// The state directory as a file system of its own, in a mount namespace that ends with the daemon. `unshare` and
    /// `sh` replace themselves, so the process id stays that of the daemon.
    fn on_own_disk(&self, size: &str) -> Command {
        fs::create_dir_all(&self.state_dir).expect("the test's directory can be written");
        let mut command = Command::new("unshare");
        if rustix::process::geteuid().is_root() {
            command.arg("--mount");
        } else {
            command.args(["--map-root-user", "--mount"]);
        }
        let mode = if self.read_only { "ro" } else { "rw" };
        command
            .args(["sh", "-c", "mount -t tmpfs -o \"$1\" none \"$2\" && shift 2 && exec \"$@\"", "sh"])
            .arg(format!("{mode},mode=0700,size={size}"))
            .arg(&self.state_dir)
            .arg(bins::hfd());
        command
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    spec: DaemonSpec,
    process: Process,
}

impl Daemon {
    /// Starts a daemon and waits until it answers on its socket.
    ///
    /// # Panics
    /// When it ends, or does not answer within 30 s.
    #[track_caller]
    pub fn start(spec: DaemonSpec) -> Self {
        let mut daemon = Self::start_only(spec);
        daemon.wait_serving();
        daemon
    }

    /// Starts a daemon without waiting for anything.
    ///
    /// # Panics
    /// When the process can't be started.
    #[track_caller]
    pub fn start_only(spec: DaemonSpec) -> Self {
        let process = Process::start("hfd", spec.command(), &spec.dir.join("hfd.log"));
        Self { spec, process }
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// When it ends, or does not answer within 30 s.
    #[track_caller]
    pub fn wait_serving(&mut self) {
        eventually("the daemon answers on its socket", PATIENCE, || {
            let ended = self.process.try_ended();
            assert!(ended.is_none(), "hfd ended with {ended:?}:\n{}", self.process.log_tail(60));
            self.status()
        });
    }

    /// What it was started with; changes count from the next start on.
    pub fn spec(&mut self) -> &mut DaemonSpec {
        &mut self.spec
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.spec.socket
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// All of its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// SIGTERM, and its exit status.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate(PATIENCE)
    }

    /// Starts it again after an end, and waits until it answers.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.process = Process::start("hfd", self.spec.command(), &self.spec.dir.join("hfd.log"));
        self.wait_serving();
    }

    /// Kills it and starts it again.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.kill9();
        self.start_again();
    }

    /// `hfctl status -o json`, if it answers.
    pub fn status(&self) -> Option<Value> {
        let finished = self.hfctl(&["status", "-o", "json"], b"");
        serde_json::from_slice(&finished.stdout).ok().filter(|_| finished.code != 3)
    }

    /// Runs `hfctl` on its socket.
    #[track_caller]
    pub fn hfctl(&self, arguments: &[&str], input: &[u8]) -> Finished {
        hfctl_on(&self.spec.socket, arguments, input)
    }
}

/// Runs `hfctl` on some socket.
#[track_caller]
pub fn hfctl_on(socket: &Path, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new(bins::hfctl());
    command.env_clear().env("PATH", "/usr/bin:/bin").arg("--socket").arg(socket).args(arguments);
    run(command, input, Duration::from_secs(120))
}
