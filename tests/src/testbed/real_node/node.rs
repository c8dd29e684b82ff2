//! A running real node, as its users in other processes reach it: by files in the testbed's directory and by kubelet's
//! own API.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use ureq::http::HeaderMap;

use crate::{
    http::{Endpoint, Tls},
    testbed::{Facts, nodes},
    wait::eventually,
};

/// Longest wait for kubelet to stop, to start and to be noticed.
const PATIENCE: Duration = Duration::from_secs(60);
const DIRECTORY: &str = "node";
const FILE: &str = "node.json";

/// A way to the real node of a testbed.
#[derive(Debug)]
pub struct Node {
    directory: PathBuf,
    admin: Endpoint,
    kubelet: Endpoint,
    name: String,
}

/// What is known of it by file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// Its name in the cluster.
    pub(super) name: String,
    /// `https://127.0.0.1:PORT`.
    pub(super) kubelet: String,
}

impl Told {
    pub(super) fn write(&self, node: &Path) -> Result<()> {
        Ok(fs::write(node.join(FILE), serde_json::to_vec(self)?)?)
    }
}

/// Where the node's files lie in a testbed's directory.
pub(super) fn directory(testbed: &Path) -> PathBuf {
    testbed.join(DIRECTORY)
}

impl Node {
    /// The real node of this testbed.
    ///
    /// # Errors
    /// When it has none.
    pub fn of(facts: &Facts) -> Result<Self> {
        let testbed = facts.logs.parent().context("the logs lie in the testbed's directory")?;
        let directory = directory(testbed);
        let text = fs::read(directory.join(FILE)).context("this testbed has no real node")?;
        let told: Told = serde_json::from_slice(&text)?;
        let read = |name: &str| fs::read(facts.certificates.join(name)).with_context(|| name.to_owned());
        let (authority, certificate, key) = (read("ca.crt")?, read("admin.crt")?, read("admin.key")?);
        let tls = Tls { authority: &authority, identity: Some((&certificate, &key)) };
        let kubelet = Endpoint::tls(&told.kubelet, &tls, None)?;
        Ok(Self { directory, admin: facts.admin(), kubelet, name: told.name })
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in a pod's container and gives what it prints; `command` is split at spaces.
    ///
    /// # Errors
    /// When kubelet does not answer, or the command fails.
    pub fn run(&self, namespace: &str, pod: &str, container: &str, command: &str) -> Result<String> {
        let words: Vec<&str> = command.split(' ').collect();
        let path = format!("/run/{namespace}/{pod}/{container}?cmd={}", words.join("%20"));
        // Without a word on what is accepted: kubelet answers text, and refuses to those who say that they want JSON.
        let answer = self.kubelet.pass("POST", &path, &HeaderMap::new(), b"")?;
        let code = answer.status().as_u16();
        let text = answer.into_body().read_to_string()?;
        ensure!(code == 200, "{command} in {pod}: {code} {text}");
        Ok(text)
    }

    /// SIGKILL to kubelet: the node falls silent, its containers run on.
    ///
    /// # Panics
    /// When it is not stopped within a minute.
    pub fn stop_kubelet(&self) {
        self.ask("hold").expect("the testbed's directory can be written");
        eventually("kubelet is stopped", PATIENCE, || self.directory.join("held").exists().then_some(()));
    }

    /// Starts kubelet again.
    ///
    /// # Panics
    /// When it is not started within a minute.
    pub fn start_kubelet(&self) {
        fs::remove_file(self.directory.join("hold")).expect("kubelet was stopped before");
        eventually("kubelet is started", PATIENCE, || (!self.directory.join("held").exists()).then_some(()));
    }

    /// Whether the control plane thinks that it is ready, and would let pods start there.
    pub fn is_ready(&self) -> bool {
        let node = self.admin.json("GET", &format!("/api/v1/nodes/{}", self.name), None);
        let usable = |node: &serde_json::Value| {
            let taints = node["spec"]["taints"].as_array();
            nodes::is_ready(node) && taints.is_none_or(Vec::is_empty) && node["spec"]["unschedulable"] != true
        };
        node.is_ok_and(|node| usable(&node))
    }

    /// Waits until it is ready for pods.
    ///
    /// # Panics
    /// When it is not within a minute.
    pub fn wait_ready(&self) {
        eventually("the real node is ready", PATIENCE, || self.is_ready().then_some(()));
    }

    /// Asks the node's first process for something; see `init.sh`.
    pub(super) fn ask(&self, what: &str) -> std::io::Result<()> {
        fs::write(self.directory.join(what), "")
    }
}
