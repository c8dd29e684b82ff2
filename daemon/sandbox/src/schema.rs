//! The types of Kubernetes, as far as a client may write them: what a request's JSON must look like, which of its fields
//! nobody knows, and which empty ones an answer leaves out.
//!
//! The table is made from Kubernetes' own Go types (`schema/generate.go`), so that a misspelt or mistyped field is found
//! wherever it stands, in the words of the real server's decoder.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::json;
use crate::quantity;

static TYPES: LazyLock<HashMap<&'static str, HashMap<&'static str, Field>>> =
    LazyLock::new(|| read(include_str!("../schema/schema.txt")));

/// One field of a type.
#[derive(Debug)]
struct Field {
    kind: &'static str,
    /// Left out of an answer when it is empty.
    optional: bool,
}

/// A decoded object.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its known fields, without what an answer leaves out.
    pub(crate) value: Value,
    /// Paths of the fields that nobody knows, in their order.
    pub(crate) unknown: Vec<String>,
}

/// Where the decoder is.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    /// The type whose field is being read.
    owner: &'a str,
    /// Names of the fields up to here: for type errors.
    fields: &'a str,
    /// The same with indexes and keys: for unknown fields.
    path: &'a str,
}

/// Reads an object of one of the table's types (`v1.Pod`).
///
/// # Errors
/// The decoder's words on the first value of a wrong type.
pub(crate) fn decode(kind: &'static str, value: &Value) -> Result<Decoded, String> {
    let mut unknown = Vec::new();
    let place = Place { owner: "", fields: "", path: "" };
    let decoded = object(kind, value, place, &mut unknown)?;
    Ok(Decoded { value: decoded, unknown })
}

fn read(text: &'static str) -> HashMap<&'static str, HashMap<&'static str, Field>> {
    let mut types: HashMap<_, HashMap<_, _>> = HashMap::new();
    let mut owner = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ').and_then(|line| line.split_once(' ')) {
            None => owner = line,
            Some((name, kind)) => {
                let field = Field { kind, optional: name.ends_with('?') };
                types.entry(owner).or_default().insert(name.trim_end_matches('?'), field);
            }
        }
    }
    types
}

/// A value of any kind but null.
fn any(kind: &'static str, value: &Value, place: Place<'_>, unknown: &mut Vec<String>) -> Result<Value, String> {
    let (first, rest) = kind.split_at(1);
    let (_, inner) = split_name(rest);
    match (first, value) {
        ("*", _) => Ok(value.clone()),
        ("{", Value::Object(_)) => object(rest, value, place, unknown),
        ("[", Value::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let path = format!("{}[{index}]", place.path);
                some(inner, item, Place { path: &path, ..place }, unknown)
            })
            .collect(),
        ("m", Value::Object(entries)) => {
            let mut decoded = Map::new();
            for (key, value) in entries {
                let path = format!("{}.{key}", place.path);
                decoded.insert(key.clone(), some(inner, value, Place { path: &path, ..place }, unknown)?);
            }
            Ok(decoded.into())
        }
        ("q", _) => quantity::canonical(value).map(Value::from),
        ("s" | "b" | "T", Value::String(_)) | ("t", Value::Bool(_)) | ("o", Value::String(_) | Value::Number(_)) => {
            Ok(value.clone())
        }
        ("i", Value::Number(number)) if fits(rest, number) => Ok(value.clone()),
        _ => Err(mismatch(kind, value, place)),
    }
}

/// A value that may be null: then it is the empty one of its kind.
fn some(kind: &'static str, value: &Value, place: Place<'_>, unknown: &mut Vec<String>) -> Result<Value, String> {
    match (value, &kind[..1]) {
        (Value::Null, "{" | "m") => Ok(Map::new().into()),
        (Value::Null, "[") => Ok(Vec::<Value>::new().into()),
        (Value::Null, "s" | "b") => Ok("".into()),
        (Value::Null, "t") => Ok(false.into()),
        (Value::Null, "i" | "o") => Ok(0.into()),
        (Value::Null, _) => Ok(Value::Null),
        _ => any(kind, value, place, unknown),
    }
}

fn object(kind: &'static str, value: &Value, place: Place<'_>, unknown: &mut Vec<String>) -> Result<Value, String> {
    let fields = &TYPES[kind];
    let owner = kind.rsplit('.').next().unwrap_or(kind);
    let joined = |before: &str, name: &str| {
        if before.is_empty() { name.to_owned() } else { format!("{before}.{name}") }
    };
    let mut decoded = Map::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = joined(place.path, name);
        let Some(field) = fields.get(name.as_str()) else {
            unknown.push(path);
            continue;
        };
        if value.is_null() {
            continue;
        }
        let fields = joined(place.fields, name);
        let value = any(field.kind, value, Place { owner, fields: &fields, path: &path }, unknown)?;
        if !(field.optional && is_empty(&value)) {
            decoded.insert(name.clone(), value);
        }
    }
    Ok(decoded.into())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn fits(go_type: &str, number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|number| go_type != "<int32>" || i32::try_from(number).is_ok())
}

/// The words of Go's decoder.
fn mismatch(kind: &str, value: &Value, place: Place<'_>) -> String {
    let found = match value {
        Value::Number(number) if kind.starts_with('i') => format!("number {number}"),
        value => json::type_name(value).to_owned(),
    };
    let Place { owner, fields, .. } = place;
    format!("json: cannot unmarshal {found} into Go struct field {owner}.{fields} of type {}", go_type(kind))
}

fn go_type(kind: &str) -> String {
    let (first, rest) = kind.split_at(1);
    let (name, inner) = split_name(rest);
    match (name, first) {
        ("", "{") => rest.to_owned(),
        ("", "[") => format!("[]{}", go_type(inner)),
        ("", "m") => format!("map[string]{}", go_type(inner)),
        ("", "s" | "T") => "string".to_owned(),
        ("", "t") => "bool".to_owned(),
        ("", "b") => "[]uint8".to_owned(),
        ("", "q") => "resource.Quantity".to_owned(),
        ("", "o") => "intstr.IntOrString".to_owned(),
        ("", _) => "int64".to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// The name in angle brackets at the beginning, and what follows.
fn split_name(text: &str) -> (&str, &str) {
    text.strip_prefix('<').and_then(|text| text.split_once('>')).unwrap_or(("", text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaint(pod: &Value) -> String {
        decode("v1.Pod", pod).expect_err("a value of a wrong type")
    }

    #[test]
    fn a_value_of_a_wrong_type_is_told_in_the_decoders_words() {
        for (spec, words) in [
            (
                json!({"containers": [{"args": "x"}]}),
                "string into Go struct field Container.spec.containers.args of type []string",
            ),
            (json!({"containers": ["x"]}), "string into Go struct field PodSpec.spec.containers of type v1.Container"),
            (
                json!({"restartPolicy": 1}),
                "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
            ),
            (json!({"priority": 1.5}), "number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
            (json!({"nodeSelector": {"a": 1}}), "number into Go struct field PodSpec.spec.nodeSelector of type string"),
        ] {
            assert_eq!(complaint(&json!({ "spec": spec })), format!("json: cannot unmarshal {words}"));
        }
    }

    #[test]
    fn unknown_fields_are_found_and_dropped() {
        let pod = json!({"spec": {"containers": [{"immage": 1, "name": "a"}], "extra": {}}, "more": null});
        let decoded = decode("v1.Pod", &pod).expect("types are right");
        assert_eq!(decoded.unknown, ["spec.containers[0].immage", "spec.extra", "more"]);
        assert_eq!(decoded.value, json!({"spec": {"containers": [{"name": "a"}]}}));
    }

    #[test]
    fn what_an_answer_leaves_out_when_it_is_empty_is_dropped_and_the_rest_is_kept() {
        let pod = json!({
            "metadata": {"labels": {}, "annotations": {"a": null}, "finalizers": []},
            "spec": {"volumes": [], "hostname": "", "terminationGracePeriodSeconds": 0, "hostNetwork": false},
        });
        let expected = json!({
            "metadata": {"annotations": {"a": ""}}, "spec": {"terminationGracePeriodSeconds": 0},
        });
        assert_eq!(decode("v1.Pod", &pod).expect("types are right").value, expected);
    }
}
