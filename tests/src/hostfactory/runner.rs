//! Runs one script as HostFactory does: a fresh input file, a process group of its own, a time limit, SIGKILL of the
//! whole group. No script outlives its call.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::{
    call::{Outcome, Verb},
    install::Provider,
};

/// Pause between two looks at a running script: what the measured latencies are exact to.
const STEP: Duration = Duration::from_millis(2);

/// When a script is not left to end by itself.
pub struct Bounds<'a> {
    /// Its time limit.
    pub limit: Duration,
    /// SIGKILL after this time.
    pub kill_after: Option<Duration>,
    /// Whether the run, or this HostFactory, has ended meanwhile.
    pub abandoned: &'a dyn Fn() -> bool,
}

/// What a script left.
#[derive(Debug)]
pub struct Left {
    /// How it ended.
    pub outcome: Outcome,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Runs a verb's script with `input` to its end, or to its killing.
///
/// # Errors
/// When the input file can't be written or the script can't be started.
pub fn run(provider: &Provider, verb: Verb, input: &Value, bounds: &Bounds<'_>) -> Result<Left> {
    // Removed when dropped, whatever happens to the script.
    let mut file = tempfile::Builder::new()
        .prefix("hf_in_")
        .rand_bytes(6)
        .tempfile_in(&provider.workdir)
        .with_context(|| format!("an input file in {}", provider.workdir.display()))?;
    file.write_all(input.to_string().as_bytes()).context("the input file")?;
    file.flush().context("the input file")?;
    // Files rather than pipes: nothing that outlives the script can hold up the reader.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let script = provider.script(verb);
    let mut command = Command::new(&script);
    command
        .arg("-f")
        .arg(file.path())
        .env_clear()
        .envs(&provider.environment)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .process_group(0);
    let child = command.spawn().with_context(|| format!("{} does not start", script.display()))?;
    let outcome = attend(Group { child, ended: false }, bounds)?;
    Ok(Left { outcome, stdout: content(&mut stdout)?, stderr: content(&mut stderr)? })
}

fn attend(mut group: Group, bounds: &Bounds<'_>) -> Result<Outcome> {
    let begun = Instant::now();
    loop {
        if let Some(status) = group.child.try_wait().context("waiting for a script")? {
            group.ended = true;
            return Ok(Outcome::Ended(status.code()));
        }
        let elapsed = begun.elapsed();
        let killed = bounds.kill_after.is_some_and(|after| elapsed >= after) || (bounds.abandoned)();
        if killed || elapsed >= bounds.limit {
            return Ok(if killed { Outcome::Killed } else { Outcome::TimedOut });
        }
        thread::sleep(STEP);
    }
}

/// A script's process group; killed with all its members unless the script has ended.
struct Group {
    child: Child,
    ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The leader is not waited for yet, so its id still names this group. Already gone is as good.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        drop(self.child.wait());
    }
}

fn content(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

    use serde_json::json;

    use super::*;

    fn provider(dir: &Path, script: &str) -> Provider {
        let file = dir.join("requestMachines.sh");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("the directory can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our own file's mode can be set");
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        Provider {
            name: "test".to_owned(),
            scripts: dir.to_owned(),
            confdir: dir.to_owned(),
            workdir: dir.to_owned(),
            environment,
        }
    }

    fn bounds(limit: Duration, kill_after: Option<Duration>) -> Bounds<'static> {
        Bounds { limit, kill_after, abandoned: &|| false }
    }

    #[test]
    fn a_script_gets_its_input_file_and_its_two_streams_stay_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let provider = provider(dir.path(), "echo noise >&2; test \"$1\" = -f && cat \"$2\"; exit 1");
        let left = run(&provider, Verb::RequestMachines, &json!({"a": 1}), &bounds(Duration::from_secs(20), None))
            .expect("it runs");
        assert_eq!(left.outcome, Outcome::Ended(Some(1)));
        assert_eq!((left.stdout.as_slice(), left.stderr.as_slice()), (&b"{\"a\":1}"[..], &b"noise\n"[..]));
        let names: Vec<_> =
            fs::read_dir(dir.path()).expect("readable").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["requestMachines.sh"], "the input file is removed");
    }

    #[test]
    fn a_script_is_killed_with_its_children_at_its_limit_or_when_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let provider = provider(dir.path(), "sleep 300 & echo $!; wait");
        let limited = bounds(Duration::from_millis(300), None);
        let left = run(&provider, Verb::RequestMachines, &json!({}), &limited).expect("it runs");
        assert_eq!(left.outcome, Outcome::TimedOut);
        let child = String::from_utf8_lossy(&left.stdout).trim().to_owned();
        let told = bounds(Duration::from_secs(20), Some(Duration::from_millis(300)));
        assert_eq!(run(&provider, Verb::RequestMachines, &json!({}), &told).expect("it runs").outcome, Outcome::Killed);
        // A killed child may stay a zombie where nobody inherits it; it no longer runs in either case.
        crate::wait::eventually("the script's child has ended", Duration::from_secs(10), || {
            let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
    }
}
