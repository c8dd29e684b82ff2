//! The least that speaks HTTP/1.1 over TLS: one blocking connection, for a floor that nothing of a client library weighs
//! upon.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Result, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tests::testbed::{Facts, Ground};

/// An API server and who we are to it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    address: String,
    tls: Arc<ClientConfig>,
    token: String,
    namespace: String,
}

impl Server {
    /// The testbed's server, with the service account of that namespace: the same that hfd would have.
    pub(crate) fn new(facts: &Facts, ground: &Ground) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = fs::read(&facts.authority).expect("the testbed's certificates are there");
        let authority = CertificateDer::from_pem_slice(&authority).expect("its authority is PEM");
        roots.add(authority).expect("its authority is a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.expect("ring knows them").with_root_certificates(roots).with_no_client_auth();
        Self {
            address: facts.server.trim_start_matches("https://").to_owned(),
            tls: Arc::new(tls),
            token: ground.token().to_owned(),
            namespace: ground.namespace().to_owned(),
        }
    }

    /// Path of the namespace's pods.
    pub(crate) fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    /// A connection, with its handshake done.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host).to_owned();
        let name = ServerName::try_from(host).expect("the testbed's server has an address");
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), name).expect("the configuration is good");
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Connection { stream: BufReader::with_capacity(64 << 10, StreamOwned::new(tls, stream)), line: Vec::new() })
    }

    /// The bytes of a request.
    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: application/json\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            self.token,
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    line: Vec<u8>,
}

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunks,
}

impl Connection {
    /// Sends a request, takes in the whole answer, and gives its code.
    pub(crate) fn exchange(&mut self, request: &[u8], answer: &mut Vec<u8>) -> Result<u16> {
        let (code, length) = self.send(request)?;
        answer.clear();
        match length {
            Length::Bytes(count) => {
                answer.resize(count, 0);
                self.stream.read_exact(answer)?;
            }
            Length::Chunks => while self.chunk(answer)? {},
        }
        Ok(code)
    }

    /// Opens a stream of lines and gives its code; [`Self::chunk`] gives what comes.
    pub(crate) fn open(&mut self, request: &[u8]) -> Result<u16> {
        Ok(self.send(request)?.0)
    }

    /// Appends the next chunk; `false` at the end.
    pub(crate) fn chunk(&mut self, to: &mut Vec<u8>) -> Result<bool> {
        let size = std::str::from_utf8(self.line()?).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or_else(|| std::io::Error::other("no size of a chunk"))?;
        let from = to.len();
        to.resize(from + size, 0);
        self.stream.read_exact(&mut to[from..])?;
        self.line()?;
        Ok(size > 0)
    }

    fn send(&mut self, request: &[u8]) -> Result<(u16, Length)> {
        self.stream.get_mut().write_all(request)?;
        self.stream.get_mut().flush()?;
        let code = std::str::from_utf8(self.line()?).ok().and_then(|head| head.get(9..12)?.parse().ok());
        let code = code.ok_or_else(|| std::io::Error::other("no HTTP answer"))?;
        let mut length = Length::Chunks;
        loop {
            let field = self.line()?.to_ascii_lowercase();
            let field = String::from_utf8_lossy(&field);
            if field.trim().is_empty() {
                return Ok((code, length));
            }
            if let Some(count) = field.strip_prefix("content-length:") {
                length = Length::Bytes(count.trim().parse().map_err(std::io::Error::other)?);
            }
        }
    }

    fn line(&mut self) -> Result<&[u8]> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        Ok(&self.line)
    }
}
