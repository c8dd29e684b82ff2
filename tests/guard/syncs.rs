//! As many fsyncs as batches: the state directory lies on a disk in user space, which sees each of them, and the number
//! of batches is read from the journal's write-ahead log.

use std::{path::Path, time::Duration};

use rustix::process::geteuid;
use serde_json::{Value, json};
use tests::{World, eventually, holds_for, journal_log::Log, names, proof::lossy::LossyDisk};

/// Room on the disk.
const ROOM: u64 = 256 << 20;
/// Machines that come and go.
const MACHINES: u64 = 200;
/// Without anything new for this long, hfd has nothing left to write.
const QUIET: Duration = Duration::from_secs(3);
/// Longest wait for that.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a sign of life, which is written every 30 s.
const SIGN_WITHIN: Duration = Duration::from_secs(60);

/// The disk outlives the daemon: the fields end in the order written.
struct Ground {
    world: World,
    disk: LossyDisk,
    _place: tempfile::TempDir,
}

/// What was written until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    syncs: u64,
    commits: u64,
}

impl Ground {
    /// `None`, with a line that says so, where no such disk can be mounted.
    fn open() -> Option<Self> {
        if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            eprintln!("skipped: a disk that sees each fsync needs root and /dev/fuse");
            return None;
        }
        let place = tempfile::Builder::new().prefix("hfd-guard-").tempdir().expect("a temporary directory");
        let disk = LossyDisk::mount(&place.path().join("disk"), ROOM).expect("root and /dev/fuse are here");
        let world = World::build().cluster(|cluster| cluster.nodes = 10).state_dir(&disk.path().join("state")).start();
        let ground = Self { world, disk, _place: place };
        // The first machine pays for what is made once: the log's beginning, and the first sign of life.
        let first = ground.world.bring_up("small", 1);
        ground.world.wait_end(&ground.world.give_back(&names(&first)));
        ground.world.wait_no_pods();
        Some(ground)
    }

    fn written(&self) -> Written {
        let log = Log::of(&self.disk.path().join("state"));
        Written { syncs: self.disk.counts().syncs, commits: log.commits }
    }

    /// What was written when nothing is written any more.
    fn quiet(&self) -> Written {
        let mut last = (self.written(), std::time::Instant::now());
        eventually("nothing is written any more", PATIENCE, || {
            let now = self.written();
            if now != last.0 {
                last = (now, std::time::Instant::now());
            }
            (last.1.elapsed() >= QUIET).then_some(now)
        })
    }
}

#[test]
fn machines_up_and_down_cost_one_fsync_for_each_batch_and_polls_cost_none() {
    let Some(ground) = Ground::open() else { return };
    let world = &ground.world;
    let before = ground.quiet();
    let id = world.request("small", MACHINES);
    let up = world.wait_end(&id);
    let back = world.give_back(&names(&up.machines));
    let down = world.wait_end(&back);
    let succeeded = [&up, &down].map(|end| end.with("succeed").len() as u64);
    assert_eq!(succeeded, [MACHINES; 2]);
    world.wait_no_pods();
    let after = ground.quiet();
    let (syncs, batches) = (after.syncs - before.syncs, after.commits - before.commits);
    eprintln!("{MACHINES} machines up and down: {syncs} fsyncs, {batches} batches");
    assert_eq!(syncs, batches, "fsyncs, and batches in the log");
    // Each way has a batch of its own at least; more machines than batches show that they are batches.
    assert!((4..2 * MACHINES).contains(&batches), "{batches} batches for {MACHINES} machines");

    for _ in 0..20 {
        assert_eq!((world.status(&id), world.status(&back)), (up.clone(), down.clone()));
    }
    assert_eq!(world.all_reclaims(), []);
    assert_eq!(ground.written(), after, "a poll is answered from memory");
}

#[test]
fn an_accepted_request_costs_one_fsync_and_costs_it_before_the_answer() {
    let Some(ground) = Ground::open() else { return };
    let world = &ground.world;
    // Nothing comes back of the creates, so that there is nothing more to write but, while the first one waits, a sign of
    // life every 30 s: what is measured comes right after one.
    world.cluster.pod_fault("create", &json!({"hang": true}));
    let waiting = world.request("small", 1);
    world.status(&waiting);
    let before = ground.quiet();
    let mut last = eventually("a sign of life is written and synced", SIGN_WITHIN, || {
        let now = ground.written();
        // The log shows a batch a moment before its fsync is counted.
        let (syncs, commits) = (now.syncs - before.syncs, now.commits - before.commits);
        (commits > 0 && syncs == commits).then_some(now)
    });
    let mut costs = |what: &str, syncs: u64, call: &dyn Fn() -> Value| {
        let answer = call();
        let now = ground.written();
        assert_eq!(now, Written { syncs: last.syncs + syncs, commits: last.commits + syncs }, "{what}");
        last = now;
        answer
    };
    let id = costs("a request accepted", 1, &|| json!(world.request("small", 1)));
    let id = id.as_str().expect("an id");
    costs("its first poll, which is noted", 1, &|| json!(world.status(id).status));
    costs("every other poll", 0, &|| json!(world.status(id).status));
    holds_for("nothing more is written", Duration::from_secs(1), || ground.written() == last);
}
