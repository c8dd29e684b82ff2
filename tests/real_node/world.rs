//! A test's world on the real node: a namespace, a daemon that reaches the API server directly, and HostFactory's
//! scripts with the strict reader of their replies.

use std::{
    fs,
    process::Command,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    Checker, Daemon, DaemonSpec, Input, Machine, Reply, RequestStatus, Scripts, Template, Verb,
    answer::epoch_seconds,
    eventually,
    process::run,
    template,
    testbed::{Facts, Ground, IMAGE, Node},
    world::find,
};

use crate::testbed;

/// Longest wait for anything: a container starts in a second, on a busy machine in ten.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two polls: HostFactory's own is 30 s.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Lines of the daemon's log that a failed test prints.
const LOG_LINES: usize = 60;

/// Who may use the node now.
static NODE: RwLock<()> = RwLock::new(());

/// A test's turn on the node.
#[derive(Debug)]
#[expect(dead_code, reason = "what a guard holds is never read: it counts until it is dropped")]
pub(crate) enum Turn {
    /// Others have theirs at the same time.
    Shared(RwLockReadGuard<'static, ()>),
    /// Nobody else has.
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    /// Waits until nobody has the node alone.
    pub(crate) fn shared() -> Self {
        Self::Shared(NODE.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn alone() -> Self {
        // A test that failed alone has left the node as the next one finds it: that one waits for it to be ready.
        Self::Alone(NODE.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A template of one container that runs a shell script on the node's own image, and is killed a second after it was
/// asked to end.
pub(crate) fn script(id: &str, script: &str) -> Template {
    Template::new(id)
        .pod("/spec/terminationGracePeriodSeconds", json!(1))
        .pod("/spec/containers/0/image", json!(IMAGE))
        .pod("/spec/containers/0/imagePullPolicy", json!("Never"))
        .pod("/spec/containers/0/command", json!(["/bin/sh", "-c", script]))
}

/// Makes the container ready only while a file is there.
pub(crate) fn ready_if(template: Template, file: &str) -> Template {
    let probe = json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "timeoutSeconds": 10});
    template.pod("/spec/containers/0/readinessProbe", probe)
}

/// The script of a container that has nothing to do, and ends when it is asked to.
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
/// A file that no container has, so that a probe for it never succeeds.
pub(crate) const NEVER: &str = "/never";

/// A daemon and a HostFactory on the real node. The fields end in the order written: first the daemon, last the turn.
#[derive(Debug)]
pub(crate) struct RealWorld {
    daemon: Daemon,
    scripts: Scripts,
    checker: Mutex<Checker>,
    /// The node.
    pub(crate) node: Node,
    /// Namespace, permissions and token.
    pub(crate) ground: Ground,
    /// The testbed.
    pub(crate) facts: Facts,
    _dir: TempDir,
    _turn: Turn,
}

impl RealWorld {
    /// A world with these templates, beside others.
    #[track_caller]
    pub(crate) fn start(templates: &[Template]) -> Self {
        Self::start_with(templates, &[])
    }

    /// The same with configuration values that are text.
    #[track_caller]
    pub(crate) fn start_with(templates: &[Template], config: &[(&str, &str)]) -> Self {
        Self::begin(Turn::shared(), templates, config)
    }

    /// A world that has the node for itself.
    #[track_caller]
    pub(crate) fn start_alone(templates: &[Template]) -> Self {
        Self::begin(Turn::alone(), templates, &[])
    }

    #[track_caller]
    fn begin(turn: Turn, templates: &[Template], config: &[(&str, &str)]) -> Self {
        let facts = testbed();
        let node = Node::of(&facts).expect("the testbed has a real node");
        node.wait_ready();
        let ground = Ground::on_the_real_node(&facts).expect("the testbed prepares a namespace");
        let dir = tempfile::Builder::new().prefix("hfd-rn-").tempdir().expect("a temporary directory can be made");
        let kubeconfig = dir.path().join("kubeconfig");
        fs::write(&kubeconfig, facts.kubeconfig(ground.namespace(), ground.token())).expect("the directory is ours");
        let template_file = dir.path().join("templates.json");
        template::write_file(&template_file, templates);
        let mut spec = DaemonSpec::new(dir.path(), &kubeconfig, &template_file);
        spec.namespace = ground.namespace().to_owned();
        for (key, text) in config {
            spec.set(key, text);
        }
        let scripts = Scripts::new(dir.path(), &spec.socket);
        let daemon = Daemon::start(spec);
        let checker = Mutex::default();
        let world = Self { daemon, scripts, checker, node, ground, facts, _dir: dir, _turn: turn };
        eventually("the daemon has seen the cluster", PATIENCE, || {
            world.daemon.status().filter(|status| find(status, "synced") == Some(&json!(true)))
        });
        world
    }

    // ---- HostFactory's side ----

    #[track_caller]
    fn call(&self, verb: Verb, input: &Value) -> Reply {
        let begun = epoch_seconds();
        let reply = self.scripts.call(verb, Input::File(input.to_string().as_bytes()));
        let mut checker = self.checker.lock().expect("no test goes on after a panic in the reader");
        if let Err(error) = checker.read(input, begun, &reply) {
            panic!("a reply breaks the interface: {error:?}");
        }
        reply
    }

    /// Asks for machines and gives the request's id.
    #[track_caller]
    pub(crate) fn request(&self, template: &str, count: u64) -> String {
        let input = json!({"template": {"templateId": template, "machineCount": count}});
        id_of(&self.call(Verb::RequestMachines, &input))
    }

    /// Returns machines by name and gives the return's id.
    #[track_caller]
    pub(crate) fn give_back(&self, names: &[&str]) -> String {
        id_of(&self.call(Verb::RequestReturnMachines, &machines(names)))
    }

    /// How one request or return stands.
    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> RequestStatus {
        let reply = self.call(Verb::GetRequestStatus, &json!({"requests": [{"requestId": id}]}));
        RequestStatus::read(&reply.ok()["requests"][0])
    }

    /// Polls until the request is as wanted.
    #[track_caller]
    pub(crate) fn wait(&self, id: &str, what: &str, wanted: impl Fn(&RequestStatus) -> bool) -> RequestStatus {
        let begun = Instant::now();
        loop {
            let status = self.status(id);
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{id} not within {PATIENCE:?} {what}: {status:#?}");
            thread::sleep(POLL_EVERY);
        }
    }

    /// Polls until the request has ended.
    #[track_caller]
    pub(crate) fn wait_end(&self, id: &str) -> RequestStatus {
        self.wait(id, "ended", |status| status.status != "running")
    }

    /// Asks for machines and waits until all are ready.
    #[track_caller]
    pub(crate) fn bring_up(&self, template: &str, count: u64) -> Vec<Machine> {
        let end = self.wait_end(&self.request(template, count));
        assert!(end.status == "complete", "bringing up {count} of {template}: {end:#?}");
        end.machines
    }

    /// Asks for one machine that must fail, and gives its message.
    #[track_caller]
    pub(crate) fn failure(&self, template: &str) -> String {
        let end = self.wait_end(&self.request(template, 1));
        assert!(end.status == "complete_with_error" && end.only().result == "fail", "{end:#?}");
        end.only().message.clone()
    }

    /// Returns machines and waits until they are gone.
    #[track_caller]
    pub(crate) fn take_down(&self, names: &[&str]) {
        let end = self.wait_end(&self.give_back(names));
        assert!(end.status == "complete", "returning {names:?}: {end:#?}");
    }

    /// Seconds of grace with which the provider wants a machine back, if it does.
    #[track_caller]
    pub(crate) fn reclaim(&self, name: &str) -> Option<u64> {
        let reply = self.call(Verb::GetReturnRequests, &machines(&[name]));
        let entries = reply.ok()["requests"].as_array().expect("read strictly before");
        entries.first().map(|entry| entry["gracePeriod"].as_u64().expect("read strictly before"))
    }

    /// Polls until the provider wants a machine back, and gives the seconds of grace.
    #[track_caller]
    pub(crate) fn wait_reclaim(&self, name: &str) -> u64 {
        eventually("the machine is wanted back", PATIENCE, || self.reclaim(name))
    }

    /// Polls until the provider wants a machine back, which from the first time on must be with no more than its pod's own
    /// grace: also while the pod is only marked (DisruptionTarget) and not yet deleted.
    #[track_caller]
    pub(crate) fn wait_reclaim_within(&self, name: &str, grace: u64) {
        let told = self.wait_reclaim(name);
        assert!(told <= grace, "{name} is wanted back in {told} s, and its pod has {grace} s");
    }

    /// Runs `hfctl`; it must exit with 0.
    #[track_caller]
    pub(crate) fn hfctl(&self, arguments: &[&str]) -> String {
        let finished = self.daemon.hfctl(arguments, b"");
        assert!(finished.code == 0, "hfctl {arguments:?}: {} {}", finished.code, finished.error_text());
        finished.text()
    }

    // ---- the cluster's side ----

    /// One pod, as the API server has it.
    #[track_caller]
    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        let answer = self.ground.admin().call("GET", &self.pod_path(name), None);
        let answer = answer.unwrap_or_else(|error| panic!("{error:#}"));
        (answer.code == 200).then(|| answer.json().expect("the API answers JSON"))
    }

    /// Runs `kubectl` as a cluster administrator, to its end.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) {
        let finished = run(self.kubectl_command(arguments), b"", PATIENCE);
        assert!(finished.code == 0, "kubectl {arguments:?}: {}", finished.error_text());
    }

    /// `kubectl` as a cluster administrator, to be started.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.facts.kubectl.as_ref().expect("a testbed with a real node has kubectl"));
        command.arg("--kubeconfig").arg(&self.facts.admin_kubeconfig).args(arguments);
        command
    }

    /// `kubectl delete pod`, which does not wait for its end.
    #[track_caller]
    pub(crate) fn delete_pod(&self, name: &str) {
        self.kubectl(&["delete", "pod", name, "--namespace", self.ground.namespace(), "--wait=false"]);
    }

    /// Runs a command in a machine's container and gives what it prints.
    #[track_caller]
    pub(crate) fn run(&self, name: &str, command: &str) -> String {
        let done = self.node.run(self.ground.namespace(), name, "main", command);
        done.unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn pod_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.ground.namespace())
    }

    /// Names and states of all pods of the namespace, for a failed test.
    fn pods(&self) -> String {
        let path = format!("/api/v1/namespaces/{}/pods", self.ground.namespace());
        let list = self.ground.admin().json("GET", &path, None).unwrap_or_default();
        let pods = list["items"].as_array().into_iter().flatten();
        pods.map(|pod| {
            format!("{} {} {}\n", pod["metadata"]["name"], pod["metadata"]["deletionTimestamp"], pod["status"])
        })
        .collect()
    }
}

impl Drop for RealWorld {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- hfd in {}:\n{}", self.ground.namespace(), self.daemon.log_tail(LOG_LINES));
            eprintln!("--- pods:\n{}", self.pods());
        }
    }
}

fn machines(names: &[&str]) -> Value {
    let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "machines": machines })
}

#[track_caller]
fn id_of(reply: &Reply) -> String {
    reply.ok()["requestId"].as_str().expect("read strictly before").to_owned()
}
