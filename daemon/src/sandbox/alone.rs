//! `hfd sandbox cluster`: the simulated cluster without a daemon.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use super::{
    args::ClusterArgs,
    error::SandboxError,
    places::{self, Home},
    signals::Signals,
};
use crate::{
    config::{Log, LogFormat, Surroundings},
    logging,
};

/// In every kubeconfig of a sandbox, and hardly in another.
const OURS: &str = "current-context: sandbox";

/// Serves until a signal comes.
pub(super) async fn serve(args: &ClusterArgs, mut signals: Signals) -> Result<ExitCode, SandboxError> {
    let log = Log { format: LogFormat::Text, ..Log::default() };
    logging::start(&log, &Surroundings::default())
        .map_err(|error| SandboxError::System { action: "log", source: io::Error::other(error) })?;
    if let Some(path) = &args.kubeconfig_out {
        check_replaceable(path)?;
    }
    let home = args.state_dir.as_deref().map(Home::kept).transpose()?;
    let cluster = hfd_sandbox::Cluster::start(hfd_sandbox::Options {
        listen: args.listen,
        namespace: args.namespace.clone(),
        state_file: home.as_ref().and_then(Home::cluster_file),
        ..args.cluster.options()
    })
    .await?;
    // A temporary home removes itself when this function ends.
    let (kubeconfig, _temporary) = match &args.kubeconfig_out {
        Some(path) => (std::path::absolute(path).map_err(|source| places::file("find", path, source))?, None),
        None => {
            let home = Home::temporary()?;
            (home.dir().join("kubeconfig"), Some(home))
        }
    };
    places::write(&kubeconfig, cluster.kubeconfig().as_bytes(), 0o600)?;
    // Whoever closed our output can still use the cluster.
    let _ = io::stdout().write_all(instructions(&cluster, &kubeconfig).as_bytes());
    signals.any().await;
    cluster.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// A mistyped name must not cost somebody the way into a real cluster.
fn check_replaceable(path: &Path) -> Result<(), SandboxError> {
    match fs::read_to_string(path) {
        Ok(text) if text.is_empty() || text.contains(OURS) => Ok(()),
        Ok(_) => Err(SandboxError::NotOurs { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(places::file("read", path, source)),
    }
}

fn instructions(cluster: &hfd_sandbox::Cluster, kubeconfig: &Path) -> String {
    let (url, kubeconfig, nodes) = (cluster.url(), kubeconfig.display(), cluster.nodes().len());
    format!(
        "A simulated cluster of {nodes} nodes serves on {url} until Ctrl-C.\n\n\
         \x20 hfd --kubeconfig {kubeconfig} --template-file FILE\n\
         \x20 kubectl --kubeconfig {kubeconfig} get pods,nodes\n\n\
         Make it suffer: {url}/sandbox/... with the kubeconfig's token, for example\n\n\
         \x20 curl -H \"Authorization: Bearer $TOKEN\" -X POST {url}/sandbox/nodes/sandbox-node-0000/lose\n\
         \x20 curl -H \"Authorization: Bearer $TOKEN\" {url}/sandbox/counters\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sandboxs_own_kubeconfig_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config");
        check_replaceable(&path).expect("nothing is there");
        fs::write(&path, "apiVersion: v1\ncurrent-context: production\n").expect("written");
        let error = check_replaceable(&path).expect_err("it is somebody's");
        assert_eq!(error.exit_code(), ExitCode::from(64));
        fs::write(&path, format!("apiVersion: v1\n{OURS}\n")).expect("written");
        check_replaceable(&path).expect("it is a sandbox's");
    }
}
