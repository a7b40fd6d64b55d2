//! Columns that line up.

use std::io;

use crate::output;

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a header, filled row by row.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    header: [(&'static str, Align); COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) fn new(header: [(&'static str, Align); COLUMNS]) -> Self {
        Self { header, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row);
    }

    /// The table as lines; the header is bold on a terminal.
    pub(crate) fn render(&self) -> String {
        self.render_for(output::is_fancy(&io::stdout()))
    }

    fn render_for(&self, fancy: bool) -> String {
        let mut widths = self.header.map(|(name, _)| name.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let header = self.line(&self.header.map(|(name, _)| name.to_owned()), &widths);
        let mut text = if fancy { format!("\x1b[1m{header}\x1b[0m\n") } else { format!("{header}\n") };
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(self.header) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line.extend([cell.as_str(), &space]),
                Align::Right => line.extend([space.as_str(), cell]),
            }
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let mut table = Table::new([("NAME", Align::Left), ("KEYS", Align::Right), ("ZONE", Align::Left)]);
        table.add(["a".to_owned(), "12".to_owned(), String::new()]);
        table.add(["longer".to_owned(), "123456".to_owned(), "here".to_owned()]);
        let expected = "NAME      KEYS  ZONE\na           12\nlonger  123456  here\n";
        assert_eq!(table.render_for(false), expected);
    }
}
