//! The committed inputs, without libFuzzer.

use std::{fs, path::Path};

use super::{Taken, config_file, hostfactory_json, journal_rows, rpc_frame, template_file, watch_event};

/// Runs `target` with every input of its corpus. `ok-...` must be accepted and `no-...` refused: a seed that is refused
/// at its first byte leads the fuzzer nowhere.
fn corpus(name: &str, target: fn(&[u8]) -> Taken) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    let mut counts = [0, 0];
    for file in fs::read_dir(&place).expect("the corpus is there") {
        let path = file.expect("a readable directory").path();
        let taken = target(&fs::read(&path).expect("a readable file"));
        let file = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let wanted = match file.split_once('-') {
            Some(("ok", _)) => Taken::Accepted,
            Some(("no", _)) => Taken::Refused,
            _ => panic!("{}: neither ok-... nor no-...", path.display()),
        };
        assert_eq!(taken, wanted, "{}", path.display());
        counts[usize::from(taken == Taken::Accepted)] += 1;
    }
    assert!(counts.iter().all(|count| *count > 0), "{name}: {counts:?} of inputs refused and accepted");
}

#[test]
fn every_committed_call_is_answered() {
    corpus("rpc_frame", rpc_frame);
}

#[test]
fn every_committed_document_of_hostfactory_reads_back_the_same_or_is_refused_with_a_reason() {
    corpus("hostfactory_json", hostfactory_json);
}

#[test]
fn every_committed_template_file_gives_pods_of_ours_or_a_reason() {
    corpus("template_file", template_file);
}

#[test]
fn every_committed_configuration_reads_back_as_it_is_shown_or_is_refused_with_a_reason() {
    corpus("config_file", config_file);
}

#[test]
fn every_committed_change_of_a_journal_is_refused_or_lived_with() {
    corpus("journal_rows", journal_rows);
}

#[test]
fn every_committed_event_of_the_api_server_is_understood_or_passed_over() {
    corpus("watch_event", watch_event);
}
