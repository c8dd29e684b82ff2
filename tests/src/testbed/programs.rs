//! The programs of the testbed: etcd, the Kubernetes control plane, a node's programs and KWOK, built from the small Go
//! modules in `tests/testbed/` with the ordinary Go client and kept outside the tree. What determines a build (its
//! `go.mod`, `go.sum`, the Go version, the flags) is its key: the same key is built once.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use crate::bins;

/// Kubernetes version that the programs say they are; that of the modules.
pub const KUBERNETES: &str = "1.36.3";
/// Packages between two lines of progress where the output is no terminal.
const PROGRESS_EVERY: usize = 200;

/// A Go module and what is built from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// etcd; its program is called `server`.
    Etcd,
    /// kube-apiserver, kube-controller-manager, kube-scheduler.
    ControlPlane,
    /// KWOK, which plays the nodes.
    Kwok,
    /// kubelet and kubectl, for the real node.
    Node,
}

impl Module {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ControlPlane => "control-plane",
            Self::Kwok => "kwok",
            Self::Node => "node",
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Etcd => &["server"],
            Self::ControlPlane => &["kube-apiserver", "kube-controller-manager", "kube-scheduler"],
            Self::Kwok => &["kwok"],
            Self::Node => &["kubelet", "kubectl"],
        }
    }

    fn directory(self) -> PathBuf {
        bins::source_root().join("tests/testbed").join(self.name())
    }

    fn linker_flags(self) -> String {
        let mut flags = "-s -w".to_owned();
        if matches!(self, Self::ControlPlane | Self::Node) {
            let version = "-X k8s.io/component-base/version";
            let mut parts = KUBERNETES.split('.');
            let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            flags.push_str(&format!(" {version}.gitVersion=v{KUBERNETES}"));
            flags.push_str(&format!(" {version}.gitMajor={major} {version}.gitMinor={minor}"));
        }
        flags
    }
}

/// Directory of a module's programs; builds them when this machine has not got them yet (about seven minutes on two
/// idle cores for all that a control plane needs, one and a half more for the node's), and shows progress.
///
/// # Errors
/// When there is no Go toolchain, the build fails, or the cache can't be written.
pub fn directory(module: Module) -> Result<PathBuf> {
    let key = key(module)?;
    let mut hash = DefaultHasher::new();
    key.hash(&mut hash);
    let cache = cache_root()?;
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let built = cache.join(format!("{}-{:016x}", module.name(), hash.finish()));
    let lock = fs::File::create(cache.join(format!("{}.lock", module.name())))?;
    // Two test runs on one machine: the second waits for what the first builds.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("lock the cache of programs")?;
    if fs::read_to_string(built.join("key")).is_ok_and(|found| found == key) {
        return Ok(built);
    }
    let beside = cache.join(format!("{}.building", module.name()));
    fs::remove_dir_all(&beside).or_else(absent_is_fine)?;
    build(module, &beside)?;
    fs::write(beside.join("key"), key)?;
    fs::remove_dir_all(&built).or_else(absent_is_fine)?;
    fs::rename(&beside, &built).with_context(|| format!("move the programs to {}", built.display()))?;
    Ok(built)
}

/// One program's path, built if need be.
///
/// # Errors
/// As [`directory`].
pub fn program(module: Module, name: &str) -> Result<PathBuf> {
    ensure!(module.programs().contains(&name), "module {} builds no {name}", module.name());
    Ok(directory(module)?.join(name))
}

/// `HFD_TESTBED_CACHE`, else below `XDG_CACHE_HOME` or `~/.cache`.
fn cache_root() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("HFD_TESTBED_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("hfd-testbed")))
        .or_else(|| Some(set("HOME")?.join(".cache/hfd-testbed")))
        .context("neither HFD_TESTBED_CACHE nor XDG_CACHE_HOME nor HOME says where the testbed's programs may be kept")
}

/// All that determines a build, word for word.
fn key(module: Module) -> Result<String> {
    let go = Command::new("go").arg("version").env("GOTOOLCHAIN", "local").output();
    let go = match go {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => bail!("the testbed builds Kubernetes from source: it needs Go 1.26 or newer on PATH"),
    };
    let read = |name: &str| {
        let file = module.directory().join(name);
        fs::read_to_string(&file).with_context(|| format!("{}", file.display()))
    };
    Ok(format!("{go}\n{}\n{}\n{}", module.linker_flags(), read("go.mod")?, read("go.sum")?))
}

fn build(module: Module, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut command = Command::new("go");
    command
        .current_dir(module.directory())
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-ldflags", &module.linker_flags(), "-o"])
        .arg(into)
        .arg("tool")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    eprintln!("testbed: building {} ({}), once on this machine", module.name(), module.programs().join(", "));
    let mut child = command.spawn().context("start go build")?;
    let mut said = Vec::new();
    let mut packages = 0_usize;
    for line in BufReader::new(child.stderr.take().context("go's output is piped")?).lines() {
        let line = line?;
        // `go build -v` names each package as it is compiled; all else is trouble.
        if line.contains(' ') && !line.starts_with("go: downloading ") {
            said.push(line);
        } else {
            packages += 1;
            show_progress(module, packages, begun);
        }
    }
    let status = child.wait()?;
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    if !status.success() {
        bail!("go build of {} failed:\n{}", module.directory().display(), said.join("\n"));
    }
    for name in module.programs() {
        ensure!(into.join(name).is_file(), "go build of {} made no {name}", module.name());
    }
    eprintln!("testbed: {} built in {} s", module.name(), begun.elapsed().as_secs());
    Ok(())
}

fn show_progress(module: Module, packages: usize, begun: Instant) {
    let line = format!("testbed: {}: {packages} packages, {} s", module.name(), begun.elapsed().as_secs());
    let mut err = std::io::stderr();
    if err.is_terminal() {
        // A terminal that went away is no reason to stop building.
        drop(write!(err, "\r{line}").and_then(|()| err.flush()));
    } else if packages.is_multiple_of(PROGRESS_EVERY) {
        eprintln!("{line}");
    }
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
