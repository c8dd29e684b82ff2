//! A test's world: a cluster, a daemon, HostFactory's scripts and the strict reader of all their replies.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    answer::{Checker, epoch_seconds},
    cluster::{Cluster, ClusterOptions},
    daemon::{Daemon, DaemonSpec},
    script::{Input, Reply, Scripts, Verb},
    template::{self, Template},
    wait::eventually,
};

/// Lines of the logs that a failed test prints.
const LOG_LINES: usize = 80;

/// Builds a [`World`].
#[derive(Debug)]
pub struct WorldBuilder {
    templates: Vec<Template>,
    cluster: ClusterOptions,
    config: Vec<(String, String)>,
    own_disk: Option<String>,
    state_dir: Option<PathBuf>,
    outage: bool,
}

impl WorldBuilder {
    /// Adds a template; the first one added replaces the default one (`small`).
    #[must_use]
    pub fn template(mut self, template: Template) -> Self {
        self.templates.push(template);
        self
    }

    /// Changes the cluster's options.
    #[must_use]
    pub fn cluster(mut self, change: impl FnOnce(&mut ClusterOptions)) -> Self {
        change(&mut self.cluster);
        self
    }

    /// Sets a configuration value that is text.
    #[must_use]
    pub fn set(self, key: &str, text: &str) -> Self {
        self.set_literal(key, &format!("\"{text}\""))
    }

    /// Sets a configuration value by its TOML literal.
    #[must_use]
    pub fn set_literal(mut self, key: &str, literal: &str) -> Self {
        self.config.push((key.to_owned(), literal.to_owned()));
        self
    }

    /// Puts the state directory on a small file system of its own.
    #[must_use]
    pub fn own_disk(mut self, size: &str) -> Self {
        self.own_disk = Some(size.to_owned());
        self
    }

    /// Puts the state directory somewhere else than into the world's own directory.
    #[must_use]
    pub fn state_dir(mut self, path: &Path) -> Self {
        self.state_dir = Some(path.to_owned());
        self
    }

    /// Starts with an API server that answers nobody.
    #[must_use]
    pub fn during_outage(mut self) -> Self {
        self.outage = true;
        self
    }

    /// Starts all of it and waits until the daemon serves and (but for an outage) has seen the cluster.
    ///
    /// # Panics
    /// When something does not come up.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> World {
        let dir = tempfile::Builder::new().prefix("hfd-it-").tempdir().expect("a temporary directory can be made");
        let cluster = Cluster::start(dir.path(), &self.cluster);
        cluster.outage(self.outage);
        let templates = if self.templates.is_empty() { vec![Template::new("small")] } else { self.templates };
        let template_file = dir.path().join("templates.json");
        template::write_file(&template_file, &templates);
        let mut spec = DaemonSpec::of(dir.path(), &cluster, &template_file);
        // The API server's own request time-out decides how long a broken create may still land: a simulated server
        // has none, so the tests need not wait a minute for it.
        spec.set("kube.server_request_timeout", "2s");
        for (key, literal) in &self.config {
            spec.set_literal(key, literal);
        }
        spec.own_disk = self.own_disk;
        spec.state_dir = self.state_dir.unwrap_or(spec.state_dir);
        let scripts = Scripts::new(dir.path(), &spec.socket);
        let daemon = Daemon::start(spec);
        let world = World { daemon, cluster, scripts, checker: Mutex::default(), template_file, dir };
        if !self.outage {
            world.wait_synced();
        }
        world
    }
}

/// A cluster, a daemon and a HostFactory. The fields end in the order written: first the daemon, last the directory.
#[derive(Debug)]
pub struct World {
    /// The daemon under test.
    pub daemon: Daemon,
    /// Its cluster.
    pub cluster: Cluster,
    /// HostFactory's side.
    pub scripts: Scripts,
    /// What was told so far.
    pub checker: Mutex<Checker>,
    /// The template file.
    pub template_file: PathBuf,
    dir: TempDir,
}

impl World {
    /// A world to be configured.
    #[must_use]
    pub fn build() -> WorldBuilder {
        WorldBuilder {
            templates: Vec::new(),
            cluster: ClusterOptions::default(),
            config: Vec::new(),
            own_disk: None,
            state_dir: None,
            outage: false,
        }
    }

    /// A world with one template, `small`, whose pods start at once.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::build().start()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits until the daemon has seen the cluster.
    #[track_caller]
    pub fn wait_synced(&self) {
        eventually("the daemon has seen the cluster", self.cluster.patience(), || {
            self.daemon.status().filter(|status| find(status, "synced") == Some(&json!(true)))
        });
    }

    /// Kills the daemon and starts it again; it then has seen the cluster.
    #[track_caller]
    pub fn crash(&mut self) {
        self.daemon.crash_and_restart();
        self.wait_synced();
    }

    // ---- the five verbs ----

    /// Calls a verb by its script and reads the reply strictly.
    #[track_caller]
    pub fn call(&self, verb: Verb, input: &Value) -> Reply {
        let begun = epoch_seconds();
        let reply = self.scripts.call(verb, Input::File(input.to_string().as_bytes()));
        self.check(input, begun, &reply);
        reply
    }

    /// Calls a verb by `hfctl` with arguments of its own, and reads the reply strictly.
    #[track_caller]
    pub fn call_with(&self, verb: Verb, arguments: &[&str], input: &Value) -> Reply {
        let begun = epoch_seconds();
        let all: Vec<&str> = [verb.command()].iter().chain(arguments).chain(&["-f", "-"]).copied().collect();
        let reply = Reply::read(verb, &self.daemon.hfctl(&all, input.to_string().as_bytes()));
        self.check(input, begun, &reply);
        reply
    }

    /// Calls every verb by `hfctl` with a short time-out of its own, for a daemon that is not there: each must fail with
    /// a message. The default is to wait, for a daemon that died is started again at once.
    #[track_caller]
    pub fn assert_all_verbs_fail(&self) {
        for verb in Verb::ALL {
            let input = br#"{"requests":[],"machines":[{"name":"x"}],"template":{"templateId":"x","machineCount":1}}"#;
            let finished = self.daemon.hfctl(&["--timeout", "1", verb.command(), "-f", "-"], input);
            Reply::read(verb, &finished).refused();
        }
    }

    #[track_caller]
    fn check(&self, input: &Value, begun: u64, reply: &Reply) {
        let read = self.checker().read(input, begun, reply);
        if let Err(error) = read {
            panic!("a reply breaks the interface: {error:?}");
        }
    }

    /// The session's memory.
    pub fn checker(&self) -> std::sync::MutexGuard<'_, Checker> {
        self.checker.lock().expect("no test goes on after a panic in the reader")
    }

    /// The templates told.
    #[track_caller]
    pub fn templates(&self) -> Vec<Value> {
        let reply = self.call(Verb::GetAvailableTemplates, &json!({}));
        reply.ok()["templates"].as_array().cloned().unwrap_or_default()
    }

    /// Asks for machines and gives the request's id.
    #[track_caller]
    pub fn request(&self, template: &str, count: u64) -> String {
        let input = json!({"template": {"templateId": template, "machineCount": count}});
        let reply = self.call(Verb::RequestMachines, &input);
        reply.ok()["requestId"].as_str().expect("read strictly before").to_owned()
    }

    /// How one request or return stands.
    #[track_caller]
    pub fn status(&self, id: &str) -> RequestStatus {
        self.statuses(&[id]).remove(0)
    }

    /// How several stand, by one call.
    #[track_caller]
    pub fn statuses(&self, ids: &[&str]) -> Vec<RequestStatus> {
        let requests: Vec<Value> = ids.iter().map(|id| json!({ "requestId": id })).collect();
        let reply = self.call(Verb::GetRequestStatus, &json!({ "requests": requests }));
        reply.ok()["requests"].as_array().expect("read strictly before").iter().map(RequestStatus::read).collect()
    }

    /// Polls until the request is as wanted.
    #[track_caller]
    pub fn wait(&self, id: &str, what: &str, mut wanted: impl FnMut(&RequestStatus) -> bool) -> RequestStatus {
        let mut last = None;
        let patience = self.cluster.patience();
        let begun = Instant::now();
        loop {
            let status = self.status(id);
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < patience, "{id} not within {patience:?} {what}; {status:#?}; before {last:?}");
            last = Some(status.status);
            thread::sleep(Duration::from_millis(25));
        }
    }

    /// Polls until the request has ended.
    #[track_caller]
    pub fn wait_end(&self, id: &str) -> RequestStatus {
        self.wait(id, "ended", |status| status.status != "running")
    }

    /// Asks for machines and waits until all are ready.
    #[track_caller]
    pub fn bring_up(&self, template: &str, count: u64) -> Vec<Machine> {
        let id = self.request(template, count);
        let status = self.wait_end(&id);
        assert!(status.status == "complete", "bringing up {count} of {template}: {status:#?}");
        status.machines
    }

    /// Returns machines by name and gives the return's id.
    #[track_caller]
    pub fn give_back(&self, names: &[&str]) -> String {
        let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        self.give_back_as(&json!({ "machines": machines }))
    }

    /// Returns machines by a document of one's own and gives the return's id.
    #[track_caller]
    pub fn give_back_as(&self, input: &Value) -> String {
        let reply = self.call(Verb::RequestReturnMachines, input);
        reply.ok()["requestId"].as_str().expect("read strictly before").to_owned()
    }

    /// Names that the provider wants back when asked about `names`, with their grace in seconds.
    #[track_caller]
    pub fn reclaims(&self, names: &[&str]) -> Vec<(String, u64)> {
        let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        self.reclaims_as(&json!({ "machines": machines }))
    }

    /// The same when asked about nothing in particular.
    #[track_caller]
    pub fn all_reclaims(&self) -> Vec<(String, u64)> {
        self.reclaims_as(&json!({}))
    }

    #[track_caller]
    fn reclaims_as(&self, input: &Value) -> Vec<(String, u64)> {
        let reply = self.call(Verb::GetReturnRequests, input);
        let entries = reply.ok()["requests"].as_array().expect("read strictly before");
        let read = |entry: &Value| {
            let name = entry["machine"].as_str().expect("read strictly before");
            (name.to_owned(), entry["gracePeriod"].as_u64().expect("read strictly before"))
        };
        entries.iter().map(read).collect()
    }

    // ---- people's side ----

    /// Runs `hfctl`; it must exit with 0.
    #[track_caller]
    pub fn hfctl(&self, arguments: &[&str]) -> String {
        let finished = self.daemon.hfctl(arguments, b"");
        assert!(finished.code == 0, "hfctl {arguments:?}: {} {}", finished.code, finished.error_text());
        finished.text()
    }

    /// Runs `hfctl … -o json`; it must exit with 0.
    #[track_caller]
    pub fn hfctl_json(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> = arguments.iter().chain(&["-o", "json"]).copied().collect();
        let text = self.hfctl(&all);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("hfctl {arguments:?}: {error}: {text}"))
    }

    /// How many requests and returns the daemon knows.
    #[track_caller]
    pub fn known_requests(&self) -> u64 {
        let list = self.hfctl_json(&["get", "requests"]);
        list["total"].as_u64().unwrap_or_else(|| panic!("no total in {list}"))
    }

    /// Waits until `hfctl status` says something that contains each of `words`, letter case aside.
    #[track_caller]
    pub fn wait_status_says(&self, words: &[&str]) -> String {
        let patience = self.cluster.patience();
        let begun = Instant::now();
        loop {
            let said = self.daemon.status().unwrap_or_default().to_string();
            let lower = said.to_lowercase();
            if words.iter().all(|word| lower.contains(&word.to_lowercase())) {
                return said;
            }
            assert!(begun.elapsed() < patience, "not within {patience:?} in the status: {words:?}; it says {said}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Replaces the template file.
    pub fn write_templates(&self, templates: &[Template]) {
        template::write_file(&self.template_file, templates);
    }

    // ---- the cluster afterwards ----

    /// Waits until no pod of ours is left in the cluster.
    #[track_caller]
    pub fn wait_no_pods(&self) {
        let within = self.cluster.patience();
        eventually("no pod of ours is left", within, || self.cluster.managed().is_empty().then_some(()));
    }

    /// No name had two pods.
    ///
    /// # Panics
    /// When one had.
    #[track_caller]
    pub fn assert_no_pod_twice(&self) {
        let twice: Vec<_> = self.cluster.history().into_iter().filter(|(_, pod)| pod.created > 1).collect();
        assert!(twice.is_empty(), "created more than once: {twice:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- hfd:\n{}", self.daemon.log_tail(LOG_LINES));
            eprintln!("--- cluster:\n{}", self.cluster.log_tail(LOG_LINES / 2));
        }
    }
}

/// How a request or a return stands, as HostFactory was told.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestStatus {
    /// `running`, `complete` or `complete_with_error`.
    pub status: String,
    /// The request's message.
    pub message: String,
    /// Its machines.
    pub machines: Vec<Machine>,
}

impl RequestStatus {
    /// Reads an entry of a reply that was read strictly before.
    ///
    /// # Panics
    /// When it was not, and lacks a text.
    pub fn read(entry: &Value) -> Self {
        let machines = entry["machines"].as_array().map(|all| all.iter().map(Machine::read).collect());
        Self { status: text(entry, "status"), message: text(entry, "message"), machines: machines.unwrap_or_default() }
    }

    /// Machines with this result.
    pub fn with(&self, result: &str) -> Vec<&Machine> {
        self.machines.iter().filter(|machine| machine.result == result).collect()
    }

    /// The one machine of a request for one.
    ///
    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    pub fn only(&self) -> &Machine {
        assert!(self.machines.len() == 1, "not one machine: {self:#?}");
        &self.machines[0]
    }

    /// The one machine, which must have failed; gives its reason in lower case.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn failure(&self) -> String {
        assert!(self.status == "complete_with_error", "{self:#?}");
        assert!(self.only().result == "fail", "{self:#?}");
        self.only().message.to_lowercase()
    }
}

/// A machine, as HostFactory was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Name of the pod and the host.
    pub name: String,
    /// `machineId`: the pod's UID, empty until known.
    pub id: String,
    /// `executing`, `succeed` or `fail`.
    pub result: String,
    /// `running`, `shutting-down`, `terminated`, …
    pub status: String,
    /// `privateIpAddress`.
    pub ip: String,
    /// Epoch seconds.
    pub launchtime: u64,
    /// Reason of a failure.
    pub message: String,
}

impl Machine {
    fn read(entry: &Value) -> Self {
        Self {
            name: text(entry, "name"),
            id: text(entry, "machineId"),
            result: text(entry, "result"),
            status: text(entry, "status"),
            ip: text(entry, "privateIpAddress"),
            launchtime: entry["launchtime"].as_u64().unwrap_or_default(),
            message: text(entry, "message"),
        }
    }
}

/// The machines' names.
pub fn names(machines: &[Machine]) -> Vec<&str> {
    machines.iter().map(|machine| machine.name.as_str()).collect()
}

/// The first value of that key anywhere in a document.
pub fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|inner| find(inner, key))),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

fn text(entry: &Value, key: &str) -> String {
    entry[key].as_str().expect("read strictly before").to_owned()
}
