//! The control plane's processes: started in order, awaited until they really work, stopped together.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    certificates::{Authority, Identity, SigningKey},
    child,
    directory::Directory,
    facts::{Facts, kubeconfig},
    nodes,
    programs::{self, Module},
    real_node::RealNode,
};
use crate::{bins, http::Endpoint, process::Process, wait::eventually};

/// Longest wait for one process to work: a start takes 3 s on two idle cores, much more beside a build.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is wanted of a testbed.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes that KWOK plays, for everybody; a `Ground` brings its own.
    pub nodes: u32,
    /// Room for pods on each.
    pub pods_per_node: u32,
    /// Also a real node: kubelet and containerd. Needs root.
    pub real_node: bool,
    /// Seconds that a node may be silent before it counts as lost with its pods; `None`: 60, or 12 beside a real node.
    pub node_grace: Option<u32>,
    /// Further arguments of kube-apiserver, e.g. `--max-requests-inflight=50`.
    pub api_server: Vec<String>,
    /// Whether the calls of service accounts are written to the audit log.
    pub audit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 0, pods_per_node: 110, real_node: false, node_grace: None, api_server: Vec::new(), audit: true }
    }
}

/// A running testbed. Dropped, all of it ends.
#[derive(Debug)]
pub struct Testbed {
    // In the order in which they have to end: what uses the API server goes before it.
    real_node: Option<RealNode>,
    kwok: Process,
    scheduler: Process,
    controllers: Process,
    api_server: Process,
    etcd: Process,
    facts: Facts,
    start: Start,
}

/// What a start needs to know, and a second start of one process again.
#[derive(Debug)]
struct Start {
    options: Options,
    authority: Authority,
    server: Identity,
    tokens: SigningKey,
    etcd_url: String,
    port: u16,
    directory: Directory,
}

impl Testbed {
    /// Starts one and waits until it works: the API server is ready, the nodes are, and (with a real node) its runtime.
    ///
    /// # Errors
    /// When a program is missing and can't be built, or a process ends.
    ///
    /// # Panics
    /// When a process does not work within two minutes.
    pub fn start(options: Options) -> Result<Self> {
        if options.real_node {
            // Before anything is built: who is not root should not wait for that first.
            RealNode::provide()?;
        }
        let etcd_program = programs::program(Module::Etcd, "server")?;
        let control_plane = programs::directory(Module::ControlPlane)?;
        let kwok_program = programs::program(Module::Kwok, "kwok")?;
        let kubectl = if options.real_node { Some(programs::program(Module::Node, "kubectl")?) } else { None };

        let directory = Directory::new()?;
        fs::create_dir(directory.path().join("logs"))?;
        let authority = Authority::new(&directory.path().join("pki"))?;
        let server = authority.server("kube-apiserver")?;
        let tokens = authority.signing_key()?;
        let etcd_url = format!("http://127.0.0.1:{}", free_port()?);
        let port = free_port()?;
        let mut start = Start { options, authority, server, tokens, etcd_url, port, directory };

        let etcd = start.etcd(&etcd_program)?;
        let mut api_server = start.api_server(&control_plane)?;
        let facts = start.facts(kubectl)?;
        let admin = facts.admin();
        wait_ready(&admin, &mut api_server);
        let controllers = start.controllers(&control_plane)?;
        let scheduler = start.scheduler(&control_plane)?;
        let kwok = start.kwok(&kwok_program)?;
        let names: Vec<String> = (0..start.options.nodes).map(|number| format!("node-{number:03}")).collect();
        nodes::create(&admin, &names, start.options.pods_per_node, &[])?;
        for name in &names {
            eventually("a node is ready", PATIENCE, || {
                let node = admin.json("GET", &format!("/api/v1/nodes/{name}"), None).ok()?;
                nodes::is_ready(&node).then_some(())
            });
        }
        let mut testbed = Self { real_node: None, kwok, scheduler, controllers, api_server, etcd, facts, start };
        if testbed.start.options.real_node {
            let node = RealNode::start(&testbed.start.authority, &testbed.facts, testbed.start.directory.path())?;
            testbed.facts.real_node = Some(node.name().to_owned());
            testbed.real_node = Some(node);
        }
        testbed.facts.write(testbed.directory())?;
        testbed.check()?;
        Ok(testbed)
    }

    /// Its directory, which `HFD_TESTBED` names for its users.
    pub fn directory(&self) -> &Path {
        self.start.directory.path()
    }

    /// What it tells of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Its real node.
    ///
    /// # Panics
    /// When it was started without one.
    pub fn real_node(&mut self) -> &mut RealNode {
        self.real_node.as_mut().expect("the testbed was started with a real node")
    }

    /// Keeps the logs at the end, for whoever has to find out why.
    pub fn keep_logs(&mut self) {
        self.start.directory.keep();
    }

    /// Whether all its processes live.
    ///
    /// # Errors
    /// Names the first that has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        let all = [
            ("etcd", &mut self.etcd),
            ("kube-apiserver", &mut self.api_server),
            ("kube-controller-manager", &mut self.controllers),
            ("kube-scheduler", &mut self.scheduler),
            ("kwok", &mut self.kwok),
        ];
        for (name, process) in all {
            if let Some(status) = process.try_ended() {
                bail!("{name} of the testbed ended with {status}:\n{}", process.log_tail(30));
            }
        }
        self.real_node.as_mut().map_or(Ok(()), RealNode::check)
    }

    /// SIGKILL to kube-apiserver.
    pub fn kill_api_server(&mut self) {
        self.api_server.kill9();
    }

    /// Starts kube-apiserver again, on the same port and the same etcd, and waits until it is ready.
    ///
    /// # Errors
    /// When it can't be started.
    ///
    /// # Panics
    /// When it does not work within two minutes.
    pub fn start_api_server(&mut self) -> Result<()> {
        self.api_server = self.start.api_server(&programs::directory(Module::ControlPlane)?)?;
        wait_ready(&self.facts.admin(), &mut self.api_server);
        Ok(())
    }

    /// SIGSTOP or SIGCONT to kube-apiserver: connections stay open, and nothing is answered.
    pub fn freeze_api_server(&self, on: bool) {
        self.api_server.signal(if on { Signal::STOP } else { Signal::CONT });
    }
}

impl Start {
    fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    fn etcd(&self, program: &Path) -> Result<Process> {
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(self.directory.path().join("etcd"));
        command.args(["--name", "testbed", "--listen-client-urls", &self.etcd_url]);
        // As kubeadm sets it. Without it a quiet resource has no bookmarks while only others change.
        command.args(["--watch-progress-notify-interval", "5s"]);
        command.args(["--advertise-client-urls", &self.etcd_url, "--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("testbed={peer}")]);
        command.args(["--unsafe-no-fsync", "--quota-backend-bytes", "8589934592", "--log-level", "warn"]);
        Ok(child::start("etcd", &command, &self.logs()))
    }

    fn api_server(&mut self, programs: &Path) -> Result<Process> {
        let mut command = Command::new(programs.join("kube-apiserver"));
        let policy = self.directory.path().join("audit-policy.json");
        fs::write(&policy, audit_policy())?;
        let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        command
            .args(["--bind-address=127.0.0.1", "--authorization-mode=Node,RBAC"])
            .args([format!("--etcd-servers={}", self.etcd_url), format!("--secure-port={}", self.port)])
            .arg(file("tls-cert-file", &self.server.certificate))
            .arg(file("tls-private-key-file", &self.server.key))
            .arg(file("client-ca-file", &self.authority.certificate()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(file("service-account-key-file", &self.tokens.public))
            .arg(file("service-account-signing-key-file", &self.tokens.private))
            .args(["--service-cluster-ip-range=10.0.0.0/16", "--endpoint-reconciler-type=none"])
            // Pods need no token of their own here, and new nodes no controller that takes their taint away.
            .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
            // A namespace's pods stay on its own nodes.
            .arg("--enable-admission-plugins=PodNodeSelector")
            // A lost node's pods are evicted after 5 s instead of 300 s.
            .args(["--default-unreachable-toleration-seconds=5", "--default-not-ready-toleration-seconds=5"])
            .args(&self.options.api_server);
        if self.options.audit {
            command.arg(file("audit-policy-file", &policy)).arg(file("audit-log-path", &self.audit_log()));
            // MiB; one file, whose places stay what they are.
            command.arg("--audit-log-maxsize=100000");
        }
        Ok(child::start("kube-apiserver", &command, &self.logs()))
    }

    fn controllers(&self, programs: &Path) -> Result<Process> {
        // A real node that falls silent is to be noticed soon. KWOK renews its nodes' leases every 4 s, but not on a
        // machine that has better things to do, and its nodes do not come back.
        let usual = if self.options.real_node { 12 } else { 60 };
        let grace = self.options.node_grace.unwrap_or(usual);
        let mut command = Command::new(programs.join("kube-controller-manager"));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig_of("system:kube-controller-manager")?)
            .args(["--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0"])
            .arg(
                "--controllers=namespace-controller,garbage-collector-controller,node-lifecycle-controller,\
                 pod-garbage-collector-controller,taint-eviction-controller,disruption-controller,\
                 resourcequota-controller,serviceaccount-controller",
            )
            .args(["--node-monitor-period=1s", &format!("--node-monitor-grace-period={grace}s")])
            .args(["--node-eviction-rate=100", "--secondary-node-eviction-rate=100"])
            .args(["--kube-api-qps=500", "--kube-api-burst=1000"]);
        Ok(child::start("kube-controller-manager", &command, &self.logs()))
    }

    fn scheduler(&self, programs: &Path) -> Result<Process> {
        let file = self.directory.path().join("scheduler.json");
        let config = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": false},
            // Its default of 50 calls a second would be the limit of every measurement.
            "clientConnection": {
                "kubeconfig": self.kubeconfig_of("system:kube-scheduler")?, "qps": 5000, "burst": 5000,
            },
        });
        fs::write(&file, config.to_string())?;
        let mut command = Command::new(programs.join("kube-scheduler"));
        command.arg("--config").arg(file).args(["--bind-address=127.0.0.1", "--secure-port=0"]);
        Ok(child::start("kube-scheduler", &command, &self.logs()))
    }

    fn kwok(&self, program: &Path) -> Result<Process> {
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig_of("kwok")?)
            .arg("--config")
            .arg(self.stages()?)
            .args([format!("--manage-nodes-with-label-selector={}={}", nodes::PLAYED, nodes::BY_KWOK)])
            // The address of all its nodes, and so of pods in their network; nothing is ever sent there.
            .args(["--node-ip=10.0.0.1", "--cidr=10.244.0.0/16", "--node-lease-duration-seconds=16", "--v=WARN"]);
        // It would read its configuration from there as well.
        command.env("HOME", self.directory.path());
        Ok(child::start("kwok", &command, &self.logs()))
    }

    /// The stages, each as a document of its own with its kind, as KWOK wants them.
    fn stages(&self) -> Result<PathBuf> {
        let source = bins::source_root().join("tests/testbed/stages.yaml");
        let text = fs::read_to_string(&source).with_context(|| format!("{}", source.display()))?;
        let list: Value = serde_saphyr::from_str(&text).with_context(|| format!("{}", source.display()))?;
        // With its default of 4 each, a busy KWOK lets its nodes' leases run out, and pods wait for its turn.
        let options = json!({
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration",
            "options": {
                "nodeLeaseParallelism": 64, "podPlayStageParallelism": 16, "nodePlayStageParallelism": 4,
                "podsOnNodeSyncParallelism": 1,
            },
        });
        let mut documents = format!("{options}\n");
        for stage in list["items"].as_array().context("stages.yaml has no items")? {
            let mut stage = stage.clone();
            stage["apiVersion"] = json!("kwok.x-k8s.io/v1alpha1");
            stage["kind"] = json!("Stage");
            documents.push_str(&format!("---\n{stage}\n"));
        }
        let file = self.directory.path().join("stages.yaml");
        fs::write(&file, documents)?;
        Ok(file)
    }

    fn facts(&self, kubectl: Option<PathBuf>) -> Result<Facts> {
        let server = format!("https://127.0.0.1:{}", self.port);
        let facts = Facts {
            server,
            authority: self.authority.certificate(),
            admin_kubeconfig: self.kubeconfig_of("admin")?,
            audit_log: self.audit_log(),
            logs: self.logs(),
            certificates: self.directory.path().join("pki"),
            real_node: None,
            kubectl,
        };
        facts.write(self.directory.path())?;
        Ok(facts)
    }

    fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.jsonl")
    }

    /// A kubeconfig for one of the control plane's own users. All of them are administrators: what they may do is not
    /// what is tested here, and priority and fairness must not slow them.
    fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        let identity = self.authority.user(user, "system:masters")?;
        let text = kubeconfig(
            &format!("https://127.0.0.1:{}", self.port),
            &self.authority.certificate(),
            "default",
            &format!("client-certificate: {}\nclient-key: {}", identity.certificate.display(), identity.key.display()),
        );
        let file = self.directory.path().join(format!("{}.kubeconfig", user.replace(':', "-")));
        fs::write(&file, text)?;
        Ok(file)
    }
}

/// Every call of every service account, without bodies; nothing of the control plane's own traffic.
fn audit_policy() -> String {
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
    })
    .to_string()
}

fn wait_ready(admin: &Endpoint, api_server: &mut Process) {
    eventually("kube-apiserver is ready", PATIENCE, || {
        let ended = api_server.try_ended();
        assert!(ended.is_none(), "kube-apiserver ended with {ended:?}:\n{}", api_server.log_tail(30));
        admin.call("GET", "/readyz", None).ok().filter(|answer| answer.code == 200)
    });
}

/// A port that is free now, below those that the system gives to clients: one of these would be taken again before its
/// server binds it. Whoever else takes it makes that start fail, loudly.
pub(super) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const PORTS: u16 = 12_000;
    // Testbeds of several processes begin in different places; 7919 is prime to the number of ports.
    let begin = u16::try_from(std::process::id().wrapping_mul(7919) % u32::from(PORTS))?;
    for _ in 0..PORTS {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {FIRST} on is free on loopback")
}
