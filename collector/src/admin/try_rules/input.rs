//! Bytes to lines, by the collector's own decoder: CRI and docker records, and anything else as it is.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use crate::{
    decode::{Clock, ContainerParser, Counts, Limits, Scratch},
    model::{Line, Position, Stream, now_ns},
    tail::chain,
};

const CHUNK_BYTES: usize = 64 << 10;

/// So far back the last lines of a file are looked for.
const BACK_BYTES_MAX: u64 = 64 << 20;

/// A record of which no end comes is taken as one when it is so long.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// A line that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub time_ns: i64,
    pub stream: Stream,
    pub text: Vec<u8>,
}

/// The last lines of those that are added.
pub struct Last {
    lines: VecDeque<Logged>,
    max: usize,
}

impl Last {
    pub fn new(max: usize) -> Self {
        Self { lines: VecDeque::new(), max }
    }

    pub fn add(&mut self, line: &Line<'_>) {
        if self.lines.len() == self.max {
            self.lines.pop_front();
        }
        if self.max > 0 {
            self.lines.push_back(Logged { time_ns: line.timestamp_ns, stream: line.stream, text: line.text.to_vec() });
        }
    }

    pub fn take(self) -> Vec<Logged> {
        self.lines.into()
    }
}

/// Reads to the end and gives each line to `take`. `clock`: what records without a time get theirs from; without one they have
/// the time at which they are read.
///
/// # Errors
/// Reading failed, or `take` did.
pub fn read(
    mut reader: impl Read,
    limits: Limits,
    clock: Option<Clock>,
    mut take: impl FnMut(&Line<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut parser, mut scratch, mut counts) = (ContainerParser::new(limits), Scratch::default(), Counts::default());
    let (mut buffer, mut offset, mut failed) = (Vec::new(), 0, None);
    parser.enter(clock.unwrap_or_default());
    let mut sink = |line: Line<'_>| {
        if failed.is_none() {
            failed = take(&line).err();
        }
    };
    loop {
        let before = buffer.len();
        buffer.resize(before + CHUNK_BYTES, 0);
        let read = match reader.read(&mut buffer[before..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                buffer.truncate(before);
                continue;
            }
            read => read?,
        };
        buffer.truncate(before + read);
        if clock.is_none() && counts.cri_records + counts.docker_records == 0 {
            parser.enter(Clock { timestamp_ns: now_ns(), offset });
        }
        let at = Position { turn: 0, offset };
        let done = parser.feed(&buffer, at, &mut scratch, &mut counts, &mut sink);
        buffer.drain(..done);
        offset += done as u64;
        if read == 0 || buffer.len() > RECORD_BYTES_MAX {
            let at = Position { turn: 0, offset };
            parser.feed_unterminated(&buffer, at, &mut scratch, &mut counts, &mut sink);
            offset += buffer.len() as u64;
            buffer.clear();
        }
        if read == 0 {
            break;
        }
    }
    parser.flush(&mut scratch, &mut counts, &mut sink);
    failed.map_or(Ok(()), Err)
}

/// The last lines of a file; a record that has no end yet is left out, as the collector does.
///
/// # Errors
/// The file cannot be read.
pub fn last_lines(file: &mut File, limits: Limits, lines: usize) -> io::Result<Vec<Logged>> {
    let (bytes, offset) = last_records(file, lines)?;
    let (mut parser, mut scratch, mut counts) = (ContainerParser::new(limits), Scratch::default(), Counts::default());
    parser.enter(chain::clock_before(&*file, offset));
    let mut last = Last::new(lines);
    let at = Position { turn: 0, offset };
    parser.feed(&bytes, at, &mut scratch, &mut counts, &mut |line: Line<'_>| last.add(&line));
    Ok(last.take())
}

/// The bytes of the last records, to the end of the file, and where they begin.
fn last_records(file: &mut File, records: usize) -> io::Result<(Vec<u8>, u64)> {
    let end = file.metadata()?.len();
    let (mut bytes, mut begin) = (Vec::new(), end);
    while begin > 0 && end - begin < BACK_BYTES_MAX {
        let step = begin.min(CHUNK_BYTES as u64);
        begin -= step;
        let mut chunk = vec![0; step as usize];
        file.seek(SeekFrom::Start(begin))?;
        // It may have been truncated since.
        if let Err(error) = file.read_exact(&mut chunk) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok((Vec::new(), 0)) } else { Err(error) };
        }
        chunk.extend_from_slice(&bytes);
        bytes = chunk;
        if memchr::memchr_iter(b'\n', &bytes).count() > records {
            break;
        }
    }
    let newlines: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).collect();
    // Behind the newline before the first of them.
    let skip = match newlines.len().checked_sub(records + 1) {
        Some(before) => newlines[before] + 1,
        None if begin > 0 => newlines.first().map_or(bytes.len(), |first| first + 1),
        None => 0,
    };
    bytes.drain(..skip);
    Ok((bytes, begin + skip as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::Lines;

    fn limits() -> Limits {
        Limits::from(&Lines::default())
    }

    fn all(text: &str) -> Vec<(Stream, String)> {
        let mut lines = Vec::new();
        read(text.as_bytes(), limits(), None, |line| {
            lines.push((line.stream, String::from_utf8_lossy(line.text).into_owned()));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn records_of_both_formats_and_raw_text_become_lines_the_last_one_without_a_newline() {
        let cri = "2026-01-02T03:04:05Z stderr P par\n2026-01-02T03:04:05Z stderr F tial\n";
        let docker = r#"{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:06Z"}"#;
        let lines = all(&format!("{cri}{docker}\n{{\"level\":\"info\"}}\nraw"));
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["partial", "hello", "{\"level\":\"info\"}", "raw"]);
        assert_eq!((lines[0].0, lines[1].0), (Stream::Stderr, Stream::Stdout));
    }

    #[test]
    fn the_last_lines_of_a_long_file_are_found_and_an_unfinished_one_is_left_out() {
        let mut file = tempfile::tempfile().unwrap();
        for i in 0..5000 {
            writeln!(file, "2026-01-02T03:04:05Z stdout F line {i} {}", "x".repeat(50)).unwrap();
        }
        write!(file, "2026-01-02T03:04:05Z stdout F not fin").unwrap();
        for n in [1, 3, 3000] {
            let lines = last_lines(&mut file, limits(), n).unwrap();
            assert_eq!(lines.len(), n);
            assert!(lines[0].text.starts_with(format!("line {} ", 5000 - n).as_bytes()));
            assert!(lines[n - 1].text.starts_with(b"line 4999 "));
        }
        assert_eq!(last_lines(&mut file, limits(), 9999).unwrap().len(), 5000);
        assert!(last_lines(&mut tempfile::tempfile().unwrap(), limits(), 5).unwrap().is_empty());
    }
}
