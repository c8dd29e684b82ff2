//! Plain columns under a heading, as wide as their content. No colours, no borders: a table goes through a pipe well.

use super::text::{safe, shortened};

/// Longest cell of a table that is not wide, in characters. Names and ids fit.
const CELL_CHARS: usize = 60;

/// Rows of cells under a heading.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
    wide: bool,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// An empty table; a wide one shortens nothing.
    pub(super) fn new(heading: [&str; COLUMNS], wide: bool) -> Self {
        Self { rows: vec![heading.map(str::to_owned)], wide }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [&str; COLUMNS]) {
        self.rows.push(cells.map(|cell| {
            let cell = safe(cell);
            if self.wide { cell.into_owned() } else { shortened(&cell, CELL_CHARS).into_owned() }
        }));
    }

    /// The text, each line indented by `indent`. Nothing follows the last cell of a row.
    pub(super) fn render(&self, indent: &str) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_content_and_nothing_trails() {
        let mut table = Table::new(["NAME", "N", "NOTE"], false);
        table.row(["a", "100", "x"]);
        table.row(["longer", "1", ""]);
        assert_eq!(table.render(""), "NAME    N    NOTE\na       100  x\nlonger  1\n");
    }

    #[test]
    fn a_long_or_hostile_cell_cannot_break_the_table() {
        let mut table = Table::new(["NAME"], false);
        table.row([&"x".repeat(300)]);
        table.row(["a\nb\u{1b}[31m"]);
        let text = table.render("");
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.chars().count() <= CELL_CHARS && !line.contains('\u{1b}')));
    }

    #[test]
    fn a_wide_table_shortens_nothing() {
        let mut table = Table::new(["NAME"], true);
        table.row([&"x".repeat(300)]);
        assert!(table.render("").contains(&"x".repeat(300)));
    }
}
