//! The floors: a client and a server that do nothing but move bytes, built here with the C compiler that linked us.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tests::process::Process;

/// A C server that answers what hfd answered, and a C client for it.
pub(crate) struct Floor {
    dir: PathBuf,
    answer: Vec<u8>,
    _server: Process,
}

impl Floor {
    /// Asks the daemon on `socket` for the status once and serves the bytes of its answer from now on.
    pub(crate) fn start(dir: &Path, socket: &Path, input: &str) -> Self {
        fs::create_dir(dir).expect("the directory is ours");
        let request = request(input);
        let answer = exchange(socket, &request);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        fs::write(dir.join("request"), &request).expect("the directory is ours");
        fs::write(dir.join("answer"), &answer).expect("the directory is ours");
        let build = |name: &str| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/client").join(name).with_extension("c");
            // Where there is no static C library the floor is a dynamic program, which is slower: say so.
            let built = ["-static", ""].into_iter().any(|how| {
                let mut cc = Command::new("cc");
                cc.args(["-O2", how].iter().filter(|arg| !arg.is_empty())).arg("-o").arg(dir.join(name)).arg(&source);
                let built = cc.output().expect("a C compiler, as Rust needs one to link").status.success();
                if !built {
                    println!("cc {how} {name} failed");
                }
                built
            });
            assert!(built, "the floor {name} cannot be built");
        };
        build("client_floor");
        build("server_floor");
        let mut command = Command::new(dir.join("server_floor"));
        command.arg(dir.join("socket")).arg(dir.join("answer"));
        let server = Process::start("the floor's server", command, &dir.join("log"));
        let floor = Self { dir: dir.to_owned(), answer, _server: server };
        tests::eventually("the floor answers", Duration::from_secs(10), || {
            floor.client().output().is_ok_and(|output| output.stdout == floor.body()).then_some(())
        });
        floor
    }

    /// A call of the client.
    pub(crate) fn client(&self) -> Command {
        let mut command = Command::new(self.dir.join("client_floor"));
        command.env_clear().arg(self.dir.join("socket")).arg(self.dir.join("request"));
        command
    }

    /// What the client prints.
    pub(crate) fn body(&self) -> &[u8] {
        let head = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an HTTP answer");
        &self.answer[head + 4..]
    }

    /// Bytes of an answer.
    pub(crate) fn size(&self) -> usize {
        self.answer.len()
    }
}

/// hfctl's request for this document.
fn request(input: &str) -> Vec<u8> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"hf.getRequestStatus","params":{{"input":{input}}}}}"#);
    let head = "POST / HTTP/1.1\r\nhost: hfd\r\ncontent-type: application/json\r\naccept: application/json\r\n";
    format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn exchange(socket: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("hfd runs");
    stream.write_all(request).expect("hfd reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("hfd answers");
    answer
}
