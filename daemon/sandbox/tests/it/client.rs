//! A small HTTP client and the scene every test starts from.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hfd_sandbox::{Cluster, Options};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Where pods live in these tests.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// A cluster and a client of it.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
}

impl Scene {
    /// A cluster with these options.
    pub(crate) async fn with(options: Options) -> Result<Self> {
        let cluster = Cluster::start(options).await?;
        let client = Client::of(&cluster);
        Ok(Self { cluster, client })
    }

    /// A cluster of three nodes that starts and stops pods in about a second.
    pub(crate) async fn small() -> Result<Self> {
        Self::with(small()).await
    }
}

/// Three nodes with ten pods and four cores each.
pub(crate) fn small() -> Options {
    Options { nodes: 3, pods_per_node: 10, node_cpu: 4, node_memory_gib: 8, seed: 1, ..Options::default() }
}

/// The client. Each request has its own connection.
pub(crate) struct Client {
    address: String,
    token: String,
    connections: Mutex<JoinSet<()>>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
    /// `Null` if the body is not JSON.
    pub(crate) json: Value,
}

impl Client {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self {
            address: cluster.url().trim_start_matches("http://").to_owned(),
            token: cluster.token().to_owned(),
            connections: Mutex::default(),
        }
    }

    /// One request; `Err` if the connection broke.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        self.call_with(method, path, body.map(Value::to_string).unwrap_or_default(), &[]).await
    }

    /// One request with a raw body and more headers.
    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: String,
        headers: &[(&str, &str)],
    ) -> Result<Reply> {
        let response = self.send(method, path, body, headers).await?;
        let code = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Reply { code, retry_after, text, json })
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: String,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.connections.lock().expect("no test panics while it holds the lock").spawn(async move {
            // how the connection ends is seen by whoever reads the answer
            let _ = connection.await;
        });
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(path);
        request = request.header("host", &self.address);
        let mut all = vec![("authorization", format!("Bearer {}", self.token))];
        if !body.is_empty() {
            all.push(("content-type", "application/json".to_owned()));
        }
        for (name, value) in headers {
            all.retain(|(existing, _)| existing != name);
            all.push((name, (*value).to_owned()));
        }
        for (name, value) in all {
            request = request.header(name, value);
        }
        Ok(sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?)
    }

    /// A request that must succeed; its JSON.
    pub(crate) async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let reply = self.call(method, path, body).await?;
        if reply.code >= 300 {
            bail!("{method} {path}: {} {}", reply.code, reply.text);
        }
        Ok(reply.json)
    }

    /// Creates a pod with these annotations.
    pub(crate) async fn create(&self, name: &str, annotations: &Value) -> Result<Value> {
        self.must("POST", PODS, Some(&pod(name, annotations))).await
    }

    /// One pod, or `None`.
    pub(crate) async fn pod(&self, name: &str) -> Result<Option<Value>> {
        let reply = self.call("GET", &format!("{PODS}/{name}"), None).await?;
        Ok((reply.code == 200).then_some(reply.json))
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Result<Watch> {
        let response = self.send("GET", path, String::new(), &[]).await?;
        let code = response.status().as_u16();
        if code != 200 {
            let text = response.into_body().collect().await?.to_bytes();
            bail!("watch {path}: {code} {}", String::from_utf8_lossy(&text));
        }
        Ok(Watch { body: response.into_body(), buffer: Vec::new() })
    }

    /// Waits until the pod satisfies the condition, and returns it as it is then.
    pub(crate) async fn until(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut watch = self.watch(&format!("{PODS}?watch=1&fieldSelector=metadata.name%3D{name}")).await?;
        let waiting = async {
            loop {
                let event = watch.event().await?.with_context(|| format!("the watch of {name} ended"))?;
                if event["type"] != "DELETED" && condition(&event["object"]) {
                    return Ok(event["object"].clone());
                }
            }
        };
        // an hour of the cluster's time
        tokio::time::timeout(Duration::from_secs(3600), waiting)
            .await
            .with_context(|| format!("pod {name} never was {what}"))?
    }

    /// Waits until the pod is Ready.
    pub(crate) async fn until_ready(&self, name: &str) -> Result<Value> {
        self.until(name, "ready", |pod| condition(pod, "Ready")["status"] == "True").await
    }

    /// Waits until there is no such pod.
    pub(crate) async fn until_gone(&self, name: &str) -> Result<()> {
        let list = self.must("GET", PODS, None).await?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a version")?;
        if self.pod(name).await?.is_none() {
            return Ok(());
        }
        let path = format!("{PODS}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3D{name}");
        let mut watch = self.watch(&path).await?;
        while let Some(event) = watch.event().await? {
            if event["type"] == "DELETED" {
                return Ok(());
            }
        }
        bail!("the watch ended before {name} was gone")
    }
}

/// An open watch.
pub(crate) struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` when the stream ends, `Err` when it breaks.
    pub(crate) async fn event(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Type and name of the next event.
    pub(crate) async fn next(&mut self) -> Result<(String, String)> {
        let event = self.event().await?.context("the watch ended")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((text(&event["type"]), text(&event["object"]["metadata"]["name"])))
    }

    /// What was received of an unfinished frame.
    pub(crate) fn torn(&self) -> &[u8] {
        &self.buffer
    }
}

/// A pod to be created.
pub(crate) fn pod(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "registry.example/machine:1"}]}
    })
}

/// A condition of an object by its type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|condition| condition["type"] == kind)).unwrap_or(&Value::Null)
}
