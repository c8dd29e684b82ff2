//! The testbed's processes: each writes to a log of its own, ends with the process that started it (whatever becomes of
//! that one), and is in a process group of its own, so that Ctrl-C on a terminal reaches only the testbed's program.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use crate::process::Process;

/// Starts `command` under `name` with its log in `logs`.
///
/// `setpriv` (util-linux) makes the kernel kill the child when the thread that started it ends, then becomes the child:
/// the process id is the program's own. A program in Rust alone could only do that with `unsafe` code.
pub(super) fn start(name: &str, command: &Command, logs: &Path) -> Process {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    tied.process_group(0);
    Process::start(name, tied, &logs.join(format!("{name}.log")))
}
