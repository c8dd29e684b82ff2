//! What a running testbed tells of itself: a file that its users find through the environment.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::http::{Endpoint, Tls};

/// The environment variable that names a running testbed's directory.
pub const VARIABLE: &str = "HFD_TESTBED";
const FILE: &str = "facts.json";

/// Where a running testbed is and how it is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// `https://127.0.0.1:PORT`.
    pub server: String,
    /// Certificate of the authority that signed the server's certificate (PEM).
    pub authority: PathBuf,
    /// Kubeconfig of a cluster administrator.
    pub admin_kubeconfig: PathBuf,
    /// The API server's audit log: every call of every service account, a JSON object a line.
    pub audit_log: PathBuf,
    /// Directory of the logs of all its processes.
    pub logs: PathBuf,
    /// Directory of the certificates.
    pub certificates: PathBuf,
    /// Name of the real node, where there is one.
    pub real_node: Option<String>,
    /// kubectl, where it was built.
    pub kubectl: Option<PathBuf>,
}

impl Facts {
    /// The testbed that `HFD_TESTBED` names; `None` when it is not set.
    ///
    /// # Panics
    /// When it names a directory that has no testbed: a test must not silently run elsewhere.
    pub fn of_environment() -> Option<Self> {
        let directory = env::var_os(VARIABLE).filter(|value| !value.is_empty())?;
        Some(Self::read(Path::new(&directory)).unwrap_or_else(|error| panic!("{VARIABLE}: {error:#}")))
    }

    /// The testbed whose directory that is.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(directory: &Path) -> Result<Self> {
        let file = directory.join(FILE);
        let text = fs::read(&file).with_context(|| format!("no testbed runs there: {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{}", file.display()))
    }

    /// A cluster administrator's way to the API server.
    ///
    /// # Panics
    /// When the testbed's own files are broken.
    pub fn admin(&self) -> Endpoint {
        Endpoint::from_kubeconfig(&self.admin_kubeconfig).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The way of somebody with a bearer token.
    ///
    /// # Panics
    /// When the testbed's own files are broken.
    pub fn with_token(&self, token: &str) -> Endpoint {
        let authority = fs::read(&self.authority).expect("the testbed's certificates are there");
        let tls = Tls { authority: &authority, identity: None };
        Endpoint::tls(&self.server, &tls, Some(token)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Text of a kubeconfig with a bearer token for one namespace.
    pub fn kubeconfig(&self, namespace: &str, token: &str) -> String {
        kubeconfig(&self.server, &self.authority, namespace, &format!("token: {token:?}"))
    }

    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        Ok(fs::write(directory.join(FILE), serde_json::to_vec_pretty(self)?)?)
    }
}

/// Text of a kubeconfig; `user` is what stands under the user, as lines of YAML.
pub(super) fn kubeconfig(server: &str, authority: &Path, namespace: &str, user: &str) -> String {
    let user = user.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: testbed\n\
         clusters:\n- name: testbed\n  cluster:\n    server: {server}\n    certificate-authority: {}\n\
         users:\n- name: testbed\n  user:\n    {user}\n\
         contexts:\n- name: testbed\n  context:\n    cluster: testbed\n    user: testbed\n    namespace: {namespace}\n",
        authority.display()
    )
}
