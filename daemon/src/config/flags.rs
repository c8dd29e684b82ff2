//! The flags that a first start needs, and `--set` for every other key.

use std::path::{Path, PathBuf};

use clap::Args;

/// Flags of every command that reads the configuration; flattened into the command line by `main`.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigFlags {
    /// Configuration file [default: INSTANCE.toml in /etc/hfd or ~/.config/hfd, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the provider instance [default: HF_PROVIDER_NAME, else k8s-hf]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Unix socket to answer on [default: /run/hfd/INSTANCE.sock, for a user $XDG_RUNTIME_DIR/hfd/INSTANCE.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Directory of the journal [default: /var/lib/hfd/INSTANCE, for a user ~/.local/state/hfd/INSTANCE]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Kubeconfig [default: KUBECONFIG, else ~/.kube/config, else the pod's own service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of the pods [default: the context's namespace]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Template file [default: INSTANCEprov_templates.json or k8sprov_templates.json in the provider's conf directory]
    #[arg(long, value_name = "FILE")]
    pub template_file: Option<PathBuf>,
    /// Set any key of the configuration file; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigFlags {
    /// The flags that were given, as (key, flag, value); `None` for a value that is not UTF-8.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, Option<&str>)> {
        fn path(value: &Option<PathBuf>) -> Option<Option<&str>> {
            value.as_deref().map(Path::to_str)
        }
        fn text(value: &Option<String>) -> Option<Option<&str>> {
            value.as_deref().map(Some)
        }
        [
            ("instance", "--instance", text(&self.instance)),
            ("socket", "--socket", path(&self.socket)),
            ("state_dir", "--state-dir", path(&self.state_dir)),
            ("kube.kubeconfig", "--kubeconfig", path(&self.kubeconfig)),
            ("kube.context", "--context", text(&self.context)),
            ("kube.namespace", "--namespace", text(&self.namespace)),
            ("template_file", "--template-file", path(&self.template_file)),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| value.map(|value| (key, flag, value)))
    }
}
