//! What a request asks for, in the words of RBAC: verb, resource, namespace, name.

use serde_json::Value;

use super::wire::Incoming;

/// A request as counters and faults see it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(super) verb: &'static str,
    /// Plural name, with the subresource behind a slash; for a path outside the APIs the path itself.
    pub(super) resource: String,
    /// Empty for what is in no namespace or in all.
    pub(super) namespace: String,
    /// Name in the path, or in the body of a create; else empty.
    pub(super) name: String,
    /// Labels of the object to be created, or the label selector of a list or watch; `None` when they are those of the
    /// object that is there.
    pub(super) labels: Option<Vec<String>>,
    /// `resourceVersion` of the query.
    pub(super) version: Option<u64>,
}

impl Request {
    /// Reads a request's line and, for a create, its body.
    pub(super) fn read(incoming: &Incoming) -> Self {
        let (path, query) = incoming.target.split_once('?').unwrap_or((&incoming.target, ""));
        let query = Query(query);
        let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (namespace, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => match rest {
                ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
                _ => ("", rest),
            },
            _ => ("", &[][..]),
        };
        let (resource, name) = match rest {
            [] => (path.to_owned(), ""),
            [plural] => ((*plural).to_owned(), ""),
            [plural, name] => ((*plural).to_owned(), *name),
            [plural, name, sub @ ..] => (format!("{plural}/{}", sub.join("/")), *name),
        };
        let is_collection = name.is_empty() && !rest.is_empty();
        let watches = matches!(query.value("watch").as_str(), "1" | "true");
        let verb = match (incoming.method.as_str(), is_collection) {
            ("GET", true) if watches => "watch",
            ("GET", true) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "get",
        };
        let mut request = Self {
            verb,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: None,
            version: query.value("resourceVersion").parse().ok(),
            resource,
        };
        match verb {
            "list" | "watch" | "deletecollection" => request.labels = Some(vec![query.value("labelSelector")]),
            "create" if !request.resource.contains('/') => request.read_object(&incoming.body),
            _ => {}
        }
        request
    }

    /// The key under which it is counted.
    pub(super) fn counter(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    fn read_object(&mut self, body: &[u8]) {
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        let metadata = &object["metadata"];
        metadata["name"].as_str().unwrap_or_default().clone_into(&mut self.name);
        self.labels = Some(labels(&metadata["labels"]));
    }
}

/// Labels as `key=value`.
pub(super) fn labels(map: &Value) -> Vec<String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect()
}

struct Query<'a>(&'a str);

impl Query<'_> {
    /// A parameter, or "".
    fn value(&self, name: &str) -> String {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(&value.replace('+', " "))).unwrap_or_default()
    }
}

/// Percent-decoding; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escape = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderMap;

    use super::*;

    fn read(method: &str, target: &str, body: &str) -> Request {
        let incoming = Incoming {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        Request::read(&incoming)
    }

    #[test]
    fn requests_are_named_as_rbac_names_them() {
        for (method, target, counter) in [
            ("GET", "/api/v1/pods", "list pods"),
            ("GET", "/api/v1/namespaces/n/pods?watch=true&x=y", "watch pods"),
            ("GET", "/api/v1/namespaces/n/pods/p", "get pods"),
            ("POST", "/api/v1/namespaces/n/pods", "create pods"),
            ("POST", "/api/v1/namespaces/n/pods/p/eviction", "create pods/eviction"),
            ("DELETE", "/api/v1/namespaces/n/pods/p", "delete pods"),
            ("DELETE", "/api/v1/namespaces/n/pods", "deletecollection pods"),
            ("GET", "/api/v1/namespaces/n", "get namespaces"),
            ("GET", "/api/v1/nodes?watch=1", "watch nodes"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "create selfsubjectaccessreviews"),
            ("GET", "/version", "get /version"),
        ] {
            assert_eq!(read(method, target, "").counter(), counter);
        }
    }

    #[test]
    fn names_labels_and_versions_are_found_where_they_stand() {
        let created = read("POST", "/api/v1/namespaces/n/pods", r#"{"metadata":{"name":"p","labels":{"app":"a"}}}"#);
        assert_eq!((created.name.as_str(), created.labels), ("p", Some(vec!["app=a".to_owned()])));
        let watched = read("GET", "/api/v1/namespaces/n/pods?watch=1&labelSelector=app%3Da&resourceVersion=7", "");
        assert_eq!((watched.labels, watched.version), (Some(vec!["app=a".to_owned()]), Some(7)));
        assert_eq!(decode("a%2Cb%"), "a,b%");
    }
}
