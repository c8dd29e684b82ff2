//! The control groups of the real node's containers: all below one of our own name in each hierarchy, so that they can
//! be told from others' and removed. They outlive a testbed that is killed; the next start removes them.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

const MOUNTED: &str = "/sys/fs/cgroup";
/// Longest wait for the kernel to let go of a group whose processes have just ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Our group in each hierarchy. Dropped, it is removed with all below it; its processes must have ended.
#[derive(Debug)]
pub(super) struct Cgroups {
    name: String,
}

impl Cgroups {
    /// Makes the group that is called like the testbed's directory, after removing those whose testbeds' directories
    /// are gone.
    ///
    /// # Errors
    /// When there is no cgroup file system, or it can't be written.
    pub(super) fn new(testbed: &Path, prefix: &str) -> Result<Self> {
        let name = testbed.file_name().context("the testbed's directory has a name")?.to_string_lossy().into_owned();
        let hierarchies = hierarchies()?;
        remove_abandoned(&hierarchies, testbed, prefix);
        let made = Self { name };
        for hierarchy in &hierarchies {
            let group = hierarchy.join(&made.name);
            fs::create_dir(&group).with_context(|| format!("create {}", group.display()))?;
        }
        if is_unified() {
            // What a group may limit, its parent must pass on; mostly the machine has done so already.
            for controller in ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"] {
                for group in [PathBuf::from(MOUNTED), Path::new(MOUNTED).join(&made.name)] {
                    drop(fs::write(group.join("cgroup.subtree_control"), format!("+{controller}")));
                }
            }
        }
        Ok(made)
    }

    /// The group as kubelet's `cgroupRoot` names it.
    pub(super) fn root(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for hierarchy in hierarchies().unwrap_or_default() {
            let group = hierarchy.join(&self.name);
            let begun = Instant::now();
            while let Err(error) = remove(&group) {
                if begun.elapsed() > PATIENCE {
                    eprintln!("testbed: {} is left behind: {error}", group.display());
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn is_unified() -> bool {
    Path::new(MOUNTED).join("cgroup.controllers").exists()
}

/// The one hierarchy of version 2, or each of version 1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    if is_unified() {
        return Ok(vec![PathBuf::from(MOUNTED)]);
    }
    let entries = fs::read_dir(MOUNTED).with_context(|| format!("the real node needs control groups in {MOUNTED}"))?;
    // Symbolic links are further names of the same.
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

fn remove_abandoned(hierarchies: &[PathBuf], testbed: &Path, prefix: &str) {
    for entry in hierarchies.iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(prefix) && !testbed.with_file_name(&name).exists() {
            // Best effort: another start may be removing it as well.
            drop(remove(&entry.path()));
        }
    }
}

/// Removes a group with those below it. Its files go with it.
fn remove(group: &Path) -> std::io::Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path())?;
    }
    fs::remove_dir(group)
}
