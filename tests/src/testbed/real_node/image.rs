//! The one image of the real node, made on the spot of a static busybox: there is no registry to pull from.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::packages;

/// Name of the image that is there without a pull. Without a command it does nothing for ever.
pub const IMAGE: &str = "hfd.test/busybox:1";

/// busybox's own commands that the image offers by name.
const COMMANDS: [&str; 16] = [
    "cat", "date", "echo", "false", "hostname", "kill", "ls", "mkdir", "ps", "rm", "sh", "sleep", "test", "touch",
    "true", "wc",
];

/// Makes `image.tar` in `directory`: an archive as `docker save` makes it.
///
/// # Errors
/// When busybox is not static or a file can't be written.
pub(super) fn make(directory: &Path) -> Result<()> {
    let root = directory.join("root");
    for part in ["bin", "tmp"] {
        fs::create_dir_all(root.join(part))?;
    }
    fs::copy(packages::find("busybox")?, root.join("bin/busybox")).context("copy busybox")?;
    for command in COMMANDS {
        symlink("busybox", root.join("bin").join(command))?;
    }
    let tried = Command::new("chroot").arg(&root).arg("/bin/true").output().context("start chroot")?;
    ensure!(tried.status.success(), "busybox does not run on its own: the real node needs the package busybox-static");

    tar(&root, &["."], &directory.join("layer.tar"))?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&directory.join("layer.tar"))?)]},
    });
    fs::write(directory.join("config.json"), config.to_string())?;
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    fs::write(directory.join("manifest.json"), manifest.to_string())?;
    tar(directory, &["manifest.json", "config.json", "layer.tar"], &directory.join("image.tar"))
}

fn tar(from: &Path, members: &[&str], archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "-C"]).arg(from).arg("-cf").arg(archive).args(members);
    let done = command.output().context("start tar")?;
    ensure!(done.status.success(), "tar {}: {}", archive.display(), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let done = Command::new("sha256sum").arg(file).output().context("start sha256sum")?;
    let text = String::from_utf8_lossy(&done.stdout);
    let sum = text.split_whitespace().next().filter(|sum| sum.len() == 64 && done.status.success());
    sum.map(str::to_owned).with_context(|| format!("sha256sum {} says {text:?}", file.display()))
}
