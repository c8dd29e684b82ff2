//! Attributes of a template: three spellings in, one out.
//!
//! Template files write `["Numeric", "4096"]`, `["4096"]` or a bare `4096`; HostFactory is given the first.

use serde_json::{Map, Value, json};

/// Attributes whose value HostFactory calculates with.
const NUMBERS: [&str; 3] = ["ncpus", "ncores", "nram"];

/// Normalises all attributes of a template and checks those that HostFactory needs.
pub(super) fn normalise(written: &Value) -> Result<Map<String, Value>, String> {
    let Some(written) = written.as_object() else {
        return Err(format!("attributes must be an object, not {}", shorten(written)));
    };
    let mut attributes = Map::new();
    for (name, value) in written {
        attributes.insert(name.clone(), normal(name, value)?);
    }
    // Capacity is ncores x ncpus, and the requestor does not count a host that lacks either.
    for name in ["ncores", "ncpus"] {
        attributes.entry(name).or_insert_with(|| json!(["Numeric", "1"]));
    }
    for name in ["type", "nram"] {
        if !attributes.contains_key(name) {
            return Err(format!("attributes.{name} is missing"));
        }
    }
    Ok(attributes)
}

fn normal(name: &str, written: &Value) -> Result<Value, String> {
    let (tag, value) = match written {
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(tag), value] if matches!(tag.as_str(), "Numeric" | "String" | "Boolean") => {
                (Some(tag.as_str()), value)
            }
            [value] => (None, value),
            _ => (None, written),
        },
        _ => (None, written),
    };
    if NUMBERS.contains(&name) {
        return positive(name, value).map(|number| json!(["Numeric", number]));
    }
    if name == "type" {
        return match value.as_str() {
            Some(kind) if !kind.is_empty() => Ok(json!(["String", kind])),
            _ => Err(format!(r#"attributes.type must be a string such as "X86_64", not {}"#, shorten(value))),
        };
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => return Ok(json!(["Boolean", if *value { "1" } else { "0" }])),
        // An attribute that we know nothing of, in a shape that we know nothing of, is HostFactory's to judge.
        _ => return Ok(written.clone()),
    };
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    Ok(json!([tag.unwrap_or(if is_number { "Numeric" } else { "String" }), text]))
}

fn positive(name: &str, value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(text),
        _ => Err(format!("attributes.{name} must be a number above 0, not {}", shorten(value))),
    }
}

/// A value as it was written, cut to a length that a message can carry.
pub(super) fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, value: &Value) -> Result<Value, String> {
        let mut written = json!({"type": "X86_64", "nram": 1024});
        written[name] = value.clone();
        normalise(&written).map(|attributes| attributes[name].clone())
    }

    #[test]
    fn all_three_spellings_come_out_as_the_first() {
        for spelling in [json!(["Numeric", "4096"]), json!(["4096"]), json!([4096]), json!("4096"), json!(4096)] {
            assert_eq!(attribute("nram", &spelling), Ok(json!(["Numeric", "4096"])), "{spelling}");
        }
        for spelling in [json!(["String", "X86_64"]), json!(["X86_64"]), json!("X86_64")] {
            assert_eq!(attribute("type", &spelling), Ok(json!(["String", "X86_64"])), "{spelling}");
        }
    }

    #[test]
    fn other_attributes_are_tagged_by_what_they_look_like() {
        assert_eq!(attribute("rank", &json!("0")), Ok(json!(["Numeric", "0"])));
        assert_eq!(attribute("zone", &json!(["east"])), Ok(json!(["String", "east"])));
        assert_eq!(attribute("mpi", &json!(["Boolean", "1"])), Ok(json!(["Boolean", "1"])));
        assert_eq!(attribute("gpu", &json!(true)), Ok(json!(["Boolean", "1"])));
        assert_eq!(attribute("code", &json!(["String", "007"])), Ok(json!(["String", "007"])));
        assert_eq!(attribute("odd", &json!(["a", "b", "c"])), Ok(json!(["a", "b", "c"])));
    }

    #[test]
    fn whichever_of_ncores_and_ncpus_is_missing_is_one() {
        let attributes = normalise(&json!({"type": "X86_64", "nram": "1024", "ncpus": "8"})).expect("complete");
        assert_eq!(attributes["ncores"], json!(["Numeric", "1"]));
        assert_eq!(attributes["ncpus"], json!(["Numeric", "8"]));
        let attributes = normalise(&json!({"type": "X86_64", "nram": "1024"})).expect("complete");
        assert_eq!(attributes["ncpus"], json!(["Numeric", "1"]));
    }

    #[test]
    fn what_hostfactory_calculates_with_must_be_a_number_above_zero() {
        for wrong in
            [json!("many"), json!(0), json!(["Numeric", "-1"]), json!(["Numeric", "NaN"]), json!(null), json!({})]
        {
            assert!(attribute("nram", &wrong).is_err(), "{wrong}");
        }
        assert!(normalise(&json!({"type": "X86_64"})).is_err());
        assert!(normalise(&json!({"nram": 1})).is_err());
        assert!(normalise(&json!([])).is_err());
    }
}
