//! The peers' programs: a virtual environment each, with every package pinned, made once on a machine and kept outside
//! the tree.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The Python that both peers support.
const PYTHON: &str = "python3.12";
/// Whether it is one: hostfactory takes none after 3.12.9.
const CHECK: &str = "import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:3] <= (3, 12, 9))";

/// A virtual environment.
pub(crate) struct Environment {
    dir: PathBuf,
}

/// A Python that serves both: on `PATH`, else among pyenv's versions.
///
/// # Errors
/// When there is none; the message is one line.
pub(crate) fn find() -> Result<PathBuf> {
    let runs = |python: &Path| {
        let mut command = Command::new(python);
        // pyenv's own stand-ins are on PATH whether or not they lead anywhere.
        command.args(["-c", CHECK]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let on_path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).map(|dir| dir.join(PYTHON)).collect();
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(home()?.join(".pyenv")));
    let versions = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok()).into_iter().flatten().flatten();
    let mut of_pyenv: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(PYTHON)).collect();
    of_pyenv.sort_by(|one, other| other.cmp(one));
    let candidates: Vec<PathBuf> = [on_path, of_pyenv].concat();
    candidates.into_iter().find(|python| python.is_file() && runs(python)).with_context(|| {
        format!("no {PYTHON} (up to 3.12.9, with venv and ensurepip) on PATH or among pyenv's versions, and the peers need it")
    })
}

impl Environment {
    /// The environment with these packages (lines of a requirements file); made when this machine has not got it yet.
    ///
    /// # Errors
    /// When it can't be made.
    pub(crate) fn of(python: &Path, name: &str, requirements: &str) -> Result<Self> {
        let mut hash = DefaultHasher::new();
        (python, requirements).hash(&mut hash);
        let cache = cache_root()?;
        fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
        // Its scripts name their Python by its path, so it is made where it stays; the last file says that it is whole.
        let dir = cache.join(format!("{name}-{:016x}", hash.finish()));
        let pins = dir.join("pins.txt");
        let lock = fs::File::create(cache.join(format!("{name}.lock")))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("lock the cache of the peers")?;
        if fs::read_to_string(&pins).is_ok_and(|found| found == requirements) {
            return Ok(Self { dir });
        }
        println!("installing {name}, once on this machine");
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&dir))?;
        let wanted = cache.join(format!("{name}.requirements"));
        fs::write(&wanted, requirements)?;
        let mut pip = Command::new(dir.join("bin/python"));
        run(pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r"]).arg(&wanted))?;
        fs::write(pins, requirements)?;
        Ok(Self { dir })
    }

    /// Directory of its programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Directory of its packages.
    pub(crate) fn packages(&self) -> PathBuf {
        self.dir.join("lib").join(PYTHON).join("site-packages")
    }

    /// Bytes on the disk, without pip, which only installed it, and without Python itself.
    pub(crate) fn size(&self) -> u64 {
        size(&self.dir) - size(&self.packages().join("pip"))
    }
}

/// Bytes that a file or a directory with all in it takes on the disk.
pub(crate) fn size(path: &Path) -> u64 {
    let Ok(data) = path.symlink_metadata() else { return 0 };
    let own = data.blocks() * 512;
    if !data.is_dir() {
        return own;
    }
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    own + inside.map(|entry| size(&entry.path())).sum::<u64>()
}

/// `HFD_PEERS_CACHE`, else below `XDG_CACHE_HOME` or `~/.cache`.
fn cache_root() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("HFD_PEERS_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("hfd-peers")))
        .or_else(|| Some(home()?.join(".cache/hfd-peers")))
        .context("neither HFD_PEERS_CACHE nor XDG_CACHE_HOME nor HOME says where the peers may be kept")
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
