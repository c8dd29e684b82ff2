//! A request as the API understands it: verb, resource, names, query and body, read from the HTTP request once.

use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Map, Value};

use crate::json;
use crate::object::Resource;
use crate::refusal::Refusal;
use crate::render::Representation;

/// The verbs RBAC and the counters name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The name in RBAC rules.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// What the path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Resource(Resource),
    AccessReview,
    /// Discovery, health, version, or nothing.
    Page,
}

/// The body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Empty,
    /// JSON that has the fields `apiVersion` and `kind`, if at all, as texts; `null` counts as an empty object.
    Json(Value),
    /// No such JSON: what is wrong, and the beginning of the body.
    Broken {
        why: String,
        excerpt: String,
    },
    /// Of a type that the server does not read.
    Unreadable(Refusal),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) target: Target,
    /// The plural name as counters and RBAC use it, with the subresource; for pages the path.
    pub(crate) resource_name: String,
    pub(crate) subresource: String,
    /// Empty for all namespaces and for cluster-wide resources.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) representation: Result<Representation, Refusal>,
    pub(crate) body: Body,
    query: Vec<(String, String)>,
}

impl Request {
    /// Reads method, path, query and headers. `Err` for paths inside an API group that lead nowhere.
    pub(crate) fn parse(
        method: &Method,
        path: &str,
        query: &str,
        accept: &str,
        content_type: &str,
    ) -> Result<Self, Refusal> {
        let query = parse_query(query);
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let mut request = Self {
            verb: Verb::Get,
            target: Target::Page,
            resource_name: path.to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            path: path.to_owned(),
            content_type: content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
            representation: Representation::negotiate(accept),
            body: Body::Empty,
            query,
        };
        match segments.as_slice() {
            ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => {
                request.target = Target::AccessReview;
                "selfsubjectaccessreviews".clone_into(&mut request.resource_name);
            }
            ["api", "v1", "namespaces", namespace, plural, rest @ ..] => {
                request.namespace = (*namespace).to_owned();
                request.resource(plural, rest)?;
                if matches!(request.target, Target::Resource(resource) if !resource.is_namespaced()) {
                    return Err(Refusal::no_such_path());
                }
            }
            ["api", "v1", plural, rest @ ..] => {
                request.resource(plural, rest)?;
                let is_namespaced = matches!(request.target, Target::Resource(resource) if resource.is_namespaced());
                if is_namespaced && !rest.is_empty() {
                    return Err(Refusal::no_such_path());
                }
            }
            _ => {}
        }
        request.verb = request.verb_of(method)?;
        Ok(request)
    }

    fn resource(&mut self, plural: &str, rest: &[&str]) -> Result<(), Refusal> {
        let resource = Resource::from_plural(plural).ok_or_else(Refusal::no_such_path)?;
        self.target = Target::Resource(resource);
        plural.clone_into(&mut self.resource_name);
        match rest {
            [] => {}
            [name] => self.name = (*name).to_owned(),
            [name, subresource] if (resource, *subresource) == (Resource::Pods, "eviction") => {
                self.name = (*name).to_owned();
                self.subresource = (*subresource).to_owned();
                self.resource_name = format!("{plural}/{subresource}");
            }
            _ => return Err(Refusal::no_such_path()),
        }
        Ok(())
    }

    fn verb_of(&self, method: &Method) -> Result<Verb, Refusal> {
        let is_collection = self.name.is_empty();
        let watches = self.flag("watch");
        Ok(match (method.as_str(), is_collection) {
            ("GET" | "HEAD", _) if self.target == Target::Page => Verb::Get,
            ("POST", _) if self.target == Target::AccessReview => Verb::Create,
            _ if !matches!(self.target, Target::Resource(_)) => return Err(Refusal::method_not_allowed()),
            ("GET", _) if !self.subresource.is_empty() => return Err(Refusal::method_not_allowed()),
            ("GET", true) if watches => Verb::Watch,
            ("GET", true) => Verb::List,
            ("GET", false) => Verb::Get,
            ("POST", true) if !self.is_cross_namespace() => Verb::Create,
            ("POST", false) if !self.subresource.is_empty() => Verb::Create,
            ("PUT", false) => Verb::Update,
            ("PATCH", false) => Verb::Patch,
            ("DELETE", false) => Verb::Delete,
            ("DELETE", true) if !self.is_cross_namespace() => Verb::DeleteCollection,
            _ => return Err(Refusal::method_not_allowed()),
        })
    }

    /// Whether it is about a namespaced resource in all namespaces.
    fn is_cross_namespace(&self) -> bool {
        self.namespace.is_empty() && matches!(self.target, Target::Resource(resource) if resource.is_namespaced())
    }

    /// Takes the body.
    pub(crate) fn set_body(&mut self, body: &Bytes) {
        let broken = |why: &str| Body::Broken { why: why.to_owned(), excerpt: json::excerpt(body) };
        self.body = if body.is_empty() {
            Body::Empty
        } else if !matches!(self.content_type.as_str(), "" | "application/json") && self.verb != Verb::Patch {
            Body::Unreadable(Refusal::unsupported_media_type())
        } else {
            match serde_json::from_slice(body) {
                Err(error) => broken(&json::complaint(&error, body)),
                Ok(Value::Null) => Body::Json(Value::Object(Map::new())),
                Ok(value) => match json::no_version_and_kind(&value).filter(|_| self.verb != Verb::Patch) {
                    Some(why) => broken(&why),
                    None => Body::Json(value),
                },
            }
        };
    }

    /// A query parameter, or "".
    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a query parameter.
    pub(crate) fn queries(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a query parameter switches something on: by any word but these two, even by none.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.queries(name).first().map(|value| value.to_lowercase());
        value.is_some_and(|value| value != "false" && value != "0")
    }

    /// A query parameter that is a number; `None` if it is not given.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.query(name) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| Refusal::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        }
    }

    /// Whether nothing is to be stored.
    pub(crate) fn is_dry_run(&self) -> bool {
        let in_body = match &self.body {
            Body::Json(value) if matches!(self.verb, Verb::Delete | Verb::DeleteCollection) => {
                value["dryRun"][0] == "All"
            }
            _ => false,
        };
        in_body || self.query("dryRun") == "All"
    }

    /// The name of the object it is about: from the path, or from the body of a create.
    pub(crate) fn object_name(&self) -> &str {
        match &self.body {
            Body::Json(value) if self.name.is_empty() && self.verb == Verb::Create => {
                value["metadata"]["name"].as_str().unwrap_or_default()
            }
            _ => &self.name,
        }
    }

    /// The key under which counters count it.
    pub(crate) fn counter(&self) -> String {
        format!("{} {}", self.verb.name(), self.resource_name)
    }
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        })
        .collect()
}

/// Percent-decoding; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = (bytes[index] == b'%').then(|| text.get(index + 1..index + 3)).flatten();
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        assert_eq!(decode("a%3Db%2cc%"), "a=b,c%");
        assert_eq!(
            parse_query("x=a+b&y&z=%21"),
            [("x".into(), "a b".into()), ("y".into(), String::new()), ("z".into(), "!".into())]
        );
    }

    #[test]
    fn paths_and_methods_become_verbs_and_resources() {
        for (method, path, query, counter) in [
            ("GET", "/api/v1/pods", "", "list pods"),
            ("GET", "/api/v1/namespaces/n/pods", "watch=true", "watch pods"),
            ("GET", "/api/v1/namespaces/n/pods/p", "", "get pods"),
            ("POST", "/api/v1/namespaces/n/pods", "", "create pods"),
            ("POST", "/api/v1/namespaces/n/pods/p/eviction", "", "create pods/eviction"),
            ("DELETE", "/api/v1/nodes/n", "", "delete nodes"),
            ("GET", "/api/v1/namespaces/n", "", "get namespaces"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", "create selfsubjectaccessreviews"),
            ("GET", "/version", "", "get /version"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let request = Request::parse(&method, path, query, "", "").expect(path);
            assert_eq!(request.counter(), counter);
        }
    }

    #[test]
    fn paths_and_methods_that_do_not_exist_are_refused() {
        for (method, path, code) in [
            (Method::GET, "/api/v1/nonsense", 404),
            (Method::GET, "/api/v1/pods/p", 404),
            (Method::GET, "/api/v1/namespaces/n/pods/p/log", 404),
            (Method::GET, "/api/v1/namespaces/n/nodes", 404),
            (Method::POST, "/api/v1/pods", 405),
            (Method::PUT, "/api/v1/namespaces/n/pods", 405),
            (Method::POST, "/version", 405),
        ] {
            assert_eq!(Request::parse(&method, path, "", "", "").expect_err(path).code, code, "{path}");
        }
    }
}
