//! Counting the instructions of a process, and building what is counted.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use tests::bins;

/// `valgrind` before a program.
pub(crate) fn before(program: &std::path::Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command
}

/// The instructions of a program that has ended well.
pub(crate) fn collected(output: &Output) -> u64 {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let collected = told.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no count in {told}"))
}

/// Builds one program of the release profile and says where it is.
pub(crate) fn released(arguments: &[&str]) -> PathBuf {
    let mut cargo = bins::cargo();
    let output = cargo
        .args(["build", "--release", "--message-format", "json"])
        .args(arguments)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "building {arguments:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let mut paths = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    paths.next_back().expect("cargo names what it built")
}
