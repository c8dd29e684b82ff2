//! One call of a verb, and the three ways in which it may end: answered, failed cleanly, or a violation.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    bins,
    process::{Finished, run},
    script::{Reply, Scripts, Verb},
};

/// Far above any time-out that a call is given.
const LIMIT: Duration = Duration::from_secs(180);

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// `hfctl`, which tries for so many seconds.
    Hfctl {
        /// Its socket.
        socket: &'a Path,
        /// `--timeout`.
        seconds: usize,
        /// `--request-id`.
        key: Option<&'a str>,
    },
    /// The verb's script, as HostFactory calls it.
    Script(&'a Scripts),
}

/// Makes a call. The reply is an answer (exit 0) or a clean failure (exit 1 with a message).
///
/// # Errors
/// Anything else: no document or more than one, output that is cut off, another exit status.
pub fn call(way: Way<'_>, verb: Verb, input: &Value) -> Result<Reply> {
    let body = input.to_string();
    let finished = match way {
        Way::Script(scripts) => scripts.call_raw(verb, crate::Input::File(body.as_bytes())),
        Way::Hfctl { socket, seconds, key } => {
            let mut command = Command::new(bins::hfctl());
            command.env_clear().env("PATH", "/usr/bin:/bin").arg("--socket").arg(socket);
            command.args(["--timeout", &seconds.to_string(), verb.command(), "-f", "-"]);
            if let Some(key) = key {
                command.args(["--request-id", key]);
            }
            run(command, body.as_bytes(), LIMIT)
        }
    };
    read(verb, finished).with_context(|| format!("{} {body}", verb.name()))
}

/// Holds an outcome against the contract of every verb.
///
/// # Errors
/// When it is broken.
pub fn read(verb: Verb, finished: Finished) -> Result<Reply> {
    let stderr = finished.error_text();
    let code = finished.code;
    let stdout = String::from_utf8(finished.stdout).context("the output is not UTF-8")?;
    // `from_str` refuses anything after the first document.
    let json: Value = serde_json::from_str(&stdout)
        .with_context(|| format!("exit {code} without exactly one whole document: {stdout:?} {stderr:?}"))?;
    ensure!(json.is_object(), "exit {code} with something else than an object: {stdout}");
    let message = json["message"].as_str().unwrap_or_default();
    match code {
        0 => {}
        1 => ensure!(!message.trim().is_empty(), "failed without a message: {stdout}"),
        other => bail!("ended with {other}: {stdout} {stderr}"),
    }
    Ok(Reply { verb, code, json, stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(code: i32, stdout: &str) -> Finished {
        Finished { code, stdout: stdout.into(), stderr: Vec::new() }
    }

    #[test]
    fn success_without_a_document_a_cut_document_and_a_failure_without_a_message_are_violations() {
        for (code, stdout) in [(0, ""), (0, "{\"requestId\":"), (0, "{}{}"), (1, "{}"), (1, ""), (-1, "{}"), (3, "{}")]
        {
            assert!(read(Verb::RequestMachines, finished(code, stdout)).is_err(), "{code} {stdout}");
        }
        assert!(read(Verb::RequestMachines, finished(0, "{\"requestId\":\"x\"}")).is_ok());
        assert!(read(Verb::RequestMachines, finished(1, "{\"message\":\"no\"}")).is_ok());
    }
}
