//! What a testbed with a real node leaves on the machine: nothing when it is asked to end, and after SIGKILL nothing that
//! runs, is mounted or is linked.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::json;
use tests::{
    eventually,
    process::Process,
    testbed::{Facts, IMAGE},
};

use crate::world::{PATIENCE, Turn};

/// A testbed as a program of its own.
struct Own {
    process: Process,
    directory: PathBuf,
    _log: tempfile::NamedTempFile,
}

impl Own {
    /// Starts one with a real node and waits until it says where it is.
    #[track_caller]
    fn start() -> Self {
        let log = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
        command.args(["up", "--nodes", "0", "--real-node"]);
        let mut process = Process::start("testbed", command, log.path());
        let directory = eventually("the testbed is up", Duration::from_secs(180), || {
            let ended = process.try_ended();
            assert!(ended.is_none(), "the testbed ended with {ended:?}: {}", process.log());
            let said = process.log();
            said.lines()
                .find_map(|line| line.strip_prefix("export HFD_TESTBED='")?.strip_suffix('\'').map(PathBuf::from))
        });
        Self { process, directory, _log: log }
    }

    /// Runs a container on its node that does not listen when it is asked to end.
    #[track_caller]
    fn run_container(&self) {
        let facts = Facts::read(&self.directory).expect("the testbed is up");
        let admin = facts.admin();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deaf"},
            "spec": {"nodeName": facts.real_node, "containers": [{
                "name": "main", "image": IMAGE, "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"],
            }]},
        });
        let made = admin.json("POST", "/api/v1/namespaces/default/pods", Some(&pod));
        made.unwrap_or_else(|error| panic!("{error:#}"));
        eventually("the container runs", PATIENCE, || {
            let pod = admin.json("GET", "/api/v1/namespaces/default/pods/deaf", None).ok()?;
            (pod["status"]["phase"] == "Running").then_some(())
        });
    }

    fn name(&self) -> String {
        self.directory.file_name().expect("the directory has a name").to_string_lossy().into_owned()
    }

    /// Command lines of its processes: those that name its directory, and those in its control groups.
    fn processes(&self) -> Vec<String> {
        let read = |file: PathBuf| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
        let all = fs::read_dir("/proc").expect("/proc can be read").flatten();
        all.filter_map(|entry| {
            let line = read(entry.path().join("cmdline")).replace('\0', " ");
            let group = read(entry.path().join("cgroup"));
            (line.contains(&self.name()) || group.contains(&self.name())).then_some(line)
        })
        .collect()
    }

    fn assert_nothing_runs(&self) {
        eventually("none of its processes is left", Duration::from_secs(10), || {
            self.processes().is_empty().then_some(())
        });
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc can be read");
        assert!(!mounts.contains(&self.name()), "mounted: {mounts}");
    }

    /// Its directories and control groups that are there.
    fn remains(&self) -> Vec<PathBuf> {
        let groups = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(groups).into_iter().flatten().flatten().map(|entry| entry.path());
        let named = hierarchies.chain([groups.to_owned()]).map(|hierarchy| hierarchy.join(self.name()));
        named.chain([self.directory.clone()]).filter(|path| path.exists()).collect()
    }
}

/// Names of the machine's network links.
fn links() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_killed_testbed_leaves_nothing_running_and_the_next_one_removes_its_files() {
    let _turn = Turn::shared();
    let links_before = links();
    let mut killed = Own::start();
    killed.run_container();
    let running = killed.processes();
    let has = |word: &str| running.iter().any(|line| line.contains(word));
    assert!(has("kubelet") && has("containerd-shim") && has("sleep 0.1"), "{running:#?}");
    assert_eq!(links(), links_before, "the pods' links are in the machine's own network");
    killed.process.kill9();
    killed.assert_nothing_runs();
    assert_eq!(links(), links_before);

    let mut next = Own::start();
    assert!(killed.remains().is_empty(), "{:?}", killed.remains());
    next.run_container();
    assert!(next.process.terminate(PATIENCE).success(), "{}", next.process.log());
    next.assert_nothing_runs();
    assert!(next.remains().is_empty(), "{:?}", next.remains());
}
