//! What a poll costs its caller, beside its floor in the same run: `cargo bench -p tests --bench client [-- --write]`.
//!
//! | subject | floor |
//! |---|---|
//! | `hfctl` asks for the status of one machine | `/bin/true` |
//! | the script around it | `sh -c 'exec /bin/true'` |
//! | the same, called by 500 callers at once | 500 callers of a C client and a C server that only move bytes |
//! | the status of 10,000 machines in one request | the same bytes through that C client and server |
//!
//! Subject and floor alternate. A time is that of a caller: from before the start of the process to after its end, with
//! all output read. Processes are started as `posix_spawn` does it, so the size of this program does not count. It
//! asserts nothing about time; `--write` puts the table into `tests/BENCH.md`.

mod callers;
mod floor;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use callers::{Burst, timed};
use floor::Floor;
use serde_json::json;
use tests::{
    Template, Verb, World, bins,
    figures::{Samples, Table, machine, millis, write_section},
    script::Input,
};

/// Alternated rounds of single calls.
const ROUNDS: usize = 1000;
/// Callers at once.
const CALLERS: usize = 500;
/// Alternated rounds of them.
const BURSTS: usize = 15;
/// Machines of the large request.
const MANY: u64 = 10_000;
/// Alternated rounds of its status.
const LARGE_ROUNDS: usize = 100;
/// Most that the large status may take.
const LARGE_LIMIT: Duration = Duration::from_millis(20);

fn main() {
    // `cargo bench` passes flags of the standard harness; this bench knows one of its own.
    let write = std::env::args().any(|arg| arg == "--write");
    let world = World::build()
        .template(Template::new("small").max(-1))
        .cluster(|cluster| {
            cluster.nodes = 100;
            cluster.pods_per_node = 200;
            cluster.start_delay = "10ms".to_owned();
            cluster.stop_delay = "10ms".to_owned();
        })
        .set("machines.ready_deadline", "600s")
        .start();
    let machine = machine();
    println!("{machine}");
    let mut table = Table::new(&["what", "target", "floor", "floor takes", "it takes", "ratio"]);
    let poll = Poll::new(&world, 1);
    single(&poll, &mut table);
    burst(&poll, &mut table);
    large(&Poll::new(&world, MANY), &mut table);
    println!("\n{}", table.text());
    if write {
        let intro = format!(
            "## The client\n\n`cargo bench -p tests --bench client -- --write` on {machine}.\n\nMedian and middle half of the \
             times of a caller, from before the start of the process to after its end with all output read. Each row \
             alternated with its floor ({ROUNDS} rounds; {BURSTS} with {CALLERS} callers; {LARGE_ROUNDS} of the large \
             one); ratio of the medians. The simulated cluster of the tests stands behind hfd."
        );
        write_section("client", &format!("{intro}\n\n{}", table.text()));
    }
}

/// The status call of one request, in every form in which it is timed.
struct Poll<'a> {
    world: &'a World,
    file: PathBuf,
    floor: Floor,
}

impl<'a> Poll<'a> {
    /// Asks for machines, waits until they are ready, and starts a floor that answers what hfd answers.
    fn new(world: &'a World, count: u64) -> Self {
        let input = json!({"template": {"templateId": "small", "machineCount": count}});
        let reply = world.scripts.call(Verb::RequestMachines, Input::File(input.to_string().as_bytes()));
        let id = reply.ok()["requestId"].as_str().expect("an id").to_owned();
        let input = json!({"requests": [{"requestId": id}]}).to_string();
        tests::eventually("all machines are ready", Duration::from_secs(300), || {
            let reply = world.scripts.call(Verb::GetRequestStatus, Input::File(input.as_bytes()));
            (reply.ok()["requests"][0]["status"] == "complete").then_some(())
        });
        let file = world.scripts.dir().join(format!("work/status_of_{count}"));
        fs::write(&file, &input).expect("the directory is ours");
        let floor = Floor::start(&world.scripts.dir().join(format!("floor_{count}")), world.daemon.socket(), &input);
        Self { world, file, floor }
    }

    fn hfctl(&self) -> Command {
        let mut command = Command::new(bins::hfctl());
        command.env_clear().env("HFD_SOCKET", self.world.daemon.socket());
        command.arg("get-request-status").arg("-f").arg(&self.file);
        command
    }

    fn script(&self) -> Command {
        self.world.scripts.command_with(Verb::GetRequestStatus, &self.file)
    }

    /// What a call prints.
    fn answer(&self) -> Vec<u8> {
        let output = self.hfctl().output().expect("hfctl can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

fn single(poll: &Poll<'_>, table: &mut Table) {
    let nothing = || Command::new("/bin/true");
    let shell = || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec /bin/true"]);
        command
    };
    let mut ways: [(&dyn Fn() -> Command, Samples); 4] = [
        (&nothing, Samples::default()),
        (&|| poll.hfctl(), Samples::default()),
        (&shell, Samples::default()),
        (&|| poll.script(), Samples::default()),
    ];
    for _ in 0..ROUNDS {
        for (command, samples) in &mut ways {
            let mut command = command();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            samples.push(timed(|| assert!(command.status().expect("it can be started").success())));
        }
    }
    let [nothing, hfctl, shell, script] = ways.map(|(_, samples)| samples);
    let target = "<= 2x";
    row(table, "`hfctl`, status of 1 machine", target, "`/bin/true`", &nothing, &hfctl);
    row(table, "the script around it", target, "`sh -c 'exec /bin/true'`", &shell, &script);
}

fn burst(poll: &Poll<'_>, table: &mut Table) {
    let (mut floor, mut hfctl) = (Burst::default(), Burst::default());
    let (answer, floor_answer) = (poll.answer(), poll.floor.body());
    for _ in 0..BURSTS {
        floor.run(CALLERS, &|| poll.floor.client(), floor_answer);
        hfctl.run(CALLERS, &|| poll.hfctl(), &answer);
    }
    let failed = hfctl.failed + floor.failed;
    let what = format!("`hfctl`, {CALLERS} callers at once: each caller ({failed} of {} failed)", BURSTS * CALLERS * 2);
    row(table, &what, "<= 2x", "C client and server", &floor.each, &hfctl.each);
    row(table, "the same: until all are served", "", "C client and server", &floor.all, &hfctl.all);
    let [low, high] = [&floor, &hfctl].map(|burst| millis(burst.each.quantile(990)));
    table.row(&[
        "the same: p99 of the callers".to_owned(),
        "stated".to_owned(),
        "C client and server".to_owned(),
        format!("{low:.1} ms"),
        format!("{high:.1} ms"),
        format!("{:.2}x", high / low),
    ]);
}

fn large(poll: &Poll<'_>, table: &mut Table) {
    let answer = poll.answer();
    let (mut floor, mut hfctl, mut script) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..LARGE_ROUNDS {
        for (samples, mut command, expected) in [
            (&mut floor, poll.floor.client(), poll.floor.body()),
            (&mut hfctl, poll.hfctl(), &*answer),
            (&mut script, poll.script(), &*answer),
        ] {
            command.stdin(Stdio::null()).stderr(Stdio::null());
            let mut output = None;
            samples.push(timed(|| output = Some(command.output().expect("it can be started"))));
            assert!(output.is_some_and(|output| output.stdout == expected), "another answer");
        }
    }
    let target = format!("<= {} ms, <= 4x", LARGE_LIMIT.as_millis());
    let bytes = format!("{} bytes through the C client", poll.floor.size());
    row(table, &format!("`hfctl`, status of {MANY} machines"), &target, &bytes, &floor, &hfctl);
    row(table, "the script around it", &target, &bytes, &floor, &script);
}

fn row(table: &mut Table, what: &str, target: &str, floor_name: &str, floor: &Samples, subject: &Samples) {
    table.row(&[
        what.to_owned(),
        target.to_owned(),
        floor_name.to_owned(),
        floor.summary(),
        subject.summary(),
        format!("{:.2}x", subject.ratio_to(floor)),
    ]);
}
