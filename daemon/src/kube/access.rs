//! What a kubeconfig, or a pod's service account, says: where the API server is, and who we are to it.
//!
//! kube reads both. What it leaves open is decided here, as a daemon needs it: token files are read like the rest (kube
//! takes a line's end for a part of the token), credential plug-ins run without a terminal, and the proxy is chosen by
//! `proxy.rs`. Every file that counts is noted in [`Files`] before it is read, so that one that is replaced later is
//! never overlooked: certificates and tokens are rotated under a running daemon.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use kube::{
    Config,
    client::AuthError,
    config::{AuthInfo, ExecInteractiveMode, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::time::sleep;

use super::{
    client::{Access, ConnectError, explained},
    proxy, reason,
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Where a kubelet puts a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What was found.
pub(super) struct Found {
    /// For kube.
    pub(super) config: Config,
    /// The kubeconfig's context.
    pub(super) context: Option<String>,
    /// The credential plug-in's command, if there is one.
    pub(super) plugin: Option<String>,
}

/// Files that were read, and how they were then.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<(PathBuf, Stamp)>);

/// What tells one content of a file from another without reading it; `None` = no such file.
type Stamp = Option<(Option<SystemTime>, u64, u64)>;

impl Files {
    /// Notes a file that is about to be read.
    async fn note(&mut self, path: PathBuf) {
        let stamp = stamp(&path).await;
        self.0.push((path, stamp));
    }

    /// Whether one of them is another file than the one that was read.
    pub(super) async fn have_changed(&self) -> bool {
        for (path, before) in &self.0 {
            if stamp(path).await != *before {
                return true;
            }
        }
        false
    }

    /// Waits until one of them is. By asking, like the template files: a kubeconfig may lie on a shared file system,
    /// whose edits elsewhere raise no event here.
    pub(super) async fn change(&self) {
        while !self.have_changed().await {
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let found = tokio::fs::metadata(path).await.ok()?;
    Some((found.modified().ok(), found.len(), found.ino()))
}

/// Reads what `access` names, and notes each file of it.
pub(super) async fn find(access: &Access, files: &mut Files) -> Result<Found, ConnectError> {
    let (path, context) = match access {
        Access::Given(config) => return Ok(Found { config: (**config).clone(), context: None, plugin: None }),
        Access::Kubeconfig { path, context } => (path.as_deref(), context.as_ref()),
    };
    for path in path.map_or_else(usual_places, |path| vec![path.to_owned()]) {
        files.note(path).await;
    }
    let read = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let refused = |source| match path {
        Some(path) => ConnectError::Kubeconfig { path: path.to_owned(), source },
        None => ConnectError::Nowhere(source),
    };
    match read {
        Ok(kubeconfig) => of_kubeconfig(kubeconfig, context, files, refused).await,
        Err(missing) if path.is_none() && is_absent(&missing) => of_service_account(files, || refused(missing)).await,
        Err(unusable) => Err(refused(unusable)),
    }
}

/// Nobody wrote a kubeconfig. One that is there and can't be read is a mistake to be told: taking the pod's own cluster
/// in its stead would show an empty cluster, which is all machines lost.
fn is_absent(error: &KubeconfigError) -> bool {
    let named = env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty());
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(why, _) => !named && why.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The places where kube looks by itself.
fn usual_places() -> Vec<PathBuf> {
    match env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        Some(list) => env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
    }
}

async fn of_kubeconfig(
    kubeconfig: Kubeconfig,
    context: Option<&String>,
    files: &mut Files,
    refused: impl Fn(KubeconfigError) -> ConnectError,
) -> Result<Found, ConnectError> {
    let context = context.or(kubeconfig.current_context.as_ref()).cloned();
    let (named, own_proxy) = named_files(&kubeconfig, context.as_deref());
    for path in named {
        files.note(path).await;
    }
    let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(refused)?;
    config.proxy_url = proxy::choose(own_proxy.as_deref(), &config.cluster_url)?;
    take_token_file(&mut config.auth_info).await?;
    let plugin = without_terminal(&mut config.auth_info)?;
    Ok(Found { config, context, plugin })
}

/// The files that a context's cluster and user name, and the cluster's own proxy.
fn named_files(kubeconfig: &Kubeconfig, context: Option<&str>) -> (Vec<PathBuf>, Option<String>) {
    let named = kubeconfig.contexts.iter().find(|named| Some(named.name.as_str()) == context);
    let Some(context) = named.and_then(|named| named.context.as_ref()) else { return (Vec::new(), None) };
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster.as_ref());
    let user = kubeconfig.auth_infos.iter().find(|named| Some(&named.name) == context.user.as_ref());
    let user = user.and_then(|named| named.auth_info.as_ref());
    let files = [
        cluster.and_then(|cluster| cluster.certificate_authority.as_ref()),
        user.and_then(|user| user.client_certificate.as_ref()),
        user.and_then(|user| user.client_key.as_ref()),
        user.and_then(|user| user.token_file.as_ref()),
    ];
    let files = files.into_iter().flatten().map(PathBuf::from).collect();
    (files, cluster.and_then(|cluster| cluster.proxy_url.clone()).filter(|url| !url.is_empty()))
}

async fn of_service_account(files: &mut Files, nowhere: impl FnOnce() -> ConnectError) -> Result<Found, ConnectError> {
    for name in ["token", "ca.crt", "namespace"] {
        files.note(Path::new(SERVICE_ACCOUNT).join(name)).await;
    }
    let mut config = match Config::incluster() {
        Ok(config) => config,
        Err(InClusterError::ReadEnvironmentVariable(_)) => return Err(nowhere()),
        Err(unusable) => return Err(ConnectError::InCluster(unusable)),
    };
    config.proxy_url = proxy::choose(None, &config.cluster_url)?;
    take_token_file(&mut config.auth_info).await?;
    Ok(Found { config, context: None, plugin: None })
}

/// Puts the token in place of its file. The file goes before a token that stands in the kubeconfig itself, which serves
/// while the file can't be read: client-go's rule (`rest.Config.BearerTokenFile`).
async fn take_token_file(user: &mut AuthInfo) -> Result<(), ConnectError> {
    let Some(path) = user.token_file.take() else { return Ok(()) };
    let read = tokio::fs::read_to_string(&path).await.and_then(|text| match text.trim() {
        "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
        token => Ok(token.to_owned()),
    });
    match read {
        Ok(token) => user.token = Some(token.into()),
        Err(_) if user.token.is_some() => {}
        Err(source) => return Err(ConnectError::TokenFile { path: PathBuf::from(path), source }),
    }
    Ok(())
}

/// Tells a credential plug-in that nobody is there to be asked; gives its command.
fn without_terminal(user: &mut AuthInfo) -> Result<Option<String>, ConnectError> {
    let Some(plugin) = &mut user.exec else { return Ok(None) };
    let command = plugin.command.clone().unwrap_or_default();
    if plugin.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(ConnectError::Terminal { command });
    }
    plugin.interactive_mode = Some(ExecInteractiveMode::Never);
    Ok(Some(command))
}

/// Why a plug-in gave no credential. What it printed is left out: that may be a secret; what it complained of is not.
pub(super) fn plugin_failure(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => {
            let complaint = String::from_utf8_lossy(&out.stderr);
            let complaint = reason::clipped(complaint.trim());
            format!("{}: {}", out.status, if complaint.is_empty() { "it does not say why" } else { complaint })
        }
        AuthError::AuthExecStart(why) => format!("it can't be started: {why}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => "it printed no ExecCredential".to_owned(),
        other => explained(other),
    }
}
