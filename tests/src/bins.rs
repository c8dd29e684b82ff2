//! Where the binaries and the provider tree are. Under cargo the binaries are brought up to date once per test
//! executable, for `cargo test -p tests` alone builds neither of them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Directory of `hfd` and `hfctl`: that of the test executable's profile, or `HFD_TEST_BIN_DIR` (then nothing is built).
///
/// # Panics
/// When the binaries are not there and can't be built.
pub fn directory() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match env::var_os("HFD_TEST_BIN_DIR") {
        Some(chosen) => PathBuf::from(chosen),
        None => beside_the_tests(),
    })
}

/// Path of the daemon's binary.
pub fn hfd() -> PathBuf {
    directory().join("hfd")
}

/// Path of the client's binary.
pub fn hfctl() -> PathBuf {
    directory().join("hfctl")
}

/// Root of the source tree: that which cargo runs this from, and else where it was built.
pub fn source_root() -> PathBuf {
    // Where it was built may be another tree: cargo does not build anew what only moved.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = Path::new(&package);
    package.parent().map_or_else(|| package.to_owned(), Path::to_owned)
}

/// `providers/k8s-hf` as it is installed under `$HF_CONFDIR`.
pub fn provider_dir() -> PathBuf {
    source_root().join("scripts/hostfactory/providers/k8s-hf")
}

fn beside_the_tests() -> PathBuf {
    let exe = env::current_exe().expect("a running process knows its executable");
    let profile_dir = exe
        .ancestors()
        .skip(1)
        .find(|dir| dir.file_name().is_some_and(|name| name != "deps" && name != "examples"))
        .expect("cargo places test executables under target/<profile>/deps")
        .to_owned();
    let missing = !profile_dir.join("hfd").exists() || !profile_dir.join("hfctl").exists();
    // CARGO is set while cargo runs the tests: then a stale binary would be tested silently, so ask cargo itself.
    if missing || env::var_os("CARGO").is_some() {
        build(&profile_dir);
    }
    profile_dir
}

fn build(profile_dir: &Path) {
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = profile_dir.parent().expect("a profile directory lies in a target directory");
    // `--workspace`: the same feature selection as `cargo test --workspace`, so that nothing is compiled twice.
    let output = cargo()
        .args(["build", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "building hfd and hfctl failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Cargo, in the source tree.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    command.current_dir(source_root());
    // What cargo tells the tests of their own package makes build scripts that look at it run again, and with them
    // everything above them is compiled again: each time that a test builds, and each time that somebody else does.
    for (name, _) in env::vars_os() {
        let of_the_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_the_package) {
            command.env_remove(name);
        }
    }
    command
}
