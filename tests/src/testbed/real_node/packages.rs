//! What the real node needs of the machine. A missing Debian package is installed, for a machine of a test run is often
//! made for that one run.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// A program that must be on `PATH`, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 11] = [
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("busybox", "busybox-static"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
    ("sha256sum", "coreutils"),
];
/// Where distributions put the CNI plug-ins.
const PLUGIN_DIRECTORIES: [&str; 4] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni/bin"];
/// The Debian package that has them.
const PLUGIN_PACKAGE: &str = "containernetworking-plugins";

/// Makes sure that all is there, and gives the directory of the CNI plug-ins.
///
/// # Errors
/// When we are not root, or something is missing and can't be installed.
pub(super) fn provide() -> Result<PathBuf> {
    ensure!(rustix::process::geteuid().is_root(), "the real node needs root: containers are made by it");
    let packages = missing();
    if !packages.is_empty() {
        install(&packages)?;
        let still = missing();
        ensure!(still.is_empty(), "installed, but still not found: {}", still.join(", "));
    }
    plug_ins().context("the CNI plug-ins were there a moment ago")
}

/// Where a program is on `PATH`.
///
/// # Errors
/// When it is nowhere there.
pub(super) fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|directory| directory.join(program));
    candidates.find(|file| file.is_file()).with_context(|| format!("{program} is not on PATH"))
}

fn plug_ins() -> Option<PathBuf> {
    let all = |directory: &&Path| ["bridge", "host-local", "loopback"].iter().all(|one| directory.join(one).is_file());
    PLUGIN_DIRECTORIES.iter().map(Path::new).find(all).map(Path::to_owned)
}

/// Packages of whatever is not there, each once.
fn missing() -> Vec<&'static str> {
    let absent = PROGRAMS.iter().filter(|(program, _)| find(program).is_err());
    let mut packages: Vec<&str> = absent.map(|(_, package)| *package).collect();
    if plug_ins().is_none() {
        packages.push(PLUGIN_PACKAGE);
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {list}");
    ensure!(find("apt-get").is_ok(), "the real node needs {list} (names of Debian's packages), and this is no Debian");
    eprintln!("testbed: the real node needs {list}: {command}");
    for arguments in [vec!["update"], [vec!["install", "-y", "--no-install-recommends"], packages.to_vec()].concat()] {
        let done = Command::new("apt-get")
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("start apt-get")?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("the real node needs {list}, and `{command}` failed: {}", said.trim());
        }
    }
    Ok(())
}
