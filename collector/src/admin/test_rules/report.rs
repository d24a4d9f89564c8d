//! Tests and their differences, for people.

use std::{io::Write, path::Path};

use super::{align::Row, compare::Difference};
use crate::{
    admin::terminal::{Kind, Paint, count},
    config::{Place, RuleTest},
};

pub struct Report<'o, W> {
    out: &'o mut W,
    paint: Paint,
}

impl<'o, W: Write> Report<'o, W> {
    pub fn new(out: &'o mut W, paint: Paint) -> Self {
        Self { out, paint }
    }

    /// A test; `rows`: none where it passed.
    pub fn test(&mut self, path: Option<&Path>, index: usize, test: &RuleTest, rows: &[Row<'_>]) -> anyhow::Result<()> {
        let name = if test.name.is_empty() { format!("tests[{index}]") } else { test.name.clone() };
        if rows.is_empty() {
            let ok = self.paint.text(Kind::Good, "ok  ");
            writeln!(self.out, "{ok}  {name}")?;
            return Ok(());
        }
        let fail = self.paint.text(Kind::Bad, "FAIL");
        writeln!(self.out, "{fail}  {name} ({})", place(path, test.place))?;
        for (number, row) in (1..).zip(rows) {
            if !row.differences.is_empty() {
                self.row(number, row)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, number: usize, row: &Row<'_>) -> anyhow::Result<()> {
        let expected = row.expected.and_then(|expected| expected.place);
        let places: Vec<String> = [
            expected.map(|place| format!("expected in line {} of the file", place.line)),
            row.got.map(|got| format!("made of line {} of the test", got.line)),
        ]
        .into_iter()
        .flatten()
        .collect();
        writeln!(self.out, "      {number}. {}", places.join(", "))?;
        let width = row.differences.iter().map(|difference| difference.of.len()).max().unwrap_or(0);
        for Difference { of, expected, got } in &row.differences {
            let (expected, got) = (self.paint.text(Kind::Good, expected), self.paint.text(Kind::Bad, got));
            let gap = if width == 0 { "" } else { "  " };
            writeln!(self.out, "         {of:width$}{gap}expected  {expected}")?;
            writeln!(self.out, "         {:width$}{gap}got       {got}", "")?;
        }
        Ok(())
    }

    pub fn end(&mut self, total: usize, failed: usize) -> anyhow::Result<()> {
        let passed = total - failed;
        let all = count(total as u64, "test", "tests");
        writeln!(self.out, "{all}: {passed} passed, {failed} failed")?;
        self.out.flush()?;
        Ok(())
    }
}

/// As compilers write it.
fn place(path: Option<&Path>, place: Option<Place>) -> String {
    let path = path.map_or_else(|| "configuration".into(), |path| path.display().to_string());
    place.map_or_else(|| path.clone(), |place| format!("{path}:{}", place.line))
}
