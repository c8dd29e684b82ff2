//! The dependency rules of `architecture.md`, "Who may depend on what", asserted from `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use tests::{bins, process};

/// What depends on what, by package name: normal and build dependencies, of this platform.
struct Graph {
    direct: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> &'static Self {
        static GRAPH: OnceLock<Graph> = OnceLock::new();
        GRAPH.get_or_init(|| Self::from(&metadata()))
    }

    fn from(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("cargo's names are text").to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let names: BTreeMap<String, String> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut direct: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let used = list(&node["deps"])
                .iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
                .map(|dep| names[&text(&dep["pkg"])].clone())
                .collect::<BTreeSet<_>>();
            direct.entry(names[&text(&node["id"])].clone()).or_default().extend(used);
        }
        Self { direct }
    }

    fn of(&self, package: &str) -> &BTreeSet<String> {
        self.direct.get(package).unwrap_or_else(|| panic!("there is no package {package}"))
    }

    fn reach(&self, package: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut next = vec![package.to_owned()];
        while let Some(package) = next.pop() {
            for used in self.of(&package) {
                if seen.insert(used.clone()) {
                    next.push(used.clone());
                }
            }
        }
        seen
    }

    fn assert_without(&self, package: &str, forbidden: &[&str]) {
        let reach = self.reach(package);
        let found: Vec<_> = forbidden.iter().filter(|name| reach.contains(**name)).collect();
        assert!(found.is_empty(), "{package} reaches {found:?}");
    }
}

fn metadata() -> Value {
    let host = process::run(rustc(), b"", Duration::from_secs(60)).text();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc says its host").to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .current_dir(bins::source_root())
        // Other platforms' crates are not needed, and not there on a machine without network.
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &host]);
    let finished = process::run(command, b"", Duration::from_secs(60));
    assert_eq!(finished.code, 0, "{}", finished.error_text());
    serde_json::from_slice(&finished.stdout).expect("cargo metadata is JSON")
}

fn rustc() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("-vV");
    command
}

/// architecture.md: proto-schema is types: no runtime, no client, no store, without its feature `server`.
#[test]
fn the_schema_names_only_types() {
    // `serde_json` and `serde_path_to_error` are how serde's types meet JSON and name the field that is wrong.
    let allowed = ["serde", "serde_json", "serde_path_to_error", "schemars", "thiserror", "jsonrpsee"];
    let direct = Graph::read().of("proto-schema");
    let strange: Vec<_> = direct.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "proto-schema depends on {strange:?}");
    let manifest = std::fs::read_to_string(bins::source_root().join("proto-schema/Cargo.toml")).expect("a manifest");
    let optional = manifest.lines().any(|line| line.starts_with("jsonrpsee") && line.contains("optional = true"));
    assert!(optional || !direct.contains("jsonrpsee"), "the server's trait stands behind a feature");
    Graph::read().assert_without("proto-schema", &["kube", "k8s-openapi", "rusqlite"]);
}

/// architecture.md: the pure core names only std, proto-schema and thiserror.
#[test]
fn the_core_is_pure() {
    let allowed = ["proto-schema", "thiserror"];
    let strange: Vec<_> =
        Graph::read().of("hfd-core").iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "hfd-core depends on {strange:?}");
}

/// architecture.md: hfctl never carries kube, a database or a server.
#[test]
fn the_client_is_small() {
    Graph::read().assert_without("hfctl", &["kube", "kube-client", "k8s-openapi", "rusqlite", "hfd", "hfd-core"]);
    let direct = Graph::read().of("hfctl");
    for server in ["jsonrpsee", "axum", "hyper-util", "tower"] {
        assert!(!direct.contains(server), "hfctl depends on {server}");
    }
}

/// The simulated cluster knows nothing of the daemon that it serves.
#[test]
fn the_simulated_cluster_knows_nothing_of_the_daemon() {
    Graph::read().assert_without("hfd-sandbox", &["hfd", "hfd-core", "proto-schema", "kube", "rusqlite"]);
}

/// The tests drive the binaries from outside.
#[test]
fn the_tests_link_nothing_of_the_product() {
    Graph::read().assert_without("tests", &["hfd", "hfd-core", "hfd-sandbox", "hfctl", "kube"]);
}

/// style.md: crates that are not let in.
#[test]
fn crates_that_are_not_let_in_are_not_named() {
    let banned =
        ["serde_yaml", "serde_yml", "figment", "backoff", "instant", "fxhash", "bincode", "paste", "atty", "users"];
    for package in ["hfd", "hfctl", "hfd-core", "hfd-sandbox", "proto-schema", "tests"] {
        let found: Vec<_> = banned.iter().filter(|name| Graph::read().of(package).contains(**name)).collect();
        assert!(found.is_empty(), "{package} depends on {found:?}");
    }
}
