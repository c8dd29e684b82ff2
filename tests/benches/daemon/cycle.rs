//! What a thousand machines that come and go write to the disk.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, types::ValueRef};
use serde_json::{Value, json};
use tests::{World, journal_log::Log};

use crate::{
    Report,
    durable::{request, wait_complete},
    proc, scene,
    wire::{Caller, call, machines_call, status_call},
};

/// Machines.
const MACHINES: u64 = 1000;
/// Tables of the journal that grow with machines.
const TABLES: [&str; 5] = ["manifests", "requests", "machines", "returns", "return_entries"];

pub(crate) fn run(report: &mut Report) {
    let world = scene(2000, &[]);
    let state = world.dir().join("state");
    let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
    // The first machine pays for what is made once.
    cycle(&world, &mut caller, 1);
    let (files, written, log) = (names(&state), proc::written(world.daemon.id()), Log::of(&state));
    let mut counted = SyncCount::attach(world.daemon.id(), world.dir());
    cycle(&world, &mut caller, MACHINES);
    thread::sleep(Duration::from_millis(500));
    let syncs = counted.as_mut().and_then(SyncCount::detach);
    let written = proc::written(world.daemon.id()) - written;
    let later = Log::of(&state);
    let (commits, log) = (later.commits - log.commits, later.bytes.saturating_sub(log.bytes));
    let new_files = names(&state).into_iter().filter(|name| !files.contains(name)).count();
    let payload = payload(&world, &state);
    let what = |what: &str| format!("{MACHINES} machines asked for, ready, returned, gone: {what}");
    let floor = format!("{} KB", payload / 1000);
    let ratio = format!("{:.1}x", written as f64 / payload as f64);
    let kilobytes = format!("{} KB, {} KB of it in the log", written / 1000, log / 1000);
    report.cells(&[&what("bytes written"), "stated", "values in the rows at the end", &floor, &kilobytes, &ratio]);
    let (count, ratio) = match syncs {
        Some(syncs) => (format!("{syncs}"), format!("{:.2} a batch", syncs as f64 / commits as f64)),
        None => ("not counted: no strace".to_owned(), String::new()),
    };
    report.cells(&[&what("fsyncs"), "<= 1 a batch", "batches in the log", &commits.to_string(), &count, &ratio]);
    report.cells(&[&what("new files"), "none", "", "0", &new_files.to_string(), ""]);
}

fn cycle(world: &World, caller: &mut Caller, machines: u64) {
    let id = request(caller, &machines_call("small", machines));
    wait_complete(caller, std::slice::from_ref(&id));
    let answer = caller.ask(&status_call(&[id]));
    let of = |machine: &Value| json!({"name": machine["name"], "machineId": machine["machineId"]});
    let all: Vec<Value> = answer["requests"][0]["machines"].as_array().expect("machines").iter().map(of).collect();
    let answer = caller.ask(&call("requestReturnMachines", &json!({ "machines": all })));
    wait_complete(caller, &[answer["requestId"].as_str().expect("an id").to_owned()]);
    world.wait_no_pods();
}

/// `strace` that counts the calls of a process which make something durable.
struct SyncCount {
    strace: Child,
    out: std::path::PathBuf,
}

impl SyncCount {
    fn attach(pid: u32, dir: &Path) -> Option<Self> {
        let out = dir.join("syncs");
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range,sync,syncfs,msync", "-o"]).arg(&out);
        command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let strace = command.spawn().ok()?;
        let tracer = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim();
            (line != "0").then_some(())
        };
        tests::eventually("strace is attached", Duration::from_secs(10), tracer);
        Some(Self { strace, out })
    }

    fn detach(&mut self) -> Option<u64> {
        // SIGINT makes it let the process go.
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.strace), rustix::process::Signal::INT)
            .ok()?;
        self.strace.wait().ok()?;
        let text = fs::read_to_string(&self.out).ok()?;
        Some(text.lines().filter(|line| line.contains("sync") && !line.contains("resumed")).count() as u64)
    }
}

/// Bytes of all values that the journal holds, from a copy: the daemon keeps its own locked.
fn payload(world: &World, state: &Path) -> u64 {
    let copy = world.dir().join("copy");
    fs::create_dir(&copy).expect("the directory is ours");
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(state.join(name), copy.join(name)).expect("the journal is there");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(copy.join("journal.db"), flags).expect("a copy of the journal");
    let mut bytes = 0;
    for table in TABLES {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("the table is there");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("the copy is whole");
        while let Some(row) = rows.next().expect("the copy is whole") {
            bytes += (0..columns).map(|column| size(row.get_ref(column).expect("a value"))).sum::<u64>();
        }
    }
    bytes
}

/// Bytes of a value; a number counts as the few bytes that it needs.
fn size(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(number) => u64::from(64 - number.unsigned_abs().leading_zeros()).div_ceil(8),
        ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
    }
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(dir).expect("the state directory").flatten().map(|file| file.file_name()).collect()
}
