//! `hfd sandbox [-- COMMAND]`: a stage for a command, or for a person at another terminal.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
};

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::process::Child;

use super::{
    error::SandboxError,
    signals::{Received, Signals},
    stage::{Setup, Stage},
};

/// Runs the command to its end; or, without one, tells what to type and stays until a signal.
pub(super) async fn host(setup: Setup, command: &[OsString], mut signals: Signals) -> Result<ExitCode, SandboxError> {
    let mut stage = match super::start(setup, &mut signals).await? {
        Ok(stage) => stage,
        Err(code) => return Ok(code),
    };
    let code = match command {
        [] => stay(&mut stage, &mut signals).await,
        [program, arguments @ ..] => run(&mut stage, program, arguments, &mut signals).await,
    };
    let stopped = stage.stop().await;
    let code = code?;
    stopped.map(|()| code)
}

async fn stay(stage: &mut Stage, signals: &mut Signals) -> Result<ExitCode, SandboxError> {
    // Whoever closed our output can still use the sandbox.
    let _ = io::stdout().write_all(instructions(stage).as_bytes());
    tokio::select! {
        _ = signals.any() => Ok(ExitCode::SUCCESS),
        error = stage.daemon_ended() => Err(error),
    }
}

async fn run(
    stage: &mut Stage,
    program: &OsStr,
    arguments: &[OsString],
    signals: &mut Signals,
) -> Result<ExitCode, SandboxError> {
    let failed = |source| SandboxError::Command { program: program.to_owned(), source };
    let mut child = stage.command(program).args(arguments).spawn().map_err(failed)?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status.map_err(failed)?)),
            signal = signals.any() => pass_on(&child, signal),
            error = stage.daemon_ended() => {
                pass_on(&child, Received::Terminate);
                let _ = child.wait().await;
                return Err(error);
            }
        }
    }
}

/// Ctrl-C reaches the command from the terminal itself, and once is enough.
fn pass_on(child: &Child, signal: Received) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id
        && signal != Received::Interrupt
        && let Err(error) = kill_process(id, signal.number())
    {
        tracing::debug!(%error, "the command has ended before the signal reached it");
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn instructions(stage: &Stage) -> String {
    let places = &stage.places;
    let mut text = String::from("A simulated cluster and hfd are at work. In another terminal, type:\n\n");
    for (name, value) in places.environment() {
        // the other terminal has a PATH of its own
        let value = if name == "PATH" { programs(&places.program_dirs) } else { quoted(&value) };
        text += &format!("  export {name}={value}\n");
    }
    let template = first_template(&stage.template_file).unwrap_or_else(|| "TEMPLATE".to_owned());
    text += &format!(
        "\nThen the five provider scripts, each with a file (-f FILE) or with standard input (-):\n\n\
         \x20 echo '{{}}' | getAvailableTemplates.sh -\n\
         \x20 echo '{{\"template\":{{\"templateId\":\"{template}\",\"machineCount\":3}}}}' | requestMachines.sh -\n\
         \x20 echo '{{\"requests\":[{{\"requestId\":\"ID\"}}]}}' | getRequestStatus.sh -\n\
         \x20 echo '{{\"machines\":[{{\"name\":\"NAME\"}}]}}' | requestReturnMachines.sh -\n\
         \x20 echo '{{}}' | getReturnRequests.sh -\n\n\
         Look at it from both sides:\n\n\
         \x20 hfctl status\n\
         \x20 hfctl get requests\n\
         \x20 hfctl get machines\n\
         \x20 kubectl get pods -o wide\n\n\
         Templates: {}\nhfd's log: {}\nCtrl-C ends hfd and the cluster.\n",
        stage.template_file.display(),
        places.log().display(),
    );
    text
}

fn programs(dirs: &[PathBuf]) -> String {
    let dirs: Vec<_> = dirs.iter().map(|dir| quoted(dir.as_os_str())).collect();
    format!("{}:\"$PATH\"", dirs.join(":"))
}

/// For a POSIX shell; bare where nothing needs quotes.
fn quoted(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:=@%,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// For the example only; whether the file is right is the daemon's to say.
fn first_template(file: &Path) -> Option<String> {
    let file: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    file["templates"][0]["templateId"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ended_by_a_signal_is_reported_as_a_shell_would() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), ExitCode::SUCCESS);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), ExitCode::from(7));
        assert_eq!(exit_code(ExitStatus::from_raw(9)), ExitCode::from(137));
    }

    #[test]
    fn what_is_to_be_typed_survives_a_shell() {
        assert_eq!(quoted(OsStr::new("/tmp/a-b_c.d")), "/tmp/a-b_c.d");
        assert_eq!(quoted(OsStr::new("/tmp/it's mine")), r"'/tmp/it'\''s mine'");
        assert_eq!(quoted(OsStr::new("")), "''");
        assert_eq!(programs(&["/a b".into(), "/c".into()]), r#"'/a b':/c:"$PATH""#);
    }
}
