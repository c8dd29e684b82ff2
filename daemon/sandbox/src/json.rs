//! What is wrong with a body that is no JSON object, in the words of Go's decoder.

use serde_json::{Value, error::Category};

/// Bytes of a body that a refusal shows.
const EXCERPT: usize = 30;

const PROBE: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// Why a body could not be parsed.
pub(crate) fn complaint(error: &serde_json::Error, body: &[u8]) -> String {
    let said = error.to_string();
    let what = if error.classify() == Category::Eof {
        "unexpected end of JSON input".to_owned()
    } else {
        let lines_before = body.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
        let at = lines_before.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
        let found = char::from(body.get(at).copied().unwrap_or(b' '));
        let place = [
            ("trailing characters", "after top-level value"),
            ("key must be a string", "looking for beginning of object key string"),
            ("expected `:`", "after object key"),
            ("expected `,` or `}`", "after object key:value pair"),
            ("expected `,` or `]`", "after array element"),
        ];
        let place = place.iter().find(|(theirs, _)| said.starts_with(theirs));
        format!("invalid character '{found}' {}", place.map_or("looking for beginning of value", |(_, ours)| ours))
    };
    format!("couldn't get version/kind; json parse error: {what}")
}

/// Why a JSON value can have no version and kind, if so.
pub(crate) fn no_version_and_kind(value: &Value) -> Option<String> {
    let what = match value {
        Value::Object(fields) => {
            let (name, value) = ["apiVersion", "kind"]
                .into_iter()
                .filter_map(|name| Some((name, fields.get(name)?)))
                .find(|(_, value)| !(value.is_string() || value.is_null()))?;
            format!("json: cannot unmarshal {} into Go struct field .{name} of type string", type_name(value))
        }
        value => format!("json: cannot unmarshal {} into Go value of type {PROBE}", type_name(value)),
    };
    Some(format!("couldn't get version/kind; json parse error: {what}"))
}

/// The beginning of a body as a refusal shows it: as text if it looks like JSON, else in hexadecimal.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let begin = &body[..body.len().min(EXCERPT)];
    let more = if body.len() > EXCERPT { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(begin)),
        Some(_) => {
            let hex: String = begin.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

/// The decoder's name for the type of a value.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_json_is_told_in_the_decoders_words() {
        for (body, words) in [
            ("hello", "invalid character 'h' looking for beginning of value"),
            (r#"{"a":"#, "unexpected end of JSON input"),
            (r#"{"a":1} x"#, "invalid character 'x' after top-level value"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            ("{\n\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
        ] {
            let error = serde_json::from_str::<Value>(body).expect_err("no JSON");
            let said = complaint(&error, body.as_bytes());
            assert_eq!(said, format!("couldn't get version/kind; json parse error: {words}"), "{body}");
        }
    }

    #[test]
    fn the_excerpt_is_short() {
        assert_eq!(excerpt(b""), "<empty>");
        assert_eq!(excerpt(b"hello"), "68656c6c6f");
        assert_eq!(excerpt(br#"{"apiVersion":"v1","kind":"Pod","a":1}"#), r#"{"apiVersion":"v1","kind":"Pod ..."#);
    }
}
