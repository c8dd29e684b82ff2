//! What is taken out of an answer before it is compared: what a server chooses for itself. Each rule says what it
//! replaces; nothing else is touched, and what a rule replaces must still be there on both sides.

use serde_json::{Map, Value, json};
use tests::http::Response;

/// Header fields that a client of the API reads. All others (dates, audit ids, flow control's ids) are the server's own.
const HEADERS: [&str; 5] = ["content-type", "retry-after", "warning", "www-authenticate", "cache-control"];

/// What the testbed adds so that the pods of a namespace stay on its nodes: a selector to each pod, and to the namespace
/// the annotation that asks for it.
const ADDED: [(&str, &str); 2] =
    [("nodeSelector", "hfd.test/ground"), ("annotations", "scheduler.alpha.kubernetes.io/node-selector")];

/// How far texts are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Numbers in texts must be equal.
    Kept,
    /// Each run of digits in a text counts as `#`: for versions and numbers of nodes.
    Masked,
}

/// An answer as it is compared: `{"code", "headers", "body"}`; a body that is no JSON is a text.
pub(crate) fn answer(response: &Response, numbers: Numbers) -> Value {
    let headers: Map<String, Value> = HEADERS
        .into_iter()
        .filter_map(|name| {
            let values: Vec<_> =
                response.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| (name.to_owned(), values.join(" | ").into()))
        })
        .collect();
    let body = match response.json() {
        Ok(body) => normal("", &body, numbers),
        Err(_) => text(&String::from_utf8_lossy(&response.body), numbers).into(),
    };
    json!({"code": response.code, "headers": normal("", &Value::from(headers), numbers), "body": body})
}

/// A value that stands under `key`, normalised with all in it.
pub(crate) fn normal(key: &str, value: &Value, numbers: Numbers) -> Value {
    match value {
        Value::Object(fields) => {
            // Field ownership is for server-side apply, which hfd does not use; the sandbox keeps none.
            let fields = fields.iter().filter(|(name, value)| *name != "managedFields" && !is_only_ours(name, value));
            let mut normal: Map<_, _> =
                fields.map(|(name, value)| (name.clone(), normal(name, value, numbers))).collect();
            // The testbed has pods evicted from a lost node after 5 s, so that tests need not wait for 300 s.
            if is_default_toleration(&normal) {
                normal.insert("tolerationSeconds".to_owned(), json!("<default>"));
            }
            if let Some(added) = ADDED.iter().find(|(parent, _)| *parent == key) {
                normal.remove(added.1);
            }
            normal.into()
        }
        Value::Array(items) => items.iter().map(|item| normal(key, item, numbers)).collect(),
        Value::String(written) if !written.is_empty() => match key {
            "resourceVersion" if is_number(written) => json!("<version>"),
            "podIP" | "hostIP" | "ip" => json!("<address>"),
            "nodeName" => json!("<node>"),
            "continue" => json!("<token>"),
            _ => text(written, numbers).into(),
        },
        other => other.clone(),
    }
}

/// Whether it has nothing but what the testbed adds there.
fn is_only_ours(name: &str, value: &Value) -> bool {
    let ours = ADDED.iter().find(|(parent, _)| *parent == name);
    ours.is_some_and(|(_, ours)| value.as_object().is_some_and(|fields| fields.keys().all(|key| key == ours)))
}

/// Whether it is one of the two tolerations that admission adds to each pod.
fn is_default_toleration(fields: &Map<String, Value>) -> bool {
    let names = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let added = names.iter().any(|name| fields.get("key").is_some_and(|key| key == name));
    added && fields.get("tolerationSeconds").is_some_and(|seconds| *seconds == 300 || *seconds == 5)
}

/// A text: UIDs, times, users and (if wanted) numbers in it are replaced.
pub(crate) fn text(written: &str, numbers: Numbers) -> String {
    let mut normal = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(first) = rest.chars().next() {
        let at_word_start = !normal.chars().next_back().is_some_and(|last| last.is_ascii_alphanumeric());
        let (replacement, length) = if at_word_start && is_uid(rest) {
            ("<uid>", 36)
        } else if at_word_start && let Some(length) = time_length(rest) {
            (if length == 20 { "<time>" } else { "<time with fraction>" }, length)
        } else if let Some(length) = user_length(rest) {
            (r#"User "<user>""#, length)
        } else if numbers == Numbers::Masked && first.is_ascii_digit() {
            ("#", rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len()))
        } else {
            normal.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        normal.push_str(replacement);
        rest = &rest[length..];
    }
    normal
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text begins with a UUID.
fn is_uid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.len() >= 36
        && bytes[..36].iter().enumerate().all(fits)
        && !bytes.get(36).is_some_and(u8::is_ascii_alphanumeric)
}

/// Length of the time (RFC 3339, in UTC) with which a text begins.
fn time_length(text: &str) -> Option<usize> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let fits = |(byte, form): (&u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form };
    if bytes.len() < 20 || !bytes.iter().zip(FORM).all(fits) {
        return None;
    }
    let end = bytes.iter().position(|byte| *byte == b'Z')?;
    let fraction = &bytes[FORM.len()..end];
    (fraction.is_empty() || fraction[0] == b'.' && fraction[1..].iter().all(u8::is_ascii_digit)).then_some(end + 1)
}

/// Length of `User "NAME"` at the beginning of a text: the sandbox's one user has another name than hfd's account.
fn user_length(text: &str) -> Option<usize> {
    let name = text.strip_prefix(r#"User ""#)?;
    Some(text.len() - name.len() + name.find('"')? + 1)
}

#[test]
fn what_a_server_chooses_is_replaced_in_texts_and_nothing_else_is() {
    let uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let written = format!(r#"User "a:b" saw {uid} at 2026-01-02T03:04:05Z, 2026-01-02T03:04:05.123456Z and 63 bytes"#);
    let expected = r#"User "<user>" saw <uid> at <time>, <time with fraction> and 63 bytes"#;
    assert_eq!(text(&written, Numbers::Kept), expected);
    assert_eq!(text("0/12 nodes, 3 left", Numbers::Masked), "#/# nodes, # left");
}
