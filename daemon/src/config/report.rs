//! What is wrong with a configuration, told so that it can be mended in one go.

use std::{fmt, ops::Range, path::PathBuf};

use thiserror::Error;

/// Every problem of a configuration. `Display` gives the whole report, one block a problem.
#[derive(Debug, Clone, Error)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.rank());
        Self { problems }
    }

    /// The problems, in the order of the layers and of the file's lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the configuration", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone)]
pub struct Problem {
    place: Place,
    message: String,
    help: Option<String>,
}

impl Problem {
    pub(super) fn new(place: Place, message: String) -> Self {
        Self { place, message, help: None }
    }

    pub(super) fn with_help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was probably meant.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(place) => write!(f, "  {}:{}:{}: ", place.path.display(), place.line, place.column)?,
            Place::Whole(path) => write!(f, "  {}: ", path.display())?,
            Place::Variable(name) => write!(f, "  environment {name}: ")?,
            Place::Flag(flag) => write!(f, "  flag {flag}: ")?,
            Place::Together => f.write_str("  ")?,
        }
        f.write_str(&self.message)?;
        if let Place::File(place) = &self.place {
            let number = place.line.to_string();
            let indent = " ".repeat(place.column - 1);
            let carets = "^".repeat(place.width.max(1));
            write!(f, "\n    {number} | {}\n    {:w$} | {indent}{carets}", place.source, "", w = number.len())?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n    {help}")?;
        }
        Ok(())
    }
}

/// Where a value was written.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(FilePlace),
    /// The file as such, when it can't be read.
    Whole(PathBuf),
    Variable(String),
    Flag(String),
    /// Several keys that contradict one another.
    Together,
}

impl Place {
    /// Files first, by line; then the rest as it was found.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Whole(_) => (0, 0),
            Self::File(place) => (0, place.line),
            _ => (1, 0),
        }
    }
}

/// A stretch of one line of a file.
#[derive(Debug, Clone)]
pub(super) struct FilePlace {
    pub(super) path: PathBuf,
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// In characters.
    width: usize,
    source: String,
}

impl FilePlace {
    /// Finds the line of a byte range; a range over several lines is cut at the end of its first.
    pub(super) fn new(path: PathBuf, text: &str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        Self {
            path,
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end.min(line_end)].chars().count(),
            source: text[line_start..line_end].trim_end().replace('\t', " "),
        }
    }
}
