//! The collector's parser with what a caller keeps beside it.

use collector::{
    config::Oversize,
    decode::{ContainerParser, Counts, Limits, Scratch},
    model::{Line, Position, Stream},
};

/// A line that owns its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub timestamp_ns: i64,
    pub stream: Stream,
    pub text: String,
}

/// A parser and what it gave out.
pub struct Fed {
    parser: ContainerParser,
    scratch: Scratch,
    pub counts: Counts,
    pub lines: Vec<Owned>,
}

impl Fed {
    pub fn new(max_line_bytes: usize, oversize: Oversize) -> Self {
        Self {
            parser: ContainerParser::new(Limits { max_line_bytes, oversize }),
            scratch: Scratch::default(),
            counts: Counts::default(),
            lines: Vec::new(),
        }
    }

    /// Returns how many bytes of `chunk`, which lies at `offset`, are done.
    pub fn feed(&mut self, chunk: &[u8], offset: usize) -> usize {
        let Self { parser, scratch, counts, lines } = self;
        parser.feed(chunk, position(offset), scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)))
    }

    pub fn feed_unterminated(&mut self, rest: &[u8], offset: usize) {
        let Self { parser, scratch, counts, lines } = self;
        parser
            .feed_unterminated(rest, position(offset), scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)));
    }

    pub fn flush(&mut self) {
        let Self { parser, scratch, counts, lines } = self;
        parser.flush(scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)));
    }

    /// From where each stream is read after a restart: its unfinished line, else `done`.
    pub fn resume(&self, done: usize) -> [usize; 2] {
        Stream::ALL.map(|stream| self.parser.held_from(stream).map_or(done, |held| held.offset as usize))
    }

    /// Passes over what each stream has already, as after a restart.
    pub fn pass_over(&mut self, from: [usize; 2]) {
        self.parser.pass_over(from.map(|offset| offset as u64));
    }
}

fn position(offset: usize) -> Position {
    Position { turn: 0, offset: offset as u64 }
}

fn owned(line: Line<'_>) -> Owned {
    let text = String::from_utf8(line.text.to_vec()).expect("a line is valid UTF-8");
    Owned { timestamp_ns: line.timestamp_ns, stream: line.stream, text }
}

/// Parses one record both ways, with its newline and as the end of a file, and returns its only line.
pub fn only_line(record: &[u8]) -> (Owned, Counts) {
    let (mut whole, mut unterminated) = (Fed::new(1 << 20, Oversize::Split), Fed::new(1 << 20, Oversize::Split));
    let with_newline = [record, b"\n"].concat();
    assert_eq!(whole.feed(&with_newline, 0), with_newline.len());
    whole.flush();
    unterminated.feed_unterminated(&with_newline, 0);
    unterminated.flush();
    assert_eq!(whole.counts, unterminated.counts);
    assert_eq!((whole.lines.len(), unterminated.lines.len()), (1, 1));
    let (line, other) = (whole.lines.remove(0), unterminated.lines.remove(0));
    assert_eq!((line.stream, &line.text), (other.stream, &other.text));
    (line, whole.counts)
}
