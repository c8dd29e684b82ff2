//! Where a sandbox's things are: one directory, temporary or kept, and the two programs.
//!
//! ```text
//! <dir>/journal.db, lock     the daemon's state directory is the directory itself
//! <dir>/cluster.log          the simulated cluster, when it is kept
//! <dir>/hfd.sock, kubeconfig
//! <dir>/hostfactory/         what an installation has in $HF_CONFDIR: scripts, templates, samples
//! <dir>/work, <dir>/log      HostFactory's work and log directories
//! ```
//!
//! Makes and removes directories, and guards that journal and cluster are kept together or not at all.

use std::{
    collections::hash_map::RandomState,
    env,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    hash::{BuildHasher, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::error::SandboxError;

/// The provider instance of the shipped HostFactory samples.
pub(super) const INSTANCE: &str = "k8s-hf";

/// Present while a kept sandbox is being made: then a cluster without a journal is no half of an older one.
const FIRST_START: &str = "first-start";

/// The directory of a sandbox; a temporary one is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    is_temporary: bool,
}

impl Home {
    /// A new directory below the system's temporary one, for this user alone.
    pub(super) fn temporary() -> Result<Self, SandboxError> {
        let parent = env::temp_dir();
        loop {
            let dir = parent.join(format!("hfd-sandbox-{:08x}", RandomState::new().build_hasher().finish() >> 32));
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Self { dir, is_temporary: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(SandboxError::File { action: "make", path: dir, source }),
            }
        }
    }

    /// A directory to be kept. Only its last component is made: a mistyped path must not become an empty state.
    pub(super) fn kept(dir: &Path) -> Result<Self, SandboxError> {
        let dir = std::path::absolute(dir).map_err(|source| file("find", dir, source))?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(source) if !dir.is_dir() => Err(file("make", &dir, source)),
            _ => Ok(Self { dir, is_temporary: false }),
        }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// From now on it stays: something in it is worth a look.
    pub(super) fn keep(&mut self) {
        self.is_temporary = false;
    }

    /// Where the simulated cluster lives on; nowhere in a temporary directory.
    pub(super) fn cluster_file(&self) -> Option<PathBuf> {
        (!self.is_temporary).then(|| self.dir.join("cluster.log"))
    }

    /// Refuses a journal without its cluster and the other way round, unless the very first start was interrupted
    /// before both were there.
    pub(super) fn check_whole(&self) -> Result<(), SandboxError> {
        let (journal, cluster) = (self.journal().exists(), self.dir.join("cluster.log").exists());
        let half = |present, absent| Err(SandboxError::Half { dir: self.dir.clone(), present, absent });
        match (journal, cluster) {
            (true, false) => half("journal.db", "cluster.log"),
            (false, true) if !self.first_start().exists() => half("cluster.log", "journal.db"),
            (false, _) => write(&self.first_start(), b"", 0o600),
            (true, true) => Ok(()),
        }
    }

    /// Both halves are there from now on.
    pub(super) fn is_whole(&self) -> Result<(), SandboxError> {
        match fs::remove_file(self.first_start()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file("remove", &self.first_start(), source)),
            _ => Ok(()),
        }
    }

    fn journal(&self) -> PathBuf {
        self.dir.join("journal.db")
    }

    fn first_start(&self) -> PathBuf {
        self.dir.join(FIRST_START)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(directory = %self.dir.display(), %error, "the temporary directory stays behind");
        }
    }
}

/// The places inside a home and the programs, as HostFactory's scripts and people use them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The directory of all.
    pub(super) dir: PathBuf,
    /// The daemon's socket.
    pub(super) socket: PathBuf,
    /// For kubectl.
    pub(super) kubeconfig: PathBuf,
    /// The provider tree's root, `$HF_CONFDIR`.
    pub(super) hostfactory: PathBuf,
    /// The provider's scripts.
    pub(super) scripts: PathBuf,
    /// The provider's configuration.
    pub(super) confdir: PathBuf,
    /// HostFactory's work directory.
    pub(super) workdir: PathBuf,
    /// HostFactory's log directory, and that of the daemon's log.
    pub(super) logdir: PathBuf,
    /// The client.
    pub(super) hfctl: PathBuf,
    /// Directories of programs to be put before `PATH`.
    pub(super) program_dirs: Vec<PathBuf>,
}

impl Places {
    /// Names all places below `dir` and finds the client.
    pub(super) fn of(dir: &Path) -> Result<Self, SandboxError> {
        let hfd =
            env::current_exe().map_err(|source| SandboxError::System { action: "find hfd's own file", source })?;
        let beside = hfd.parent().unwrap_or(Path::new("/")).to_owned();
        let hfctl = find_client(&beside, env::var_os("PATH").as_ref())
            .ok_or_else(|| SandboxError::NoClient { beside: beside.clone() })?;
        let provider = dir.join("hostfactory/providers").join(INSTANCE);
        let scripts = provider.join("scripts");
        let mut program_dirs = vec![beside];
        program_dirs.extend(hfctl.parent().map(Path::to_owned));
        program_dirs.push(scripts.clone());
        program_dirs.dedup();
        Ok(Self {
            dir: dir.to_owned(),
            socket: dir.join("hfd.sock"),
            kubeconfig: dir.join("kubeconfig"),
            hostfactory: dir.join("hostfactory"),
            scripts,
            confdir: provider.join("conf"),
            workdir: dir.join("work"),
            logdir: dir.join("log"),
            hfctl,
            program_dirs,
        })
    }

    /// The daemon's log.
    pub(super) fn log(&self) -> PathBuf {
        self.logdir.join("hfd.log")
    }

    /// The environment of HostFactory's scripts, and of kubectl.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("HFD_SOCKET", self.socket.clone().into()),
            ("HF_PROVIDER_NAME", INSTANCE.into()),
            ("HF_PROVIDER_CONFDIR", self.confdir.clone().into()),
            ("HF_PROVIDER_WORKDIR", self.workdir.clone().into()),
            ("HF_PROVIDER_LOGDIR", self.logdir.clone().into()),
            ("KUBECONFIG", self.kubeconfig.clone().into()),
            ("PATH", self.path(env::var_os("PATH").as_deref())),
        ]
    }

    fn path(&self, rest: Option<&OsStr>) -> OsString {
        let mut path = OsString::new();
        for part in self.program_dirs.iter().map(|dir| dir.as_os_str()).chain(rest) {
            if !path.is_empty() {
                path.push(":");
            }
            path.push(part);
        }
        path
    }
}

/// Beside hfd first, so that a build is never tried with another build's client.
fn find_client(beside: &Path, path: Option<&OsString>) -> Option<PathBuf> {
    let on_path = path.into_iter().flat_map(env::split_paths).filter(|dir| dir.is_absolute());
    let mut candidates = std::iter::once(beside.to_owned()).chain(on_path).map(|dir| dir.join("hfctl"));
    candidates
        .find(|file| file.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0))
}

/// Makes a directory and those above it.
pub(super) fn make_dir(path: &Path) -> Result<(), SandboxError> {
    fs::create_dir_all(path).map_err(|source| file("make", path, source))
}

/// Writes a file in one step: who sees it sees it whole, and a process that is killed here leaves the old one.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), SandboxError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file: File = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&beside)?;
        // an umask may have taken bits away that a script needs
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        fs::rename(&beside, path)
    })();
    written.map_err(|source| file("write", path, source))
}

/// A [`SandboxError::File`].
pub(super) fn file(action: &'static str, path: &Path, source: io::Error) -> SandboxError {
    SandboxError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::*;

    fn kept() -> (tempfile::TempDir, Home) {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let home = Home::kept(&parent.path().join("state")).expect("it is made");
        (parent, home)
    }

    fn touch(home: &Home, name: &str) {
        fs::write(home.dir().join(name), "").expect("the directory is ours");
    }

    #[test]
    fn a_journal_without_its_cluster_is_refused_and_so_is_a_cluster_without_its_journal() {
        for (present, absent) in [("journal.db", "cluster.log"), ("cluster.log", "journal.db")] {
            let (_parent, home) = kept();
            touch(&home, present);
            let error = home.check_whole().expect_err("only half is there");
            assert!(error.to_string().contains(&format!("{present} but not {absent}")), "{error}");
            assert_eq!(error.exit_code(), ExitCode::from(78));
        }
    }

    #[test]
    fn a_first_start_that_was_killed_half_way_is_taken_up_again() {
        let (_parent, home) = kept();
        home.check_whole().expect("nothing is there yet");
        touch(&home, "cluster.log");
        home.check_whole().expect("the journal was about to be made");
        touch(&home, "journal.db");
        home.is_whole().expect("both are there");
        home.check_whole().expect("both are there");
        fs::remove_file(home.dir().join("journal.db")).expect("it is there");
        home.check_whole().expect_err("from now on neither may be missing");
    }

    #[test]
    fn a_mistyped_state_directory_is_refused() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let error = Home::kept(&parent.path().join("typo/state")).expect_err("two components are missing");
        assert!(error.to_string().contains("typo/state"), "{error}");
    }

    #[test]
    fn a_temporary_directory_is_private_and_removed_at_the_end() {
        let home = Home::temporary().expect("it is made");
        let dir = home.dir().to_owned();
        assert_eq!(dir.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
        assert_eq!(home.cluster_file(), None);
        drop(home);
        assert!(!dir.exists());
    }

    #[test]
    fn the_client_beside_hfd_is_preferred_to_one_on_the_path() {
        let dirs = tempfile::tempdir().expect("a temporary directory");
        let (beside, other) = (dirs.path().join("a"), dirs.path().join("b"));
        let path = other.clone().into_os_string();
        for dir in [&beside, &other] {
            fs::create_dir(dir).expect("a directory");
        }
        assert_eq!(find_client(&beside, Some(&path)), None);
        write(&other.join("hfctl"), b"", 0o755).expect("written");
        write(&beside.join("hfctl"), b"", 0o644).expect("written");
        assert_eq!(find_client(&beside, Some(&path)), Some(other.join("hfctl")), "the other one can't be executed");
        write(&beside.join("hfctl"), b"", 0o755).expect("written");
        assert_eq!(find_client(&beside, Some(&path)), Some(beside.join("hfctl")));
    }
}
