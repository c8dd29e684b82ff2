//! The comparison of two normalised values, leaf by leaf.

use serde_json::Value;

/// One place where they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where: keys and indexes, `body/details/causes/0/field`.
    pub(crate) path: String,
    /// What the sandbox has there.
    pub(crate) sandbox: Option<Value>,
    /// What the real server has there.
    pub(crate) real: Option<Value>,
}

/// All places where two values differ.
pub(crate) fn differences(sandbox: &Value, real: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    descend("", Some(sandbox), Some(real), &mut found);
    found
}

fn descend(path: &str, sandbox: Option<&Value>, real: Option<&Value>, found: &mut Vec<Difference>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}/{}", key.replace('/', "~1")) };
    match (sandbox, real) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for (key, value) in left {
                descend(&below(key), Some(value), right.get(key), found);
            }
            for (key, value) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
                descend(&below(key), None, Some(value), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                descend(&below(&index.to_string()), left.get(index), right.get(index), found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => {
            found.push(Difference { path: path.to_owned(), sandbox: left.cloned(), real: right.cloned() });
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "(absent)".to_owned(), Value::to_string);
        write!(
            formatter,
            "{}\n      sandbox: {}\n      real:    {}",
            self.path,
            shown(&self.sandbox),
            shown(&self.real)
        )
    }
}

#[test]
fn every_leaf_that_differs_is_found_with_its_path() {
    let (left, right) = (serde_json::json!({"a": [1, {"b": 2}], "c": 3}), serde_json::json!({"a": [1, {"b": 4}, 5]}));
    let paths: Vec<_> = differences(&left, &right).into_iter().map(|difference| difference.path).collect();
    assert_eq!(paths, ["a/1/b", "a/2", "c"]);
    assert!(differences(&left, &left).is_empty());
}
