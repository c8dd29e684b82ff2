//! What a call and a cached pod cost, beside their floor in the same run: `cargo bench -p tests --bench first_figures`.
//!
//! * A status call of one machine, `hfctl` alone and the script around it, alternated with `/bin/true` and
//!   `sh -c 'exec /bin/true'`, so that a noisy machine is noisy for all of them. Medians and their ratio.
//! * The status of 10,000 machines in one request.
//! * The daemon's resident memory with 10,000 cached pods, beside that of the same daemon with none.
//!
//! It prints; it asserts nothing about time.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tests::{Template, Verb, World, bins, script::Input};

/// Rounds of the alternated calls.
const ROUNDS: usize = 400;
/// Machines of the large request.
const MANY: u64 = 10_000;

fn main() {
    // `cargo test --benches` and `cargo bench` pass flags of the standard harness; this bench has none.
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
    println!("machine: {}, load {}", cores(), fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    calls(&world);
    ten_thousand(&world);
}

/// A way to spend one call: its name, the times it took, and how to start it.
type Way<'a> = (&'static str, Vec<Duration>, Box<dyn Fn() -> Command + 'a>);

fn calls(world: &World) {
    let id = request(world, 1);
    let input = json!({"requests": [{"requestId": id}]});
    let file = world.scripts.dir().join("work/hf_in_bench");
    fs::write(&file, input.to_string()).expect("the directory is ours");
    let mut kinds: [Way<'_>; 4] = [
        ("/bin/true", Vec::new(), Box::new(|| Command::new("/bin/true"))),
        (
            "sh -c 'exec /bin/true'",
            Vec::new(),
            Box::new(|| {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "exec /bin/true"]);
                command
            }),
        ),
        (
            "hfctl get-request-status",
            Vec::new(),
            Box::new({
                let (file, socket) = (file.clone(), world.daemon.socket().to_owned());
                move || {
                    let mut command = Command::new(bins::hfctl());
                    command.arg("--socket").arg(&socket).arg("get-request-status").arg("-f").arg(&file);
                    command
                }
            }),
        ),
        ("getRequestStatus.sh", Vec::new(), Box::new(move || world.scripts.command(Verb::GetRequestStatus, &input))),
    ];
    for _ in 0..ROUNDS {
        for (name, times, command) in &mut kinds {
            let mut command = command();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let begun = Instant::now();
            let status = command.status().expect("it can be started");
            times.push(begun.elapsed());
            assert!(status.success(), "{name} failed");
        }
    }
    let medians: Vec<_> = kinds.iter_mut().map(|(_, times, _)| quantile(times, 0.5)).collect();
    println!("\nstatus of 1 machine, {ROUNDS} alternated rounds");
    for (place, (name, times, _)) in kinds.iter_mut().enumerate() {
        let floor = if place < 2 { medians[place] } else { medians[place - 2] };
        println!(
            "  {name:<26} median {:>7.3} ms  p10 {:>7.3}  p90 {:>7.3}  {:.2}x its floor, {:.2}x /bin/true",
            millis(medians[place]),
            millis(quantile(times, 0.1)),
            millis(quantile(times, 0.9)),
            medians[place].as_secs_f64() / floor.as_secs_f64(),
            medians[place].as_secs_f64() / medians[0].as_secs_f64(),
        );
    }
}

fn ten_thousand(world: &World) {
    let before = resident(world.daemon.id());
    let begun = Instant::now();
    let id = request(world, MANY);
    let up = begun.elapsed();
    let after = resident(world.daemon.id());
    let mut times: Vec<_> = (0..10)
        .map(|_| {
            let begun = Instant::now();
            let input = json!({"requests": [{"requestId": id}]});
            let reply = world.scripts.call(Verb::GetRequestStatus, Input::File(input.to_string().as_bytes()));
            let _whole = reply.ok();
            begun.elapsed()
        })
        .collect();
    println!("\n{MANY} machines in one request");
    println!("  all reported ready after {:.1} s (simulated cluster on the same cores)", up.as_secs_f64());
    println!("  status through the script, read and parsed: median {:.1} ms", millis(quantile(&mut times, 0.5)));
    println!(
        "  resident: {} KiB with 1 pod, {} KiB with {MANY} more: {} bytes a machine, request, journal cache and all",
        before,
        after,
        (after.saturating_sub(before)) * 1024 / MANY
    );
}

fn request(world: &World, count: u64) -> String {
    let input = json!({"template": {"templateId": "small", "machineCount": count}});
    let reply = world.scripts.call(Verb::RequestMachines, Input::File(input.to_string().as_bytes()));
    let id = reply.ok()["requestId"].as_str().expect("an id").to_owned();
    let input = json!({"requests": [{"requestId": id}]}).to_string();
    tests::eventually("all machines are ready", Duration::from_secs(300), || {
        let reply = world.scripts.call(Verb::GetRequestStatus, Input::File(input.as_bytes()));
        (reply.ok()["requests"][0]["status"] == "complete").then_some(())
    });
    id
}

/// VmRSS of a process, KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

fn cores() -> String {
    std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| format!("{cores} cores"))
}

fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a small index"
    )]
    let place = ((times.len() - 1) as f64 * part).round() as usize;
    times[place]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
