//! A line that is not yet whole: its pieces joined, made valid UTF-8, and given out in several entries where it is longer
//! than the limit.
//!
//! Where a long line is split depends on its bytes alone, not on how the runtime or a read divided them: entries are as
//! long as the limit allows, cut between two characters.

use super::{Counts, Limits, Sink, utf8};
use crate::{
    config::Oversize,
    model::{Line, Position, Stream},
};

/// Unfinished lines hold the checkpoint where they began until they are so many times as long as the limit. Lines that end
/// before are repeated with identical entries after a restart. A line without end (a program that never writes a newline)
/// must not hold the checkpoint for ever: from there on the checkpoint follows what was given out, and a restart in the
/// line's middle goes on with the timestamp of the piece where it does.
const HELD_LIMITS: u64 = 16;

/// Bytes of unfinished lines up to which they hold the checkpoint where they began.
pub(super) fn held_bytes_max(limits: Limits) -> u64 {
    (limits.max_line_bytes as u64).saturating_mul(HELD_LIMITS)
}

/// Where lines go, and what counts them.
pub(super) struct Output<'o, S> {
    pub(super) limits: Limits,
    pub(super) counts: &'o mut Counts,
    pub(super) sink: &'o mut S,
}

impl<S: Sink> Output<'_, S> {
    /// Gives out a line, or an entry of a split one: valid UTF-8 of at most the limit.
    #[inline]
    pub(super) fn line(&mut self, line: Line<'_>) {
        self.counts.lines += 1;
        self.sink.line(line);
    }
}

/// The pieces of one line so far.
pub(super) struct Partial {
    timestamp_ns: i64,
    stream: Stream,
    /// First byte of the record with the line's first piece.
    first: Position,
    /// First byte of the record with the first piece that is not wholly given out.
    resume: Position,
    /// The container's bytes so far.
    seen_bytes: u64,
    /// What is not given out yet; valid UTF-8.
    text: Vec<u8>,
    repair: utf8::Repair,
    /// Entries of the line that were given out already.
    given_out: u32,
}

impl Partial {
    /// A line whose first piece comes from the record at `at`. `spare` gives its memory.
    pub(super) fn open(spare: &mut Option<Box<Self>>, timestamp_ns: i64, stream: Stream, at: Position) -> Box<Self> {
        let new = |text| Self {
            timestamp_ns,
            stream,
            first: at,
            resume: at,
            seen_bytes: 0,
            text,
            repair: utf8::Repair::default(),
            given_out: 0,
        };
        let Some(mut partial) = spare.take() else { return Box::new(new(Vec::new())) };
        let mut text = std::mem::take(&mut partial.text);
        text.clear();
        *partial = new(text);
        partial
    }

    /// The record that a restart must begin with.
    pub(super) fn held_from(&self, limits: Limits) -> Position {
        if self.seen_bytes <= held_bytes_max(limits) { self.first } else { self.resume }
    }

    /// The time of its first piece, nanoseconds since 1970.
    pub(super) fn timestamp_ns(&self) -> i64 {
        self.timestamp_ns
    }

    /// Bytes of memory for what it holds back.
    pub(super) fn held_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Appends a piece, from the record at `at`. `valid`: the piece is known to be valid UTF-8.
    pub(super) fn push<S: Sink>(&mut self, piece: &[u8], valid: bool, at: Position, output: &mut Output<'_, S>) {
        let unsent_before = self.text.len();
        let open_before = self.repair.is_open();
        self.seen_bytes += piece.len() as u64;
        let mut given_out = 0;
        let mut rest = piece;
        while !rest.is_empty() {
            if self.drops(output.limits) {
                output.counts.cut_bytes += rest.len() as u64;
                break;
            }
            // No more at once than makes one entry: a piece of any length needs no more memory than the limit.
            let room = output.limits.max_line_bytes.saturating_add(4) - self.text.len();
            let whole_characters = valid && !self.repair.is_open();
            let len = if whole_characters { utf8::character_border(rest, room) } else { room.min(rest.len()) };
            if whole_characters {
                self.text.extend_from_slice(&rest[..len]);
            } else {
                self.repair.append(&rest[..len], &mut self.text);
            }
            rest = &rest[len..];
            given_out += self.give_out_full_entries(output);
        }
        let nothing_older_left = given_out > unsent_before || (given_out == unsent_before && !open_before);
        if nothing_older_left || self.drops(output.limits) {
            self.resume = at;
        }
    }

    /// Ends the line: gives out what is left. The memory goes to `spare`.
    pub(super) fn finish<S: Sink>(mut self: Box<Self>, output: &mut Output<'_, S>, spare: &mut Option<Box<Self>>) {
        if !self.drops(output.limits) {
            self.repair.finish(&mut self.text);
            self.give_out_full_entries(output);
        }
        if !self.drops(output.limits) {
            output.line(self.entry(&self.text, output.limits));
        }
        output.counts.oversize_lines += u64::from(self.given_out > 0);
        output.counts.invalid_utf8_lines += u64::from(self.repair.has_replaced());
        *spare = Some(self);
    }

    /// The line's next entry. Entries of one line are a nanosecond apart: to Loki, two neighbours with one timestamp and one text
    /// are the same entry.
    fn entry<'a>(&self, text: &'a [u8], limits: Limits) -> Line<'a> {
        let timestamp_ns = self.timestamp_ns.saturating_add(i64::from(self.given_out));
        Line { at: self.held_from(limits), timestamp_ns, stream: self.stream, text }
    }

    /// The rest of the line is cut off.
    fn drops(&self, limits: Limits) -> bool {
        self.given_out > 0 && limits.oversize == Oversize::Cut
    }

    /// Gives out entries until what is left fits into one, and returns their bytes. All of a line's last entry is kept
    /// back, as the line's end may bring it.
    fn give_out_full_entries<S: Sink>(&mut self, output: &mut Output<'_, S>) -> usize {
        let mut given_out = 0;
        while self.text.len() - given_out > output.limits.max_line_bytes {
            let unsent = &self.text[given_out..];
            let entry = &unsent[..utf8::character_border(unsent, output.limits.max_line_bytes)];
            output.line(self.entry(entry, output.limits));
            given_out += entry.len();
            self.given_out += 1;
            if output.limits.oversize == Oversize::Cut {
                output.counts.cut_bytes += (self.text.len() - given_out) as u64;
                self.text.clear();
                return given_out;
            }
        }
        self.text.drain(..given_out);
        given_out
    }
}
