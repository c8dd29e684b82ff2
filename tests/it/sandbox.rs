//! `hfd sandbox`: a first try without any cluster.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;
use tests::{bins, eventually, process};

const LONG: Duration = Duration::from_secs(60);

fn sandbox(dir: &Path) -> Command {
    let mut command = Command::new(bins::hfd());
    command.env_clear().env("HOME", dir).env("PATH", "/usr/bin:/bin").current_dir(dir);
    command.args(["sandbox", "--start-delay", "30ms", "--stop-delay", "30ms"]);
    command
}

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("hfd-it-").tempdir().expect("a temporary directory can be made")
}

/// Sandbox: COMMAND runs with the environment of HostFactory's scripts, and its exit status is the sandbox's.
#[test]
fn a_command_runs_in_hostfactorys_environment_and_its_exit_status_is_kept() {
    let dir = scratch();
    let mut command = sandbox(dir.path());
    let script = "for v in HFD_SOCKET HF_PROVIDER_NAME HF_PROVIDER_CONFDIR HF_PROVIDER_WORKDIR HF_PROVIDER_LOGDIR PATH; do \
                  eval \"test -n \\\"\\$$v\\\"\" || { echo missing $v >&2; exit 9; }; done; \
                  test -S \"$HFD_SOCKET\" || exit 8; test -d \"$HF_PROVIDER_CONFDIR\" || exit 7; \
                  command -v hfctl >/dev/null || exit 6; exit 42";
    command.args(["--", "sh", "-c", script]);
    let finished = process::run(command, b"", LONG);
    assert_eq!(finished.code, 42, "{} {}", finished.text(), finished.error_text());
}

/// Sandbox: the real scripts work in it, from the first call on.
#[test]
fn the_scripts_work_in_the_sandbox_from_the_first_call_on() {
    let dir = scratch();
    let mut command = sandbox(dir.path());
    let scripts = bins::provider_dir().join("scripts");
    let script = "set -e; echo '{}' | \"$0\"/getAvailableTemplates.sh -; hfctl get templates -o json";
    command.args(["--", "sh", "-c", script]).arg(&scripts);
    let finished = process::run(command, b"", LONG);
    assert_eq!(finished.code, 0, "{} {}", finished.text(), finished.error_text());
    let told: Vec<Value> = serde_json::Deserializer::from_slice(&finished.stdout)
        .into_iter()
        .map(|document| document.expect("JSON on stdout"))
        .collect();
    assert_eq!(told.len(), 2, "{}", finished.text());
    assert!(told[0]["templates"].as_array().is_some_and(|templates| !templates.is_empty()));
}

/// Sandbox: with `--state-dir` journal and simulated cluster live on together.
#[test]
fn with_a_state_directory_requests_and_pods_live_on() {
    let dir = scratch();
    let state = dir.path().join("kept");
    let run = |script: &str| {
        let mut command = sandbox(dir.path());
        command.arg("--state-dir").arg(&state).args(["--", "sh", "-c", script]);
        let finished = process::run(command, b"", LONG);
        assert_eq!(finished.code, 0, "{} {}", finished.text(), finished.error_text());
        finished.text()
    };
    let ask = "id=$(hfctl get templates -o json | tr -d ' \\n' | sed 's/.*\"templateId\":\"\\([^\"]*\\)\".*/\\1/'); \
               echo \"{\\\"template\\\":{\\\"templateId\\\":\\\"$id\\\",\\\"machineCount\\\":2}}\" | hfctl request-machines -f -";
    let reply: Value = serde_json::from_str(&run(ask)).expect("one JSON document");
    let id = reply["requestId"].as_str().expect("a request id").to_owned();
    let poll = format!("echo '{{\"requests\":[{{\"requestId\":\"{id}\"}}]}}' | hfctl get-request-status -f -");
    let status = eventually("both are ready in a later life", LONG, || {
        let status: Value = serde_json::from_str(&run(&poll)).expect("one JSON document");
        (status["requests"][0]["status"] == "complete").then_some(status)
    });
    let again: Value = serde_json::from_str(&run(&poll)).expect("one JSON document");
    assert_eq!(status, again);
    let lost: Value =
        serde_json::from_str(&run("echo '{}' | hfctl get-return-requests -f -")).expect("one JSON document");
    assert_eq!(lost["requests"], serde_json::json!([]));
}

/// Sandbox: without COMMAND it prints what to type in another terminal and stays until it is told to stop.
#[test]
fn without_a_command_it_says_what_to_type_and_stays() {
    let dir = scratch();
    let mut process = process::Process::start("hfd sandbox", sandbox(dir.path()), &dir.path().join("sandbox.log"));
    eventually("it says what to type", LONG, || process.log().contains("HFD_SOCKET").then_some(()));
    assert!(process.try_ended().is_none());
    let status = process.terminate(LONG);
    assert!(status.success() || status.code() == Some(143), "{status:?}: {}", process.log());
}

/// Sandbox: the built-in tour really calls each of the five scripts, loses a node and ends well.
#[test]
fn the_tour_shows_all_five_scripts_and_ends_well() {
    let dir = scratch();
    let mut command = Command::new(bins::hfd());
    command.env_clear().env("HOME", dir.path()).env("PATH", "/usr/bin:/bin").args(["sandbox", "tour"]);
    command.current_dir(bins::source_root());
    let finished = process::run(command, b"", Duration::from_secs(90));
    let text = finished.text();
    assert_eq!(finished.code, 0, "{text} {}", finished.error_text());
    for verb in tests::Verb::ALL {
        assert!(text.contains(&format!("{}.sh", verb.name())), "{} is not in the tour:\n{text}", verb.name());
    }
    for shown in ["requestId", "complete", "gracePeriod", "node"] {
        assert!(text.contains(shown), "{shown} is not in the tour:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "it colours a pipe");
}

/// Sandbox: a command that can't be started is a message and a failure, not a sandbox that stays.
#[test]
fn a_command_that_does_not_exist_fails_at_once() {
    let dir = scratch();
    let mut command = sandbox(dir.path());
    command.args(["--", "no-such-command-anywhere"]);
    let finished = process::run(command, b"", LONG);
    assert_ne!(finished.code, 0);
    assert!(finished.error_text().contains("no-such-command-anywhere"), "{}", finished.error_text());
}
