//! The bytes with which hfd creates a pod: taken from hfd itself, which is shown an API server that has nothing but an
//! ear for them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc::{self, Sender},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{Daemon, DaemonSpec, Template, template};

use crate::hfd;

/// Body of a create, with the places of what differs from machine to machine.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    text: String,
    request: String,
    digits: usize,
}

impl Body {
    /// Asks an hfd of its own for one machine in `namespace`, and keeps what it sent.
    pub(crate) fn of_hfd(namespace: &str, template: &Template) -> Self {
        let dir = tempfile::Builder::new().prefix("hfd-body-").tempdir().expect("a temporary directory can be made");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be listened on");
        let address = listener.local_addr().expect("it listens");
        let (bodies_tx, bodies) = mpsc::channel();
        // They end with this program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bodies_tx = bodies_tx.clone();
                thread::spawn(move || drop(serve(&stream, &bodies_tx)));
            }
        });
        let kubeconfig = dir.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "ear",
            "clusters": [{"name": "ear", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "ear", "user": {}}],
            "contexts": [{"name": "ear", "context": {"cluster": "ear", "user": "ear", "namespace": namespace}}],
        });
        template::replace(&kubeconfig, text.to_string().as_bytes());
        let templates = dir.path().join("templates.json");
        template::write_file(&templates, std::slice::from_ref(template));
        let mut spec = DaemonSpec::new(dir.path(), &kubeconfig, &templates);
        spec.namespace = namespace.to_owned();
        let daemon = Daemon::start(spec);
        hfd::wait_serving(&daemon);
        hfd::request(&daemon, template.id(), 1);
        let text = bodies.recv_timeout(Duration::from_secs(60)).expect("hfd creates what it was asked for");
        let pod: Value = serde_json::from_str(&text).expect("a pod is JSON");
        let name = pod["metadata"]["name"].as_str().expect("hfd names its pods");
        let (request, ordinal) = name.rsplit_once('-').expect("a name has an ordinal");
        let body = Self { request: request.to_owned(), digits: ordinal.len(), text };
        assert_eq!(body.pod(0, 0).len(), body.text.len(), "another body than hfd's: {}", body.pod(0, 0));
        body
    }

    /// A name for a pod of that round, as long as hfd's.
    pub(crate) fn name(&self, round: usize, ordinal: usize) -> String {
        format!("{}-{ordinal:0width$}", self.renamed(round), width = self.digits)
    }

    /// The body for a pod of that round.
    pub(crate) fn pod(&self, round: usize, ordinal: usize) -> String {
        let first = format!("{}-{:0width$}", self.request, 0, width = self.digits);
        self.text
            .replace(&first, &self.name(round, ordinal))
            .replace(&self.request, &self.renamed(round))
            .replace(r#""hfd/ordinal":"0""#, &format!(r#""hfd/ordinal":"{ordinal}""#))
    }

    /// Bytes of the first one.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    fn renamed(&self, round: usize) -> String {
        format!("{}{round:04}", &self.request[..self.request.len() - 4])
    }
}

fn serve(stream: &TcpStream, bodies: &Sender<String>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
        loop {
            let mut field = String::new();
            lines.read_line(&mut field)?;
            let field = field.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(count) = field.strip_prefix("content-length:") {
                length = count.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let answer = if head.starts_with("POST") && target.contains("/pods") {
            let _nobody = bodies.send(String::from_utf8_lossy(&body).into_owned()); // the first one is enough
            None
        } else if target.contains("watch=") {
            write!(
                &*stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            )?;
            continue;
        } else if target.contains("/pods") {
            Some(json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []}))
        } else if head.starts_with("GET") && target.contains("/namespaces/") {
            let uid = "11111111-2222-4333-8444-555555555555";
            Some(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ear", "uid": uid}}))
        } else {
            None
        };
        let code = if answer.is_some() { "200 OK" } else { "503 Service Unavailable" };
        let text = answer.unwrap_or_default().to_string();
        let kind = "content-type: application/json";
        write!(&*stream, "HTTP/1.1 {code}\r\n{kind}\r\ncontent-length: {}\r\n\r\n{text}", text.len())?;
    }
}
