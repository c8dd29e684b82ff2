//! Reading HostFactory's documents: tolerant about shape, exact about values, and with messages a person can act on.
//!
//! A message names where in the document (`template.machineCount`), the offending value, what is expected, and line
//! and column. It is bounded however large the value is. Reading never recurses deeper than [`MAX_DEPTH`].

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, value::MapAccessDeserializer},
};
use thiserror::Error;

/// Deepest nesting of objects and arrays that is read. HostFactory's own documents nest three deep.
pub const MAX_DEPTH: usize = 64;

/// Most characters of a value that a message repeats.
const CLIP_CHARS: usize = 80;

/// Most characters of serde's own sentence that a message repeats; it may contain a value of any size.
const SENTENCE_CHARS: usize = 240;

/// A document that HostFactory sends.
pub trait InputDocument: DeserializeOwned {
    /// What a correct document looks like, for messages.
    const EXAMPLE: &'static str;
}

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}{problem} (line {line}, column {column}); expected {example}")]
pub struct InputError {
    place: String,
    problem: String,
    /// Line of the problem, from 1.
    pub line: usize,
    /// Column of the problem, from 1.
    pub column: usize,
    example: &'static str,
}

/// Nested deeper than [`MAX_DEPTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("objects and arrays nest deeper than {MAX_DEPTH} levels (line {line}, column {column})")]
pub struct TooDeep {
    /// Line where the limit is passed, from 1.
    pub line: usize,
    /// Column where the limit is passed, from 1.
    pub column: usize,
}

/// Reads a document of HostFactory.
///
/// # Errors
/// When `raw` is not JSON, not an object, nests too deep, repeats a known key, or a known key has a wrong value.
pub fn parse_input<T: InputDocument>(raw: &str) -> Result<T, InputError> {
    let refuse = |place: String, problem: String, line, column| {
        Err(InputError { place, problem, line, column, example: T::EXAMPLE })
    };
    if let Err(TooDeep { line, column }) = check_depth(raw) {
        let problem = format!("objects and arrays nest deeper than {MAX_DEPTH} levels");
        return refuse(String::new(), problem, line, column);
    }
    let body = raw.trim_start_matches([' ', '\t', '\r', '\n']);
    if let Some(kind) = other_than_object(body) {
        let (line, column) = position(raw, raw.len() - body.len());
        return refuse(String::new(), format!("the document is {kind}, not an object"), line, column);
    }
    let mut source = serde_json::Deserializer::from_str(raw);
    let parsed = serde_path_to_error::deserialize(&mut source).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{}: ", clip(&path)) };
        (place, error.into_inner())
    });
    match parsed.and_then(|document| source.end().map(|()| document).map_err(|error| (String::new(), error))) {
        Ok(document) => Ok(document),
        Err((place, error)) => refuse(place, sentence(&error), error.line(), error.column()),
    }
}

/// Refuses text that nests deeper than [`MAX_DEPTH`], without recursion and without judging anything else.
///
/// # Errors
/// [`TooDeep`] with the place where the limit is passed.
pub fn check_depth(raw: &str) -> Result<(), TooDeep> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in raw.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let (line, column) = position(raw, offset);
            return Err(TooDeep { line, column });
        }
    }
    Ok(())
}

/// `text` in at most 80 characters on one line: beginning and end, with an ellipsis where something was left out.
#[must_use]
pub fn clip(text: &str) -> String {
    clip_to(text, CLIP_CHARS)
}

/// Reads a list, or one object as a list of one, or `{}` or `null` as an empty list.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<Vec<T>, D::Error> {
    optional_list(source).map(Option::unwrap_or_default)
}

/// As [`list`], but tells `null` (nothing said) from an empty list.
pub(crate) fn optional_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    source: D,
) -> Result<Option<Vec<T>>, D::Error> {
    source.deserialize_any(ListVisitor(PhantomData))
}

/// Reads a struct from an object only. What serde derives would also take an array, by position.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<T, D::Error> {
    source.deserialize_map(ObjectVisitor(PhantomData))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        object(source).map(Self)
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ListVisitor<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Object(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Some(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // IBM's documents show `{}` where a list without entries is meant.
        let Some(first) = map.next_key::<String>()? else { return Ok(Some(Vec::new())) };
        let item = T::deserialize(MapAccessDeserializer::new(WithFirst { first: Some(first), rest: map }))?;
        Ok(Some(vec![item]))
    }
}

/// A map whose first key was already taken to see whether there is one.
struct WithFirst<A> {
    first: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithFirst<A> {
    type Error = A::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(de::value::StringDeserializer::new(key)).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

/// What a document starts as when it is not an object; `None` for an object and for text that is no JSON value at
/// all, which the parser names better.
fn other_than_object(body: &str) -> Option<&'static str> {
    match body.bytes().next()? {
        b'[' => Some("a list"),
        b'"' => Some("a string"),
        b't' | b'f' => Some("a boolean"),
        b'n' => Some("null"),
        b'-' | b'0'..=b'9' => Some("a number"),
        _ => None,
    }
}

/// serde's sentence without its own line and column, and bounded.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    clip_to(text.strip_suffix(&position).unwrap_or(&text), SENTENCE_CHARS)
}

/// Keeps beginning and end: what is expected stands at the end of serde's sentences.
fn clip_to(text: &str, limit: usize) -> String {
    // On one line: what callers write may be spread over many.
    let text = &text.replace(char::is_control, " ");
    if text.chars().nth(limit).is_none() {
        return text.clone();
    }
    let tail = limit / 3;
    let head_end = text.char_indices().nth(limit - tail).map_or(text.len(), |(offset, _)| offset);
    let tail_start = text.char_indices().nth_back(tail - 1).map_or(0, |(offset, _)| offset);
    format!("{}…{}", &text[..head_end], &text[tail_start..])
}

/// Line and column of a byte offset, both from 1, the column in bytes as serde_json counts it.
fn position(raw: &str, offset: usize) -> (usize, usize) {
    let before = &raw.as_bytes()[..offset];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, offset - start + 1)
}
