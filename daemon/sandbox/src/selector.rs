//! Label and field selectors, parsed and refused as the real server does.

use crate::names;
use crate::object::{Object, Resource, selectable_fields};
use crate::refusal::Refusal;

/// What a list or a watch shows: both selectors and a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Empty for all namespaces.
    pub(crate) namespace: String,
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    path: String,
    value: String,
    negated: bool,
}

impl Filter {
    /// Reads both selectors; a selector that cannot be read is a 400.
    pub(crate) fn parse(resource: Resource, namespace: &str, labels: &str, fields: &str) -> Result<Self, Refusal> {
        Ok(Self {
            namespace: namespace.to_owned(),
            labels: parse_labels(labels).map_err(Refusal::bad_request)?,
            fields: parse_fields(resource, fields)?,
        })
    }

    /// Whether the object is shown.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || self.namespace == object.key.namespace)
            && self.labels.iter().all(|requirement| requirement.holds(object))
            && self.fields.iter().all(|term| (object.field(&term.path) == term.value) != term.negated)
    }

    /// Whether anything beside the namespace is asked for.
    pub(crate) fn is_selective(&self) -> bool {
        !(self.labels.is_empty() && self.fields.is_empty())
    }
}

impl Requirement {
    fn holds(&self, object: &Object) -> bool {
        let value = object.labels.get(&self.key);
        let number = || value.and_then(|text| text.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn parse_fields(resource: Resource, selector: &str) -> Result<Vec<FieldTerm>, Refusal> {
    let mut terms = Vec::new();
    // the real server looks at them in this order, which shows when two are wrong
    let mut parts = split_terms(selector);
    parts.sort_unstable();
    for term in parts.into_iter().filter(|term| !term.is_empty()) {
        let operator = term.char_indices().find_map(|(at, _)| {
            let operator = ["!=", "==", "="].into_iter().find(|operator| term[at..].starts_with(operator))?;
            Some((&term[..at], operator, &term[at + operator.len()..]))
        });
        let Some((path, operator, value)) = operator else {
            let message = format!("invalid selector: '{selector}'; can't understand '{term}'");
            return Err(Refusal::bad_request(message));
        };
        let value = unescaped(value).map_err(|why| Refusal::bad_request(format!("invalid field selector: {why}")))?;
        let negated = operator == "!=";
        let known = path == "metadata.name"
            || (path == "metadata.namespace" && resource.is_namespaced())
            || selectable_fields(resource).iter().any(|(known, _)| *known == path);
        if !known {
            return Err(Refusal::bad_request(format!("field label not supported: {path}")));
        }
        terms.push(FieldTerm { path: path.to_owned(), value, negated });
    }
    Ok(terms)
}

/// The terms between commas that no backslash precedes.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, char) in selector.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn unescaped(value: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => plain.push(next),
                next => {
                    return Err(format!("invalid escape sequence: \\{}", next.map(String::from).unwrap_or_default()));
                }
            },
            ',' | '=' => return Err(format!("unescaped character in value: {}", u32::from(char))),
            _ => plain.push(char),
        }
    }
    Ok(plain)
}

/// The tokens of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

fn tokens(selector: &str) -> Vec<Token> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", ",", "(", ")", "<", ">"];
    let mut rest = selector.trim_start();
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest.find(|char: char| char.is_whitespace() || "=!,()<>".contains(char)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    tokens.push(Token::End);
    tokens
}

fn parse_labels(selector: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = tokens(selector).into_iter().peekable();
    let mut requirements = Vec::new();
    if tokens.peek() == Some(&Token::End) {
        return Ok(requirements);
    }
    let begins = |token: Option<&Token>| matches!(token, Some(Token::Word(_) | Token::Symbol("!")));
    loop {
        if !begins(tokens.peek()) {
            let found = tokens.peek().map_or("", Token::text);
            return Err(format!("found '{found}', expected: !, identifier, or 'end of string'"));
        }
        let requirement = parse_requirement(&mut tokens);
        requirements.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
        match tokens.next() {
            None | Some(Token::End) => return Ok(requirements),
            Some(Token::Symbol(",")) if begins(tokens.peek()) => {}
            Some(Token::Symbol(",")) => {
                let found = tokens.peek().map_or("", Token::text);
                return Err(format!("found '{found}', expected: identifier after ','"));
            }
            Some(other) => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

fn parse_requirement(tokens: &mut Tokens) -> Result<Requirement, String> {
    let negated = tokens.next_if_eq(&Token::Symbol("!")).is_some();
    let key = match tokens.next() {
        Some(Token::Word(key)) => key,
        other => {
            return Err(format!("found '{}', expected: identifier", other.as_ref().map_or("", Token::text)));
        }
    };
    let wrong = names::key(&key);
    if !wrong.is_empty() {
        return Err(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
    }
    if negated {
        return Ok(Requirement { key, operator: Operator::DoesNotExist });
    }
    if matches!(tokens.peek(), None | Some(Token::End | Token::Symbol(","))) {
        return Ok(Requirement { key, operator: Operator::Exists });
    }
    let operator = tokens.next().unwrap_or(Token::End);
    let operator = match operator.text() {
        "=" | "==" => Operator::In(checked(&key, vec![parse_value(tokens)?])?),
        "!=" => Operator::NotIn(checked(&key, vec![parse_value(tokens)?])?),
        "in" => Operator::In(checked(&key, parse_set(tokens)?)?),
        "notin" => Operator::NotIn(checked(&key, parse_set(tokens)?)?),
        "<" => Operator::LessThan(parse_number(tokens)?),
        ">" => Operator::GreaterThan(parse_number(tokens)?),
        other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
    };
    Ok(Requirement { key, operator })
}

/// The values, if all of them are values of labels.
fn checked(key: &str, mut values: Vec<String>) -> Result<Vec<String>, String> {
    values.sort_unstable();
    values.dedup();
    let wrong: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, value)| (index, value, names::label_value(value)))
        .filter(|(.., rules)| !rules.is_empty())
        .map(|(index, value, rules)| format!("values[{index}][{key}]: Invalid value: {value:?}: {}", rules.join("; ")))
        .collect();
    match wrong.as_slice() {
        [] => Ok(values),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

/// A single value; it may be empty.
fn parse_value(tokens: &mut Tokens) -> Result<String, String> {
    match tokens.peek() {
        None | Some(Token::End | Token::Symbol(",")) => Ok(String::new()),
        Some(Token::Word(_)) => Ok(tokens.next().map(|token| token.text().to_owned()).unwrap_or_default()),
        Some(other) => Err(format!("found '{}', expected: identifier", other.text())),
    }
}

fn parse_number(tokens: &mut Tokens) -> Result<i64, String> {
    let text = parse_value(tokens)?;
    text.parse().map_err(|_| {
        format!("values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer")
    })
}

fn parse_set(tokens: &mut Tokens) -> Result<Vec<String>, String> {
    if tokens.next_if_eq(&Token::Symbol("(")).is_none() {
        return Err(format!("found '{}' expected: '('", tokens.peek().map_or("", Token::text)));
    }
    let mut values = vec![];
    loop {
        match tokens.next() {
            Some(Token::Word(value)) => values.push(value),
            Some(Token::Symbol(",")) => values.push(String::new()),
            Some(Token::Symbol(")")) => {
                values.push(String::new());
                return Ok(values);
            }
            other => {
                return Err(format!("found '{}', expected: ',' or ')'", other.as_ref().map_or("", Token::text)));
            }
        }
        match tokens.next() {
            Some(Token::Symbol(",")) => {}
            Some(Token::Symbol(")")) => return Ok(values),
            other => {
                return Err(format!("found '{}', expected: ',' or ')'", other.as_ref().map_or("", Token::text)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shows(labels: &str, fields: &str) -> bool {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"app": "web", "tier": "7", "empty": ""}},
            "spec": {"nodeName": "a"}, "status": {"phase": "Running"}
        });
        let object = Object::new(Resource::Pods, 1, &pod);
        Filter::parse(Resource::Pods, "n", labels, fields).expect("a readable selector").matches(&object)
    }

    fn complaint(labels: &str) -> String {
        Filter::parse(Resource::Pods, "n", labels, "").expect_err("an unreadable selector").message
    }

    #[test]
    fn every_operator_of_a_label_selector_selects() {
        for selector in [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=db",
            "other!=x",
            "!other",
            "app in (db, web)",
            "app notin (db)",
            "other notin (x)",
            "tier>6",
            "tier < 8",
            "app=web,tier=7",
            "empty=",
            "empty in ()",
            " app = web ",
        ] {
            assert!(shows(selector, ""), "{selector}");
        }
        for selector in ["other", "app=db", "!app", "app in (db)", "app notin (web)", "tier>7", "app=web,tier=8"] {
            assert!(!shows(selector, ""), "{selector}");
        }
    }

    #[test]
    fn field_selectors_select_and_negate() {
        assert!(shows("", "metadata.name=p,status.phase!=Failed,spec.nodeName==a"));
        assert!(!shows("", "metadata.name=q"));
        assert!(!shows("", "spec.nodeName!=a"));
    }

    #[test]
    fn unreadable_selectors_are_refused_in_the_servers_words() {
        assert_eq!(complaint("a===b"), "unable to parse requirement: found '=', expected: identifier");
        assert_eq!(complaint("a in (b"), "unable to parse requirement: found '', expected: ',' or ')'");
        let unknown = Filter::parse(Resource::Pods, "", "", "spec.wat=x").expect_err("an unknown field");
        assert_eq!((unknown.code, unknown.message.as_str()), (400, "field label not supported: spec.wat"));
    }
}
