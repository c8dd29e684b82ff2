//! A small client of the Kubernetes HTTP API, for the tests' own eyes and hands: the simulated cluster (plain HTTP) and a
//! real API server (TLS) alike. It shares nothing with the client that `hfd` uses, so that neither can hide a fault of
//! the other.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{
        self, HeaderMap, HeaderValue, Request,
        header::{ACCEPT, AUTHORIZATION},
    },
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

/// Longest silence of the server before a call is given up.
const IDLE: Duration = Duration::from_secs(60);
/// Largest answer that is read: a list of 150,000 pods stays below it.
const LARGEST_ANSWER: u64 = 2 << 30;

/// A server and what it knows us by. Clones share one pool of connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base: String,
    token: Option<String>,
    agent: Agent,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// HTTP status code.
    pub code: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body, decoded from chunks where it came in chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON; `null` for an empty one.
    ///
    /// # Errors
    /// When the body is something else.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .with_context(|| format!("answer {} is not JSON: {}", self.code, String::from_utf8_lossy(&self.body)))
    }
}

/// What a TLS server is checked by, and what proves who we are to it. All PEM.
#[derive(Debug, Default, Clone)]
pub struct Tls<'a> {
    /// Certificate of the authority that signed the server's certificate.
    pub authority: &'a [u8],
    /// Our certificate and its private key.
    pub identity: Option<(&'a [u8], &'a [u8])>,
}

impl Endpoint {
    /// A server on plain HTTP; `base` is `http://host:port`.
    pub fn plain(base: &str, token: Option<&str>) -> Self {
        Self { base: base.to_owned(), token: token.map(str::to_owned), agent: agent(None) }
    }

    /// A server on TLS; `base` is `https://host:port`.
    ///
    /// # Errors
    /// When a certificate or key can't be read.
    pub fn tls(base: &str, tls: &Tls<'_>, token: Option<&str>) -> Result<Self> {
        let authority = Certificate::from_pem(tls.authority).context("the authority's certificate")?;
        let mut config = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(vec![authority])));
        if let Some((certificate, key)) = tls.identity {
            let certificate = Certificate::from_pem(certificate).context("the client's certificate")?;
            let key = PrivateKey::from_pem(key).context("the client's key")?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&[certificate], key)));
        }
        Ok(Self { base: base.to_owned(), token: token.map(str::to_owned), agent: agent(Some(config.build())) })
    }

    /// The server that the current context of a kubeconfig names, and the user's token or certificate there.
    /// Certificates and keys may stand in the file or in files of their own.
    ///
    /// # Errors
    /// When the file can't be read or lacks something.
    pub fn from_kubeconfig(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let config: Value = serde_saphyr::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let current = config["current-context"].as_str().context("no current-context")?;
        let context = named(&config["contexts"], current, "context")?;
        let cluster = named(&config["clusters"], context["cluster"].as_str().unwrap_or_default(), "cluster")?;
        let user = named(&config["users"], context["user"].as_str().unwrap_or_default(), "user")?;
        let server = cluster["server"].as_str().context("the cluster has no server")?.trim_end_matches('/');
        let token = user["token"].as_str();
        if let Some(rest) = server.strip_prefix("http://") {
            // kubectl sends a token over plain HTTP only from the address, so the sandbox writes it there too.
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            return Ok(Self::plain(&format!("http://{host}"), token));
        }
        let authority = pem(cluster, "certificate-authority")?.context("the cluster has no certificate authority")?;
        let certificate = pem(user, "client-certificate")?;
        let key = pem(user, "client-key")?;
        let identity = certificate.as_deref().zip(key.as_deref());
        Self::tls(server, &Tls { authority: &authority, identity }, token)
    }

    /// The same server, known by another token (or by none).
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The token, if it has one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// `http://host:port` or `https://host:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.base.split_once("//").map_or(&self.base, |(_, address)| address)
    }

    /// Makes one call; any answer is an answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        self.send(method, path, kind, body.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    /// Makes one call with a body of any kind and form.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<Response> {
        let answer = self.open(method, path, content_type, body).with_context(|| format!("{method} {path}"))?;
        let (head, body) = answer.into_parts();
        let body = body.into_with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = body.with_context(|| format!("{method} {path}: the answer's body"))?;
        Ok(Response { code: head.status.as_u16(), headers: head.headers, body })
    }

    /// Makes one call that must succeed (2xx) and gives its JSON.
    ///
    /// # Errors
    /// When the call fails or is answered with another code.
    pub fn json(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let response = self.call(method, path, body)?;
        if !(200..300).contains(&response.code) {
            bail!("{method} {path}: {} {}", response.code, String::from_utf8_lossy(&response.body));
        }
        response.json()
    }

    /// Makes a GET with this `Accept` header.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn get_accepting(&self, path: &str, accept: &str) -> Result<Response> {
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT, HeaderValue::from_str(accept)?);
        if let Some(token) = &self.token {
            fields.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
        }
        let (head, body) = self.pass("GET", path, &fields, b"").with_context(|| format!("GET {path}"))?.into_parts();
        let body = body.into_with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = body.with_context(|| format!("GET {path}: the answer's body"))?;
        Ok(Response { code: head.status.as_u16(), headers: head.headers, body })
    }

    /// Opens a watch (a GET whose answer is a stream of JSON lines) and gives its events as they come. The stream ends
    /// when the server ends it; a broken one ends with an error.
    ///
    /// # Errors
    /// When the watch is refused.
    pub fn watch(&self, path: &str) -> Result<Events> {
        let answer = self.open("GET", path, "application/json", b"").with_context(|| format!("watch {path}"))?;
        let code = answer.status().as_u16();
        let mut body = answer.into_body();
        if code != 200 {
            bail!("watch {path}: {code} {}", body.read_to_string().unwrap_or_default());
        }
        Ok(Events { lines: BufReader::new(body.into_with_config().limit(u64::MAX).reader()) })
    }

    /// Sends a request and gives the answer with its body still to be read.
    ///
    /// # Errors
    /// When the connection breaks before the answer's head.
    pub fn open(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<http::Response<Body>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Accept", "application/json")
            .header("Content-Type", content_type);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        // A POST without a body still says that its length is 0; a GET says nothing.
        if body.is_empty() && !matches!(method, "POST" | "PUT" | "PATCH") {
            return Ok(self.agent.run(request.body(())?)?);
        }
        Ok(self.agent.run(request.body(body)?)?)
    }

    /// Hands a request on with just these header fields (not even this endpoint's own token), and gives the answer with
    /// its body still to be read.
    ///
    /// # Errors
    /// When the connection breaks before the answer's head.
    pub fn pass(&self, method: &str, path: &str, fields: &HeaderMap, body: &[u8]) -> Result<http::Response<Body>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in fields {
            request = request.header(name, value);
        }
        // A POST without a body still says that its length is 0; a GET says nothing.
        if body.is_empty() && !matches!(method, "POST" | "PUT" | "PATCH") {
            return Ok(self.agent.run(request.body(())?)?);
        }
        Ok(self.agent.run(request.body(body)?)?)
    }
}

/// The events of a watch.
pub struct Events {
    lines: BufReader<ureq::BodyReader<'static>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Events")
    }
}

impl Iterator for Events {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).with_context(|| format!("an event that is no JSON: {line}"))),
            Err(error) => Some(Err(error).context("the watch broke")),
        }
    }
}

fn agent(tls: Option<TlsConfig>) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // Also what lets a DELETE have a body: the options of the deletion.
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(IDLE))
        .timeout_recv_response(Some(IDLE))
        .max_idle_connections(1024)
        .max_idle_connections_per_host(1024);
    if let Some(tls) = tls {
        config = config.tls_config(tls);
    }
    config.build().new_agent()
}

fn named<'a>(list: &'a Value, name: &str, inner: &str) -> Result<&'a Value> {
    let found = list.as_array().into_iter().flatten().find(|entry| entry["name"] == name);
    found.map(|entry| &entry[inner]).with_context(|| format!("no {inner} named {name:?}"))
}

/// PEM text that stands in the file as base64 or in a file of its own.
fn pem(section: &Value, key: &str) -> Result<Option<Vec<u8>>> {
    if let Some(data) = section[format!("{key}-data")].as_str() {
        use base64::Engine as _;
        return Ok(Some(base64::engine::general_purpose::STANDARD.decode(data).with_context(|| key.to_owned())?));
    }
    let Some(file) = section[key].as_str() else { return Ok(None) };
    Ok(Some(std::fs::read(file).with_context(|| file.to_owned())?))
}
