//! Columns as wide as their widest cell.
//!
//! Source: Go's `text/tabwriter`, whose elastic tab stops kubectl prints with: a cell ends with a tab, a column is a run
//! of adjacent lines that have a cell there, and what follows a line's last tab is in no column.

/// How wide columns are made.
#[derive(Clone, Copy, Debug)]
pub struct Tabs {
    /// No column is narrower than this, its padding included.
    pub width_min: usize,
    /// Spaces after the widest cell.
    pub padding: usize,
}

/// As `kubectl describe` sets them.
pub const DESCRIBE: Tabs = Tabs { width_min: 0, padding: 2 };

/// As `kubectl get` sets them.
pub const TABLE: Tabs = Tabs { width_min: 6, padding: 3 };

impl Tabs {
    /// Replaces the tabs of `text` by spaces.
    pub fn align(self, text: &str) -> String {
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
        let deepest = widths.iter().map(Vec::len).max().unwrap_or(0);
        for column in 0..deepest {
            self.measure(&lines, &mut widths, column);
        }
        let mut aligned = String::with_capacity(text.len() * 2);
        for (cells, widths) in lines.iter().zip(&widths) {
            let (last, padded) = cells.split_last().expect("split gives at least one");
            for (cell, width) in padded.iter().zip(widths) {
                aligned.push_str(cell);
                aligned.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
            aligned.push_str(last);
            aligned.push('\n');
        }
        aligned
    }

    /// Gives each run of adjacent lines with a cell in `column` the width of its widest.
    fn measure(self, lines: &[Vec<&str>], widths: &mut [Vec<usize>], column: usize) {
        let mut from = 0;
        while from < lines.len() {
            let run = lines[from..].iter().take_while(|cells| cells.len() > column + 1).count();
            let block = from..from + run;
            let widest = lines[block.clone()].iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
            // As Go has it: a column of empty cells alone takes no room.
            let width =
                if widest == 0 && self.width_min == 0 { 0 } else { (widest + self.padding).max(self.width_min) };
            for line in &mut widths[block] {
                line[column] = width;
            }
            from += run.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_within_adjacent_lines_only() {
        let text = "Name:\tweb\nNamespace:\tdefault\nno cells\nA:\tb\nConditions:\n  Type\tStatus\n  Ready\tTrue\n";
        let aligned = "\
Name:       web
Namespace:  default
no cells
A:  b
Conditions:
  Type   Status
  Ready  True
";
        assert_eq!(DESCRIBE.align(text), aligned);
    }

    #[test]
    fn a_table_has_narrow_columns_of_six() {
        let text = "NAME\tREADY\tAGE\nhello-1\t1/1\t5s\n";
        assert_eq!(TABLE.align(text), "NAME      READY   AGE\nhello-1   1/1     5s\n");
    }
}
