//! How hfd reaches its cluster: one HTTP client with every behaviour that we do not want from kube switched off.
//!
//! kube's own retries are off (they repeat creates), every wait is bounded (connecting here, the rest in `health.rs` and
//! per call), and all traffic passes the [`HealthLayer`]. A client is never repaired: after a 401, or when a file of its
//! credentials was replaced, a new one is built (`link.rs`), which reads all of them afresh (`access.rs`).

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use thiserror::Error;
use tower::{BoxError, Service};

use super::{
    access::{self, Files, Found},
    counts::Calls,
    health::{HealthLayer, Heartbeat},
    names,
};

/// Longest time to build a client: a credential plugin named in the kubeconfig may call out to an identity provider.
const BUILD_WITHIN: Duration = Duration::from_secs(60);

/// Longest wait for the first byte of an answer to a LIST or watch: the server's own request time-out (60 s) and a bit.
const ANSWER_WITHIN: Duration = Duration::from_secs(75);

/// Where the cluster and our credentials are described.
#[derive(Debug, Clone)]
pub enum Access {
    /// This file, and optionally one of its contexts.
    Kubeconfig {
        /// `None`: `$KUBECONFIG` or `~/.kube/config`, and where neither exists, the pod's own service account.
        path: Option<PathBuf>,
        /// `None`: the file's current context.
        context: Option<String>,
    },
    /// Ready made: the sandbox, tests.
    Given(Box<Config>),
}

/// All that is needed to build a client, again and again.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where to find cluster and credentials.
    pub access: Access,
    /// The namespace of our pods; `None`: the context's.
    pub namespace: Option<String>,
    /// The provider instance, a legal label value: what tells our pods from another instance's.
    pub instance: String,
    /// Time-out of each single call.
    pub call_timeout: Duration,
    /// A watch without bytes for this long is dead (`lifecycle.md` 7: 90 s).
    pub fresh_within: Duration,
    /// Where calls are counted.
    pub calls: Arc<Calls>,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The named kubeconfig can't be used.
    #[error("kubeconfig {path:?} is not usable")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// Nothing tells where a cluster is.
    #[error("no usable kubeconfig, and not running inside a cluster; name one with --kubeconfig")]
    Nowhere(#[source] kube::config::KubeconfigError),
    /// Inside a cluster, but its service account can't be used.
    #[error("the pod's service account is not usable")]
    InCluster(#[source] kube::config::InClusterError),
    /// The token's file can't be used.
    #[error("the token file {path:?} is not usable")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The proxy can't be used.
    #[error("the proxy {url:?} is not a URL of http or https")]
    Proxy {
        /// What is written instead.
        url: String,
    },
    /// The credential plug-in would have to ask somebody.
    #[error("the credential plug-in {command:?} wants a terminal (interactiveMode: Always), and a daemon has none")]
    Terminal {
        /// Its command.
        command: String,
    },
    /// The credential plug-in gave no credential.
    #[error("the credential plug-in {command:?} failed: {why}")]
    Plugin {
        /// Its command.
        command: String,
        /// Why, in its own words.
        why: String,
    },
    /// Configuration found, but no client can be made from it (certificates, credentials, proxy).
    #[error("no client for {server}")]
    Client {
        /// The API server's URL.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// A credential plugin did not come back.
    #[error("no client for {server} within {BUILD_WITHIN:?}; is a credential plugin waiting for input?")]
    TimedOut {
        /// The API server's URL.
        server: String,
    },
}

/// One usable client, bound to one namespace of one cluster.
#[derive(Clone)]
pub struct Cluster {
    /// kube's client; all calls pass our health layer.
    pub client: Client,
    /// The namespace of our pods.
    pub namespace: String,
    /// The API server's URL, for people.
    pub server: String,
    /// The kubeconfig context, for people.
    pub context: Option<String>,
    /// The pulse of this client's watches.
    pub heartbeat: Arc<Heartbeat>,
    /// The label selector of our pods.
    pub selector: String,
    /// The provider instance.
    pub instance: String,
    /// Time-out of each single call.
    pub call_timeout: Duration,
    /// Which client of this process it is, from 1; see [`super::Link::rebuild`].
    pub build: u64,
}

/// Builds a client. Talks to no API server: an unreachable one shows in the watch and in each call.
///
/// # Errors
/// [`ConnectError`], when configuration or credentials are missing or unusable.
pub async fn connect(settings: &ClientSettings) -> Result<Cluster, ConnectError> {
    connect_noting(settings, &mut Files::default()).await
}

/// The same, and notes the files that were read.
pub(super) async fn connect_noting(settings: &ClientSettings, files: &mut Files) -> Result<Cluster, ConnectError> {
    let Found { mut config, context, plugin } = access::find(&settings.access, files).await?;
    config.default_retry = false;
    // Below the call's own time-out, so that a dead address is known not to have got the call.
    config.connect_timeout = Some(settings.call_timeout / 2);
    let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let server = without_secrets(&config.cluster_url.to_string());

    // kube runs credential plugins while it builds, and waits for them without yielding.
    let build = tokio::task::spawn_blocking(move || ClientBuilder::try_from(config));
    let builder = match tokio::time::timeout(BUILD_WITHIN, build).await {
        Ok(Ok(Ok(builder))) => builder,
        Ok(Ok(Err(source))) => return Err(no_client(server, plugin, source)),
        Ok(Err(broken)) => {
            let source = Box::new(kube::Error::Service(broken.into()));
            return Err(ConnectError::Client { server, source });
        }
        Err(_) => return Err(ConnectError::TimedOut { server }),
    };
    Ok(Cluster::over(builder, settings, namespace, server, context))
}

fn no_client(server: String, plugin: Option<String>, source: kube::Error) -> ConnectError {
    match (plugin, source) {
        // Never in kube's own words: they have what a plug-in printed, which may be a token.
        (plugin, kube::Error::Auth(why)) => {
            let command = plugin.unwrap_or_else(|| "auth-provider".to_owned());
            ConnectError::Plugin { command, why: access::plugin_failure(&why) }
        }
        (_, source) => ConnectError::Client { server, source: Box::new(source) },
    }
}

/// A URL for people: user information in it may be a secret.
pub(super) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (&url[..scheme.len() + 3], rest));
    // In what is no URL a password may have a slash: there all up to the last @ is taken for a secret.
    let is_url = url.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some());
    let end = if is_url { rest.find('/').unwrap_or(rest.len()) } else { rest.len() };
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}{host}{}", &rest[end..])
}

impl Cluster {
    /// Puts our health layer around an HTTP client and binds it to a namespace.
    pub(super) fn over<S, B>(
        builder: ClientBuilder<S>,
        settings: &ClientSettings,
        namespace: String,
        server: String,
        context: Option<String>,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let heartbeat = Arc::new(Heartbeat::new());
        let health = HealthLayer {
            heartbeat: Arc::clone(&heartbeat),
            calls: Arc::clone(&settings.calls),
            answer_within: ANSWER_WITHIN.max(settings.call_timeout),
            silent_at_most: settings.fresh_within,
        };
        Self {
            client: builder.with_layer(&health).build(),
            namespace,
            server,
            context,
            heartbeat,
            selector: names::selector(&settings.instance),
            instance: settings.instance.clone(),
            call_timeout: settings.call_timeout,
            build: 0,
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Many errors repeat their source's text in their own.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    super::reason::clipped(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn a_secret_in_the_url_is_not_shown() {
        for (url, shown) in [
            ("http://sandbox:token@127.0.0.1:80/", "http://127.0.0.1:80/"),
            ("https://api.example:6443/", "https://api.example:6443/"),
            ("me:p@ss@proxy.example:3128", "proxy.example:3128"),
            ("https://api.example/a@b", "https://api.example/a@b"),
            ("me:p/w@proxy.example:3128", "proxy.example:3128"),
            ("http://me:p w/@proxy.example:3128", "http://proxy.example:3128"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
