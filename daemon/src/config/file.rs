//! The TOML file: from text to settings of known keys, with the place of each.

use std::{ops::Range, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    keys::{self, Key},
    report::{FilePlace, Place, Problem},
    value::Raw,
};

/// One `key = value` of the file whose key exists.
pub(super) struct Found {
    pub(super) key: &'static Key,
    pub(super) raw: Raw<'static>,
    /// Of the value.
    pub(super) place: FilePlace,
}

/// Takes the file apart. Syntax errors do not stop it: what can be read is read, so that everything is told at once.
pub(super) fn parse(path: &Path, text: &str) -> (Vec<Found>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { path, text, found: Vec::new(), problems: Vec::new(), spoiled: Vec::new() };
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let place = reader.place(&span);
        reader.spoiled.push(place.line);
        reader.problems.push(Problem::new(Place::File(place), error.message().to_owned()));
    }
    reader.read("", table.get_ref());
    (reader.found, reader.problems)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Found>,
    problems: Vec<Problem>,
    /// Lines with a syntax error: what the parser makes of them is a guess and not worth a second complaint.
    spoiled: Vec<usize>,
}

impl Reader<'_> {
    fn read(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let place = self.place(&name.span());
            if self.spoiled.contains(&place.line) {
                continue;
            }
            let path = keys::join(section, name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if section.is_empty() && keys::is_section(&path) => self.read(&path, inner),
                _ if section.is_empty() && keys::is_section(&path) => {
                    let message = format!("{path} is a section: write [{path}] and its keys below");
                    self.problems.push(Problem::new(Place::File(place), message));
                }
                inner => match keys::find(&path) {
                    Ok(key) => self.take(key, inner, &value.span()),
                    Err(near) => self.problems.push(keys::unknown(Place::File(place), &path, near)),
                },
            }
        }
    }

    fn take(&mut self, key: &'static Key, value: &DeValue<'_>, span: &Range<usize>) {
        let place = self.place(span);
        if !self.spoiled.contains(&place.line) {
            self.found.push(Found { key, raw: raw(value), place });
        }
    }

    fn place(&self, span: &Range<usize>) -> FilePlace {
        FilePlace::new(self.path.to_owned(), self.text, span)
    }
}

fn raw(value: &DeValue<'_>) -> Raw<'static> {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => Raw::Other("a number of more than 64 bits"),
        },
        DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other("a malformed number"), Raw::Float),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(_) => Raw::Other("an array"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}
