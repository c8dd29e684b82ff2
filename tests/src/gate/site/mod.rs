//! The cluster behind a gate, and how the controls change it.
//!
//! A real cluster is changed through its API, as an administrator and as its own controllers do it. The sandbox has the
//! same controls itself and is handed them on; behind a gate it serves the gate's own tests.

mod administrator;
mod nodes;
mod permissions;
mod pods;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::administrator::Administrator;
use super::{
    control::{Problem, failed, read},
    history::version_of,
    write_kubeconfig,
};
use crate::{
    http::Endpoint,
    testbed::{Facts, Ground},
};

/// One namespace of a cluster.
#[derive(Debug)]
pub struct Site {
    admin: Administrator,
    /// The server for those who bring their own credentials: a client certificate would win over their token.
    server: Endpoint,
    kind: Kind,
    /// Where the gate listens, and the kubeconfig that leads there.
    entrance: Mutex<Option<(SocketAddr, PathBuf)>>,
}

#[derive(Debug)]
enum Kind {
    /// `hfd sandbox cluster`, with the token that it knows everybody by.
    Sandbox(String),
    /// `None` once the gate is closed.
    Testbed(Mutex<Option<Box<Real>>>),
}

/// What a real cluster's site has to remember.
#[derive(Debug)]
struct Real {
    ground: Ground,
    /// The Role's rules before the first permission was withdrawn.
    rules: Option<Value>,
}

impl Site {
    /// A simulated cluster, reached with its token.
    ///
    /// # Errors
    /// When the endpoint has no token.
    pub fn sandbox(endpoint: &Endpoint, namespace: &str) -> Result<Self> {
        let token = endpoint.token().context("the sandbox is used with its token")?.to_owned();
        let admin = Administrator::new(endpoint.clone(), namespace);
        Ok(Self::new(admin, endpoint.with_token(None), Kind::Sandbox(token)))
    }

    /// A namespace of any cluster, reached with one token. What only an administrator may do, its gate can't.
    ///
    /// # Errors
    /// When the endpoint has no token.
    pub fn by_token(endpoint: &Endpoint, namespace: &str) -> Result<Self> {
        Self::sandbox(endpoint, namespace)
    }

    /// A namespace of a testbed.
    pub fn testbed(facts: &Facts, ground: Ground) -> Self {
        let admin = Administrator::new(ground.admin().clone(), ground.namespace());
        let server = facts.with_token(ground.token()).with_token(None);
        Self::new(admin, server, Kind::Testbed(Mutex::new(Some(Box::new(Real { ground, rules: None })))))
    }

    fn new(admin: Administrator, server: Endpoint, kind: Kind) -> Self {
        Self { admin, server, kind, entrance: Mutex::default() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.admin.namespace()
    }

    /// An administrator's way to the API server, past the gate.
    pub fn admin(&self) -> &Endpoint {
        self.admin.api()
    }

    /// The API server, for whoever brings credentials.
    pub(super) fn server(&self) -> &Endpoint {
        &self.server
    }

    /// The daemon's token.
    pub fn token(&self) -> String {
        match &self.kind {
            Kind::Sandbox(token) => token.clone(),
            Kind::Testbed(real) => lock(real).as_ref().map(|real| real.ground.token().to_owned()).unwrap_or_default(),
        }
    }

    /// Names of the namespace's own nodes; `None` where all nodes of the cluster are.
    pub fn nodes(&self) -> Option<Vec<String>> {
        match &self.kind {
            Kind::Sandbox(_) => None,
            Kind::Testbed(real) => lock(real).as_ref().map(|real| real.ground.nodes().to_vec()),
        }
    }

    /// Gives the namespace back to its testbed. Threads may hold the site for a while longer.
    pub(super) fn leave(&self) {
        if let Kind::Testbed(real) = &self.kind {
            drop(lock(real).take());
        }
    }

    /// Writes the kubeconfig of the daemon, now and after each change of its token.
    pub(super) fn write_kubeconfig(&self, address: SocketAddr, file: &Path) -> Result<()> {
        write_kubeconfig(address, self.namespace(), &self.token(), file)?;
        *self.entrance.lock().expect("nothing panics while it holds the entrance") = Some((address, file.to_owned()));
        Ok(())
    }

    /// A resourceVersion that is newer than all that anybody has seen so far.
    pub(super) fn new_version(&self) -> Result<u64> {
        let path = format!("/api/v1/namespaces/{}", self.namespace());
        let namespace = self.admin().json("GET", &path, None)?;
        // Something has to change for the version to grow; the annotation has no other meaning.
        let mark = json!({"metadata": {"annotations": {"hfd.test/compacted": version_of(&namespace)?.to_string()}}});
        version_of(&self.admin().json("PATCH", &path, Some(&mark))?)
    }

    /// Carries out a control request about permissions, nodes or pods; gives the object that was changed, or `{}`.
    pub(super) fn control(&self, method: &str, path: &[&str], body: &[u8]) -> Result<Value, Problem> {
        let Kind::Testbed(real) = &self.kind else { return self.hand_on(method, path, body) };
        let mut real = lock(real);
        let real = real.as_mut().ok_or_else(|| (503, "the gate is closing".to_owned()))?;
        match (method, path) {
            ("POST", ["deny"]) => permissions::withdraw(self, real, &read(body)?),
            ("DELETE", ["deny"]) => permissions::restore(self, real).map_err(failed),
            ("POST", ["nodes", name, what @ ("lose" | "notready" | "ready")]) => nodes::change(&self.admin, name, what),
            ("POST", ["pods", namespace, name]) if *namespace == self.namespace() => {
                pods::change(&self.admin, name, &read(body)?)
            }
            _ => Err((404, format!("the gate has no {method} /sandbox/{}", path.join("/")))),
        }
    }

    fn hand_on(&self, method: &str, path: &[&str], body: &[u8]) -> Result<Value, Problem> {
        let path = format!("/sandbox/{}", path.join("/"));
        let answer = self.admin().send(method, &path, "application/json", body).map_err(failed)?;
        let value = answer.json().map_err(failed)?;
        match answer.code {
            200..300 => Ok(value),
            code => Err((code, value["error"].as_str().unwrap_or_default().to_owned())),
        }
    }

    /// Deletes the namespace with all in it and makes it anew.
    pub(super) fn recreate_namespace(&self) -> Result<()> {
        let Kind::Testbed(real) = &self.kind else {
            let done = self.hand_on("POST", &["namespaces", self.namespace(), "recreate"], b"");
            return done.map(drop).map_err(|(code, message)| anyhow::anyhow!("{code} {message}"));
        };
        let path = format!("/api/v1/namespaces/{}", self.namespace());
        self.admin().json("DELETE", &path, None)?;
        // No kubelet is in a hurry here, and nobody watches how its pods go.
        self.admin().call("DELETE", &format!("{path}/pods"), Some(&json!({"gracePeriodSeconds": 0})))?;
        administrator::until("the namespace is gone", || Ok(self.admin().call("GET", &path, None)?.code == 404))?;
        let mut real = lock(real);
        let changed = real.as_mut().context("the gate is closing")?;
        changed.ground.furnish()?;
        changed.rules = None;
        drop(real);
        // A service account made anew has another token: the site's administrator hands it out.
        let entrance = self.entrance.lock().expect("nothing panics while it holds the entrance").clone();
        let (address, file) = entrance.context("the gate is open")?;
        self.write_kubeconfig(address, &file)
    }
}

fn lock(real: &Mutex<Option<Box<Real>>>) -> MutexGuard<'_, Option<Box<Real>>> {
    real.lock().expect("nothing panics while it holds the site")
}
