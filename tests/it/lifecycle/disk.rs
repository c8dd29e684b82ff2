//! `lifecycle.md` 11, "Disk".

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::PathBuf,
    time::Duration,
};

use serde_json::json;
use tests::{Verb, World, eventually, names};

/// Fills the daemon's own file system to the last byte and gives the filler's path.
pub(crate) fn fill(world: &World) -> PathBuf {
    let state = world.dir().join("state");
    let inside = PathBuf::from(format!("/proc/{}/root", world.daemon.id()))
        .join(state.strip_prefix("/").expect("temporary directories have absolute paths"));
    let file = inside.join("filler");
    let mut filler = OpenOptions::new().create(true).append(true).open(&file).expect("the daemon's disk is reachable");
    for size in [65_536, 4_096, 512, 1] {
        let block = vec![b'x'; size];
        loop {
            match filler.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("filling the disk: {error}"),
            }
        }
    }
    file
}

/// lifecycle.md 11: a full disk: new requests are refused with a message, answers go on, returns have a reserve, and
/// all is well again with room.
#[test]
fn a_full_disk_refuses_requests_keeps_answering_and_still_takes_returns() {
    let world = World::build().own_disk("6m").set("journal.reserve", "1MiB").start();
    let id = world.request("small", 4);
    let end = world.wait_end(&id);
    let filler = fill(&world);

    // What the journal's files still have of room is used up by small requests.
    let one = json!({"template": {"templateId": "small", "machineCount": 1}});
    let refusal = eventually("a request is refused", Duration::from_secs(60), || {
        let reply = world.call(Verb::RequestMachines, &one);
        (reply.code == 1).then(|| reply.message().to_lowercase())
    });
    assert!(refusal.contains("disk") || refusal.contains("space"), "{refusal}");
    assert_eq!(world.status(&id), end);
    assert_eq!(world.templates().len(), 1);
    world.wait_status_says(&["space"]);

    let ret = world.give_back(&names(&end.machines));
    world.wait(&ret, "with its pods gone", |_| end.machines.iter().all(|m| world.cluster.pod(&m.name).is_none()));

    fs::remove_file(filler).expect("the filler is ours");
    assert_eq!(world.wait_end(&ret).status, "complete");
    eventually("requests are accepted again", Duration::from_secs(60), || {
        (world.call(Verb::RequestMachines, &one).code == 0).then_some(())
    });
}

/// reliability.md, Disk: a read-only state directory is refused at start with its name.
#[test]
fn a_read_only_state_directory_is_refused_at_start() {
    let mut world = World::start();
    world.daemon.terminate();
    let spec = world.daemon.spec();
    spec.state_dir = spec.dir.join("read-only");
    spec.own_disk = Some("1m".to_owned());
    spec.read_only = true;
    let command = spec.command();
    let log = world.dir().join("read-only.log");
    let mut refused = tests::process::Process::start("hfd on a read-only disk", command, &log);
    assert!(!refused.ended(Duration::from_secs(20)).success());
    assert!(refused.log().contains("read-only"), "{}", refused.log());
}

/// reliability.md, Disk: a corrupt journal is refused with instructions, never started empty.
#[test]
fn a_corrupt_journal_is_refused_and_never_replaced_by_an_empty_one() {
    let mut world = World::start();
    world.bring_up("small", 1);
    world.daemon.terminate();
    let state = world.dir().join("state");
    let mut corrupted = 0;
    for entry in fs::read_dir(&state).expect("the state directory is there") {
        let path = entry.expect("readable").path();
        let bytes = fs::read(&path).unwrap_or_default();
        if bytes.starts_with(b"SQLite format 3") {
            fs::write(&path, vec![0x5a; bytes.len()]).expect("the file is ours");
            corrupted += 1;
        }
    }
    assert_eq!(corrupted, 1, "the journal is one SQLite file");
    let log = world.dir().join("corrupt.log");
    let command = world.daemon.spec().command();
    let mut refused = tests::process::Process::start("hfd with a corrupt journal", command, &log);
    assert!(!refused.ended(Duration::from_secs(20)).success());
    assert!(refused.log().to_lowercase().contains("journal"), "{}", refused.log());
    assert_eq!(world.cluster.managed().len(), 1);
}
