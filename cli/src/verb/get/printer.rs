//! Tables one after another, and tables that go on.

use coracle_client::Error;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::server::{Cells, Columns, Table};
use crate::tabs;
use crate::verb::get::Format;
use crate::yaml;

/// Collects the tables of one command, or prints one that goes on.
pub struct Printer {
    no_headers: bool,
    blocks: Vec<Block>,
    refused: Vec<Error>,
    /// The columns of a table that goes on.
    columns: Columns,
    /// Their widths so far.
    widths: Option<Vec<usize>>,
}

/// Rows under one header.
struct Block {
    header: String,
    lines: Vec<String>,
}

impl Printer {
    pub fn new(no_headers: bool) -> Self {
        Self { no_headers, blocks: Vec::new(), refused: Vec::new(), columns: Columns::default(), widths: None }
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.refused.is_empty()
    }

    /// Adds the rows of a table; those under the same header are one table.
    ///
    /// # Errors
    /// Never yet.
    pub fn add(&mut self, table: Table, cells: Cells) -> Result {
        if table.is_empty() {
            return Ok(());
        }
        let header = table.header(&cells);
        match self.blocks.last_mut() {
            Some(block) if block.header == header && same_kind(block, &cells) => {
                block.lines.extend(table.lines(&cells))
            }
            _ => self.blocks.push(Block { header, lines: table.lines(&cells) }),
        }
        Ok(())
    }

    /// One of several objects is not there; the others are printed.
    pub fn refused(&mut self, error: Error) {
        self.refused.push(error);
    }

    /// Prints what was collected.
    ///
    /// # Errors
    /// The first refusal; the others go to stderr here.
    pub fn finish(self, out: Out<'_>) -> Result {
        for (number, block) in self.blocks.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            let header = (!self.no_headers).then_some(block.header.as_str());
            let lines: Vec<&str> = header.into_iter().chain(block.lines.iter().map(String::as_str)).collect();
            write!(out, "{}", tabs::TABLE.align(&lines.join("\n")))?;
        }
        let mut refused = self.refused.into_iter();
        let first = refused.next();
        for other in refused {
            eprintln!("{}", Failure::from(other).message());
        }
        first.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Prints the rows of a table at once, under the columns of the rows before them.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn stream(&mut self, mut table: Table, cells: &Cells, out: Out<'_>) -> Result {
        table.follow(&mut self.columns);
        if table.is_empty() {
            return Ok(());
        }
        let mut lines = table.lines(cells);
        if self.widths.is_none() && !self.no_headers {
            lines.insert(0, table.header(cells));
        }
        let widths = self.widths.get_or_insert_default();
        for line in &lines {
            for (column, cell) in line.split('\t').enumerate() {
                let width = (cell.chars().count() + tabs::TABLE.padding).max(tabs::TABLE.width_min);
                match widths.get_mut(column) {
                    Some(known) => *known = width.max(*known),
                    None => widths.push(width),
                }
            }
        }
        for line in &lines {
            let padded: String = line.split('\t').zip(&*widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", padded.trim_end())?;
        }
        Ok(out.flush()?)
    }
}

/// Two kinds may have the same columns: the prefix of their names tells them apart.
fn same_kind(block: &Block, cells: &Cells) -> bool {
    block.lines.first().is_some_and(|line| line.split('\t').any(|cell| cell.starts_with(&cells.prefix)))
}

/// Prints an object as it is.
///
/// # Errors
/// When the output is closed.
pub fn print_value(value: &Value, format: Option<Format>, out: Out<'_>) -> Result {
    match format {
        Some(Format::Json) => {
            let mut text = Vec::new();
            let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut text, indent))?;
            text.push(b'\n');
            out.write_all(&text)?;
        }
        _ => write!(out, "{}", yaml::print(value)?)?,
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_watch_goes_on_under_the_columns_of_its_first_table() {
        // Only the first table of a watch names its columns: the rows of all others were empty lines.
        let tables = [
            json!({"columnDefinitions": [{"name": "Name"}, {"name": "Status"}], "rows": []}),
            json!({"rows": [{"cells": ["web", "Pending"]}]}),
            json!({"rows": [{"cells": ["web", "Running"]}]}),
        ];
        let mut printer = Printer::new(false);
        let mut out = Vec::new();
        for table in tables {
            let table = serde_json::from_value(table).expect("a table");
            printer.stream(table, &Cells::default(), &mut out).expect("a buffer takes all");
        }
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "NAME   STATUS\nweb    Pending\nweb    Running\n");
    }
}
