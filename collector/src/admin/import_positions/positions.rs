//! The positions files of Promtail, the Grafana Agent and Alloy.
//!
//! In: their text. Out: entries in the file's order. The sources are `clients/pkg/promtail/positions` of grafana/loki and
//! `internal/component/common/loki/positions` of grafana/alloy:
//!
//! ```yaml
//! positions:
//!   /var/log/pods/default_web-0_6a/web/0.log: "17623"     # Promtail
//!   ? path: /var/log/pods/default_web-0_6a/web/0.log      # Alloy
//!     labels: '{job="default/web"}'
//!   : "17623"
//!   cursor-systemd: s=1d…                                 # neither is a file
//! ```

use std::fmt;

use serde_saphyr::granit_parser::{Event, Parser, Span, StrInput};

/// One position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's path, or the name of a cursor.
    pub path: String,
    /// The offset in bytes, or something else in the case of a cursor.
    pub position: String,
}

/// Why a text is not a positions file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionsError {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for PositionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for PositionsError {}

/// Reads a positions file; an empty one has no entries.
///
/// # Errors
/// The first thing that is not as Promtail and Alloy write it.
pub fn parse(text: &str) -> Result<Vec<Entry>, PositionsError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), line: 1 };
    let mut entries = Vec::new();
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(entries),
            Event::MappingStart(..) => reader.document(&mut entries)?,
            Event::Scalar(text, ..) if matches!(&*text, "" | "~" | "null") => {}
            _ => return Err(reader.error("expected the key positions")),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Of the last event.
    line: usize,
}

impl<'a> Reader<'a> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<Event<'a>, PositionsError> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, Span { start, .. }))) => {
                    self.line = start.line();
                    return Ok(event);
                }
                Some(Err(error)) => {
                    self.line = error.marker().line();
                    return Err(self.error(&format!("not valid YAML: {}", error.info())));
                }
                None => return Ok(Event::StreamEnd),
            }
        }
    }

    fn error(&self, message: &str) -> PositionsError {
        PositionsError { line: self.line, message: message.to_owned() }
    }

    /// The keys of the file.
    fn document(&mut self, entries: &mut Vec<Entry>) -> Result<(), PositionsError> {
        loop {
            match self.next()? {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(key, ..) if key == "positions" => match self.next()? {
                    Event::MappingStart(..) => self.positions(entries)?,
                    Event::Scalar(text, ..) if matches!(&*text, "" | "~" | "null") => {}
                    _ => return Err(self.error("positions must hold paths and offsets")),
                },
                _ => return Err(self.error("expected the key positions and no other")),
            }
        }
    }

    fn positions(&mut self, entries: &mut Vec<Entry>) -> Result<(), PositionsError> {
        loop {
            let path = match self.next()? {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(path, ..) => path.into_owned(),
                Event::MappingStart(..) => self.path_of_key()?,
                _ => return Err(self.error("expected a path")),
            };
            let Event::Scalar(position, ..) = self.next()? else {
                return Err(self.error(&format!("expected an offset for {path:?}")));
            };
            entries.push(Entry { path, position: position.into_owned() });
        }
    }

    /// Alloy's key: a path and the labels of those who read it.
    fn path_of_key(&mut self) -> Result<String, PositionsError> {
        let mut path = None;
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return path.ok_or_else(|| self.error("a position without a path")),
                Event::Scalar(key, ..) => key,
                _ => return Err(self.error("expected path or labels")),
            };
            let Event::Scalar(value, ..) = self.next()? else {
                return Err(self.error(&format!("expected a text for {key:?}")));
            };
            if key == "path" {
                path = Some(value.into_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, position: &str) -> Entry {
        Entry { path: path.into(), position: position.into() }
    }

    #[test]
    fn promtails_file_is_read() {
        let text = "positions:\n  /var/log/pods/a_b_c/d/0.log: \"17623\"\n  '/var/log/odd name.log': 5\n  \
                    cursor-journal: s=1d;i=2\n";
        let expected = [
            entry("/var/log/pods/a_b_c/d/0.log", "17623"),
            entry("/var/log/odd name.log", "5"),
            entry("cursor-journal", "s=1d;i=2"),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn alloys_file_is_read() {
        let text = "positions:\n  ? path: /var/log/pods/a_b_c/d/0.log\n    labels: '{__path__=\"x\", job=\"a/d\"}'\n  \
                    : \"17623\"\n  ? path: cursor-a/b:c\n    labels: '{}'\n  : \"1700000000\"\n";
        assert_eq!(
            parse(text).unwrap(),
            [entry("/var/log/pods/a_b_c/d/0.log", "17623"), entry("cursor-a/b:c", "1700000000")]
        );
    }

    #[test]
    fn a_file_without_positions_has_none() {
        for text in ["", "positions: {}\n", "positions:\n", "---\npositions: {}\n", "# nothing\n"] {
            assert_eq!(parse(text), Ok(Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_positions_file_is_told_with_its_line() {
        for (text, line) in [
            ("clients:\n", 1),
            ("positions: {}\nserver: {}\n", 2),
            ("- a\n", 1),
            ("positions:\n  a: [1]\n", 2),
            ("positions:\n  ? labels: x\n  : 1\n", 3),
            ("positions:\n  ? [a]\n  : 1\n", 2),
            ("positions: 7\n", 1),
            ("positions:\n  \"a\\nb\": [\n", 2),
            ("positions:\n  a: \"1\n", 2),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}
