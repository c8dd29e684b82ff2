//! What the surroundings tell: HostFactory's and systemd's variables, and the usual directories.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{Config, ConfigFlags, Origin};

/// The instance when nobody names one: the provider's name in the shipped HostFactory samples.
pub(super) const DEFAULT_INSTANCE: &str = "k8s-hf";

/// Prefix of our own variables.
const OURS: &str = "HFD_";
/// Names the configuration file; the only one of our variables that is not a key.
const CONFIG_FILE: &str = "HFD_CONFIG";

/// The part of the process's surroundings that configuration depends on. `main` takes it from the process; tests make
/// their own.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The environment, without variables whose names are not UTF-8.
    pub variables: BTreeMap<String, OsString>,
    /// Whether hfd runs as root, and so uses the system's directories.
    pub is_root: bool,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Self { variables, is_root: rustix::process::geteuid().is_root() }
    }

    /// Our own variables that name keys, or try to.
    pub(super) fn ours(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.variables
            .iter()
            .filter(|(name, _)| name.starts_with(OURS) && *name != CONFIG_FILE)
            .map(|(name, value)| (name.as_str(), value.as_os_str()))
    }

    /// A variable that is set and not empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).and_then(|value| value.to_str()).filter(|value| !value.is_empty())
    }

    /// The first directory of a variable that systemd sets for `StateDirectory=` and its like, colon-separated.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        self.text(name)?.split(':').next().map(PathBuf::from)
    }

    /// `variable`, else `below` in the home directory.
    fn xdg(&self, variable: &str, below: &str) -> Option<PathBuf> {
        self.directory(variable).or_else(|| Some(Path::new(self.text("HOME")?).join(below)))
    }
}

/// The configuration file: the one that was named, else the instance's own if it exists.
pub(super) fn config_file(flags: &ConfigFlags, surroundings: &Surroundings) -> Option<PathBuf> {
    if let Some(path) = flags.config.clone().or_else(|| surroundings.text(CONFIG_FILE).map(PathBuf::from)) {
        return Some(path);
    }
    let instance = flags
        .instance
        .as_deref()
        .or_else(|| surroundings.text("HFD_INSTANCE"))
        .or_else(|| surroundings.text("HF_PROVIDER_NAME"))
        .unwrap_or(DEFAULT_INSTANCE);
    let path = config_directory(surroundings).join(format!("{instance}.toml"));
    path.exists().then_some(path)
}

/// Keys that an existing variable of someone else stands for, as (key, variable, value).
pub(super) fn inherited(surroundings: &Surroundings) -> Vec<(&'static str, &'static str, String)> {
    let mut found = Vec::new();
    // The later of two for the same key wins.
    for (key, variable) in [
        ("instance", "HF_PROVIDER_NAME"),
        ("confdir", "HF_PROVIDER_CONFDIR"),
        ("confdir", "HF_K8S_PROVIDER_CONFDIR"),
        ("log.file", "HF_K8S_LOG_FILE"),
    ] {
        if let Some(value) = surroundings.text(variable) {
            found.push((key, variable, value.to_owned()));
        }
    }
    if let Some(credentials) = surroundings.text("CREDENTIALS_DIRECTORY") {
        let kubeconfig = Path::new(credentials).join("kubeconfig");
        if kubeconfig.exists() {
            found.push(("kube.kubeconfig", "CREDENTIALS_DIRECTORY", kubeconfig.to_string_lossy().into_owned()));
        }
    }
    found
}

/// Works out the places that nobody set, now that the instance is known.
pub(super) fn fill(config: &mut Config, surroundings: &Surroundings) {
    if config.socket.as_os_str().is_empty() {
        config.socket = runtime_directory(surroundings).join(format!("{}.sock", config.instance));
    }
    if config.state_dir.as_os_str().is_empty() {
        let (directory, origin) = state_directory(surroundings);
        config.state_dir = directory.join(&config.instance);
        config.origins.insert("state_dir", origin);
    }
    if config.confdir.as_os_str().is_empty() {
        match surroundings.text("HF_CONFDIR") {
            Some(hostfactory) => {
                config.confdir = Path::new(hostfactory).join("providers").join(&config.instance).join("conf");
                config.origins.insert("confdir", Origin::Inherited("HF_CONFDIR"));
            }
            None => config.confdir = config_directory(surroundings),
        }
    }
}

/// Where sockets go; hfctl looks in the same places.
fn runtime_directory(surroundings: &Surroundings) -> PathBuf {
    let own = surroundings.directory("XDG_RUNTIME_DIR").filter(|_| !surroundings.is_root);
    own.unwrap_or_else(|| PathBuf::from("/run")).join("hfd")
}

/// Where journals go. HostFactory's own work directory is not considered: sites share it between management hosts over
/// NFS, where SQLite can't keep its promises.
fn state_directory(surroundings: &Surroundings) -> (PathBuf, Origin) {
    if let Some(directory) = surroundings.directory("STATE_DIRECTORY") {
        return (directory, Origin::Inherited("STATE_DIRECTORY"));
    }
    if let Some(directory) = surroundings.text("HF_K8S_WORKDIR") {
        return (Path::new(directory).join("hfd"), Origin::Inherited("HF_K8S_WORKDIR"));
    }
    let own = surroundings.xdg("XDG_STATE_HOME", ".local/state").filter(|_| !surroundings.is_root);
    (own.unwrap_or_else(|| PathBuf::from("/var/lib")).join("hfd"), Origin::Default)
}

fn config_directory(surroundings: &Surroundings) -> PathBuf {
    if let Some(directory) = surroundings.directory("CONFIGURATION_DIRECTORY") {
        return directory;
    }
    let own = surroundings.xdg("XDG_CONFIG_HOME", ".config").filter(|_| !surroundings.is_root);
    own.unwrap_or_else(|| PathBuf::from("/etc")).join("hfd")
}
