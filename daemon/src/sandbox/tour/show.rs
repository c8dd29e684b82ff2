//! How the tour prints: headings, paragraphs, and JSON documents shortened where they repeat themselves.

use std::io::{self, Write};

use serde_json::Value;

/// Columns that the tour keeps to, as far as the texts of others allow.
pub(super) const WIDTH: usize = 98;
/// Elements that are printed of an array that is longer than [`WHOLE`].
const SAMPLE: usize = 1;
/// Arrays up to this length are printed whole.
const WHOLE: usize = 2;
/// From here on a text is broken between words where it does not fit.
const LONG: usize = 60;

/// Standard output, line by line.
#[derive(Debug)]
pub(super) struct Narrator<W> {
    out: W,
    is_gap: bool,
}

impl Narrator<io::Stdout> {
    /// The process's own.
    pub(super) fn new() -> Self {
        Self::over(io::stdout())
    }
}

impl<W: Write> Narrator<W> {
    fn over(out: W) -> Self {
        Self { out, is_gap: true }
    }

    /// A new chapter.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.gap()?;
        self.line(&format!("-- {text} {}", "-".repeat(WIDTH.saturating_sub(text.len() + 4))))?;
        self.gap()
    }

    /// A paragraph, broken between words.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.gap()?;
        for line in wrapped(text, WIDTH) {
            self.line(&line)?;
        }
        self.gap()
    }

    /// An empty line, unless there is one.
    pub(super) fn gap(&mut self) -> io::Result<()> {
        if !self.is_gap {
            self.line("")?;
        }
        self.is_gap = true;
        Ok(())
    }

    /// One line as it is.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.is_gap = false;
        self.out.flush()
    }

    /// A document after a label of at most seven characters.
    pub(super) fn document(&mut self, label: &str, document: &Value) -> io::Result<()> {
        let mut label = format!("  {label:<8}");
        let margin = " ".repeat(label.len());
        for line in document_lines(document, WIDTH - label.len()) {
            self.line(&format!("{label}{line}"))?;
            label.clone_from(&margin);
        }
        Ok(())
    }
}

/// The document in lines: on one line what fits, several pairs on a line, and of long arrays the first element and how
/// many more there are. Long texts are broken between words.
pub(super) fn document_lines(value: &Value, width: usize) -> Vec<String> {
    match value {
        _ if is_short(value) && value.to_string().len() <= width => vec![value.to_string()],
        Value::Array(elements) => {
            let shown = if elements.len() <= WHOLE { elements.len() } else { SAMPLE };
            let mut parts: Vec<_> =
                elements[..shown].iter().map(|element| document_lines(element, width.saturating_sub(3))).collect();
            if shown < elements.len() {
                parts.push(vec![format!("... {} more", elements.len() - shown)]);
            }
            let mut lines = vec!["[".to_owned()];
            lines.extend(joined(parts, 0).into_iter().map(|line| format!("  {line}")));
            closed(lines, ']')
        }
        Value::Object(members) => {
            let parts = members.iter().map(|(key, value)| member(key, value, width.saturating_sub(2))).collect();
            let mut lines = joined(parts, width);
            for (index, line) in lines.iter_mut().enumerate() {
                line.insert(0, if index == 0 { '{' } else { ' ' });
            }
            closed(lines, '}')
        }
        Value::String(text) if text.len() > LONG => wrapped(&value.to_string(), width),
        scalar => vec![scalar.to_string()],
    }
}

fn member(key: &str, value: &Value, width: usize) -> Vec<String> {
    let key = format!("{}:", Value::from(key));
    // what an array that is broken has on the key's line is one bracket
    let width = if value.is_array() && !is_short(value) { width } else { width.saturating_sub(key.len()) };
    let mut lines = document_lines(value, width);
    lines[0].insert_str(0, &key);
    lines
}

/// Puts commas between the parts, and as many parts on a line as `width` allows.
fn joined(parts: Vec<Vec<String>>, width: usize) -> Vec<String> {
    let count = parts.len();
    let mut lines: Vec<String> = Vec::new();
    // whether the last line may take another part
    let mut is_open_ended = false;
    for (index, mut part) in parts.into_iter().enumerate() {
        if index + 1 < count
            && let Some(last) = part.last_mut()
        {
            last.push(',');
        }
        let is_single = part.len() == 1;
        match lines.last_mut() {
            Some(line) if is_single && is_open_ended && line.len() + part[0].len() + 2 < width => {
                line.push(' ');
                line.push_str(&part[0]);
            }
            _ => lines.extend(part),
        }
        is_open_ended = is_single;
    }
    lines
}

fn closed(mut lines: Vec<String>, bracket: char) -> Vec<String> {
    if let Some(last) = lines.last_mut() {
        last.push(bracket);
    }
    lines
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.len() <= WHOLE && elements.iter().all(is_short),
        Value::Object(members) => members.values().all(is_short),
        _ => true,
    }
}

/// A line of somebody else's table, cut where the tour's columns end.
pub(super) fn cut(line: &str) -> Vec<String> {
    let width = WIDTH - 2;
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    vec![line.chars().take(width - 4).chain(" ...".chars()).collect()]
}

/// A line of somebody else, broken between words where the tour's columns end.
pub(super) fn broken(line: &str) -> Vec<String> {
    let (width, margin) = (WIDTH - 2, "        ");
    let mut lines = vec![line.to_owned()];
    while let Some(last) = lines.last_mut().filter(|last| last.chars().count() > width) {
        let end = last.char_indices().nth(width).map_or(last.len(), |(end, _)| end);
        let Some(space) = last[..end].rfind(' ').filter(|space| *space > margin.len()) else { break };
        let rest = format!("{margin}{}", last[space..].trim_start());
        last.truncate(space);
        lines.push(rest);
    }
    lines
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_of_five_machines_shows_one_and_says_that_there_are_four_more() {
        let machine = |number: u32| json!({"name": format!("m-{number}"), "result": "succeed"});
        let reply = json!({"requests": [{"status": "complete", "machines": (0..5).map(machine).collect::<Vec<_>>()}]});
        assert_eq!(
            document_lines(&reply, 60),
            [
                r#"{"requests":["#,
                r#"   {"status":"complete","#,
                r#"    "machines":["#,
                r#"      {"name":"m-0","result":"succeed"},"#,
                "      ... 4 more]}]}",
            ]
        );
    }

    #[test]
    fn what_fits_stays_on_one_line_unless_it_hides_a_long_array() {
        let document = json!({"machines": [{"name": "m"}], "none": [], "nothing": {}});
        assert_eq!(document_lines(&document, 80), [document.to_string()]);
        assert_eq!(document_lines(&json!([1, 2, 3, 4]), 80), ["[", "  1,", "  ... 3 more]"]);
    }

    #[test]
    fn paragraphs_are_one_empty_line_apart() {
        let mut out = Narrator::over(Vec::new());
        out.say("one").and_then(|()| out.say("two")).and_then(|()| out.gap()).expect("memory");
        assert_eq!(String::from_utf8(out.out).expect("text"), "one\n\ntwo\n\n");
    }

    #[test]
    fn a_long_text_is_broken_between_words() {
        let lines = document_lines(&json!({"message": "word ".repeat(30)}), 50);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= 50), "{lines:?}");
    }

    #[test]
    fn pairs_are_packed_to_the_width() {
        let document = json!({"aaaa": "1111", "bbbb": "2222", "cccc": "3333"});
        assert_eq!(document_lines(&document, 32), [r#"{"aaaa":"1111", "bbbb":"2222","#, r#" "cccc":"3333"}"#]);
        assert!(document_lines(&document, 32).iter().all(|line| line.len() <= 32));
    }

    #[test]
    fn a_shortened_array_is_the_only_thing_that_is_not_json() {
        let document = json!({"a": [{"b": "x".repeat(60)}, {"c": [1, 2]}], "d": null});
        let text = document_lines(&document, 40).concat();
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), document);
    }

    #[test]
    fn a_wide_table_is_cut_at_the_edge() {
        assert_eq!(cut("short"), ["short"]);
        let line = cut(&"x".repeat(200)).concat();
        assert!(line.ends_with("x ...") && line.len() == WIDTH - 2, "{line}");
    }

    #[test]
    fn a_wide_line_is_broken_between_words_and_keeps_its_columns() {
        let line = format!("  a   {}", "word ".repeat(40));
        let lines = broken(line.trim_end());
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= WIDTH - 2), "{lines:?}");
        assert!(lines[0].starts_with("  a   word word") && lines[1].starts_with("        word"), "{lines:?}");
        assert_eq!(broken(&"x".repeat(200)), ["x".repeat(200)]);
    }

    #[test]
    fn paragraphs_break_between_words() {
        assert_eq!(wrapped("one two  three\nfour", 9), ["one two", "three", "four"]);
    }
}
