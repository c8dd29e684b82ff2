//! A forward proxy for HTTPS: it takes CONNECT, notes who was asked for, and passes bytes on. It resolves every name to
//! loopback, so that a name which nobody else can resolve is reached through it alone.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A running proxy. Dropped, it is away for good.
#[derive(Debug)]
pub(super) struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    away: AtomicBool,
    over: AtomicBool,
    asked: Mutex<Vec<String>>,
    tunnels: Mutex<Vec<TcpStream>>,
}

impl ConnectProxy {
    /// Starts one on a free port of loopback.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::<Shared>::default();
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if for_thread.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                // A tunnel ends with either side; an error is just its end.
                thread::spawn(move || drop(serve(&shared, stream)));
            }
        });
        Self { address, shared }
    }

    /// `http://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port` of every tunnel that was asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("no thread of the proxy panics").clone()
    }

    /// Away: cuts all tunnels and closes new connections without an answer.
    pub(super) fn away(&self, on: bool) {
        self.shared.away.store(on, Ordering::Relaxed);
        if on {
            for tunnel in self.shared.tunnels.lock().expect("no thread of the proxy panics").drain(..) {
                // It may have ended by itself.
                drop(tunnel.shutdown(Shutdown::Both));
            }
        }
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.away(true);
        // Wakes the listener, so that it sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(shared: &Shared, client: TcpStream) -> io::Result<()> {
    if shared.away.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut head = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let is_connect = line.starts_with("CONNECT ");
    while line.trim() != "" {
        line.clear();
        head.read_line(&mut line)?;
    }
    let mut client = client;
    let port = target.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let Some(port) = port.filter(|_| is_connect) else {
        return client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    };
    shared.asked.lock().expect("no thread of the proxy panics").push(target);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    {
        let mut tunnels = shared.tunnels.lock().expect("no thread of the proxy panics");
        tunnels.push(client.try_clone()?);
        tunnels.push(server.try_clone()?);
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (from_server, to_client) = (server.try_clone()?, client);
    // The client speaks only after the answer, so nothing of its TLS is in the head's buffer.
    let back = thread::spawn(move || pass(from_server, to_client));
    pass(head.into_inner(), server)?;
    back.join().unwrap_or(Ok(()))
}

fn pass(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let passed = io::copy(&mut from, &mut to);
    drop(to.shutdown(Shutdown::Both));
    passed.map(drop)
}
