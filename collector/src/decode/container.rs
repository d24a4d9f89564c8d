//! One container's parser: records in, lines out.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    Counts, Limits, Line, Malformed, Piece, Record, Stream, cri, docker,
    partial::{self, Output, Partial},
    utf8,
};
use crate::tail::read::Position;

/// Longest UTF-8 character: the limit is at least so long, so that each entry makes progress.
const CHARACTER_BYTES_MAX: usize = 4;

/// Memory that parsing needs for a moment and that all containers of a thread share, so that an idle container has none.
#[derive(Default)]
pub struct Scratch {
    docker: docker::Scratch,
    repaired: Vec<u8>,
    spare: Option<Box<Partial>>,
}

/// What is known between two reads of one container's log: its unfinished lines. Needs no heap while it has none.
pub struct ContainerParser {
    limits: Limits,
    /// Of the last record that was well formed.
    last_timestamp_ns: Option<i64>,
    /// The unfinished lines of stdout and stderr.
    partials: [Option<Box<Partial>>; 2],
    /// What was read since there was last none; of no meaning while there is none.
    unfinished: Unfinished,
}

/// A stretch of the log in which a line of one stream or the other is unfinished all the time.
///
/// Lines of the two streams overlap. A restart where the open line of one stream begins could fall into the middle of a
/// line of the other that is finished by now, and would send that one's end once more, as a line of its own. So a restart
/// goes back to where no line was open.
#[derive(Clone, Copy)]
struct Unfinished {
    from: Position,
    /// The container's bytes in lines of several pieces.
    bytes: u64,
}

impl ContainerParser {
    /// A container of which nothing was read yet.
    pub fn new(limits: Limits) -> Self {
        let max_line_bytes = limits.max_line_bytes.max(CHARACTER_BYTES_MAX);
        Self {
            limits: Limits { max_line_bytes, ..limits },
            last_timestamp_ns: None,
            partials: [None, None],
            unfinished: Unfinished { from: Position { file: 0, offset: 0 }, bytes: 0 },
        }
    }

    /// Parses the whole records in `chunk`, whose first byte lies at `at` and begins a record, and gives their lines to
    /// `sink`. Returns the bytes that are done: up to and with the last newline. The next chunk begins after them.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        at: Position,
        scratch: &mut Scratch,
        counts: &mut Counts,
        sink: &mut impl FnMut(Line<'_>),
    ) -> usize {
        let Some(last_newline) = memchr::memrchr(b'\n', chunk) else { return 0 };
        let records = &chunk[..=last_newline];
        let mut validity = utf8::Validity::new(records);
        let mut output = Output { limits: self.limits, counts, sink };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', records) {
            let record_at = Position { offset: at.offset + start as u64, ..at };
            self.record(&records[start..end], validity.holds(start, end), record_at, scratch, &mut output);
            start = end + 1;
        }
        records.len()
    }

    /// Parses `rest`, whose first byte lies at `at`, as one record, with or without its newline: the end of a file that
    /// will not grow any more, or a record that is longer than a read buffer.
    pub fn feed_unterminated(
        &mut self,
        rest: &[u8],
        at: Position,
        scratch: &mut Scratch,
        counts: &mut Counts,
        sink: &mut impl FnMut(Line<'_>),
    ) {
        if rest.is_empty() {
            return;
        }
        let record = rest.strip_suffix(b"\n").unwrap_or(rest);
        let valid = simdutf8::basic::from_utf8(record).is_ok();
        self.record(record, valid, at, scratch, &mut Output { limits: self.limits, counts, sink });
    }

    /// Where a restart must begin for the unfinished lines; the checkpoint must not pass it. `None`: no line is
    /// unfinished.
    pub fn held_from(&self) -> Option<Position> {
        let oldest = self.partials.iter().flatten().map(|partial| partial.held_from(self.limits)).min()?;
        let endless = self.unfinished.bytes > partial::held_bytes_max(self.limits);
        Some(if endless { oldest } else { self.unfinished.from })
    }

    /// Gives out the unfinished lines as they are, the older one first: the container has ended, or the rest was waited
    /// for too long.
    pub fn flush(&mut self, scratch: &mut Scratch, counts: &mut Counts, sink: &mut impl FnMut(Line<'_>)) {
        let mut output = Output { limits: self.limits, counts, sink };
        let mut open = self.partials.each_mut().map(Option::take);
        open.sort_by_key(|partial| partial.as_ref().map(|p| p.first()));
        for partial in open.into_iter().flatten() {
            partial.finish(&mut output, &mut scratch.spare);
        }
    }

    /// Parses one record. `valid`: it is valid UTF-8.
    #[inline]
    fn record<S: FnMut(Line<'_>)>(
        &mut self,
        record: &[u8],
        valid: bool,
        at: Position,
        scratch: &mut Scratch,
        output: &mut Output<'_, S>,
    ) {
        if record.first() == Some(&b'{') {
            self.docker_record(record, valid, at, scratch, output);
            return;
        }
        match cri::parse(record) {
            Ok(parsed) => {
                output.counts.cri_records += 1;
                self.join(&parsed, valid, at, &mut scratch.spare, output);
            }
            Err(reason) => self.raw(record, valid, reason, at, scratch, output),
        }
    }

    fn docker_record<S: FnMut(Line<'_>)>(
        &mut self,
        record: &[u8],
        valid: bool,
        at: Position,
        scratch: &mut Scratch,
        output: &mut Output<'_, S>,
    ) {
        if record.len() > docker::RECORD_BYTES_MAX {
            return self.raw(record, valid, Malformed::Json, at, scratch, output);
        }
        let Scratch { docker, repaired, spare } = scratch;
        let parsed = if valid {
            docker::parse(record, docker)
        } else {
            // Docker writes no invalid UTF-8: the disk did.
            let mut repair = utf8::Repair::default();
            repaired.clear();
            repair.append(record, repaired);
            repair.finish(repaired);
            docker::parse(repaired, docker)
        };
        match parsed {
            Ok(parsed) => {
                output.counts.docker_records += 1;
                output.counts.invalid_utf8_lines += u64::from(!valid);
                self.join(&parsed, true, at, spare, output);
            }
            Err(reason) => self.raw(record, valid, reason, at, scratch, output),
        }
    }

    /// Adds a record to its stream's line, and gives the line out if that ends it.
    #[inline]
    fn join<S: FnMut(Line<'_>)>(
        &mut self,
        record: &Record<'_>,
        valid: bool,
        at: Position,
        spare: &mut Option<Box<Partial>>,
        output: &mut Output<'_, S>,
    ) {
        self.last_timestamp_ns = Some(record.timestamp_ns);
        if record.piece == Piece::Last && self.partials[record.stream as usize].is_none() {
            give_out_whole(record.timestamp_ns, record.stream, record.content, valid, at, spare, output);
        } else {
            self.join_piece(record, valid, at, spare, output);
        }
    }

    /// As [`Self::join`], for a line of several pieces.
    fn join_piece<S: FnMut(Line<'_>)>(
        &mut self,
        record: &Record<'_>,
        valid: bool,
        at: Position,
        spare: &mut Option<Box<Partial>>,
        output: &mut Output<'_, S>,
    ) {
        if self.partials.iter().all(Option::is_none) {
            self.unfinished = Unfinished { from: at, bytes: 0 };
        }
        self.unfinished.bytes += record.content.len() as u64;
        let open = &mut self.partials[record.stream as usize];
        let mut partial = open.take().unwrap_or_else(|| Partial::open(spare, record.timestamp_ns, record.stream, at));
        partial.push(record.content, valid, at, output);
        match record.piece {
            Piece::Partial => *open = Some(partial),
            Piece::Last => partial.finish(output, spare),
        }
    }

    /// Gives out a record of neither format as a line of its own. Its time is that of the record before, so that a
    /// repeated line is the same line; where there is none, the present.
    #[cold]
    fn raw<S: FnMut(Line<'_>)>(
        &mut self,
        record: &[u8],
        valid: bool,
        reason: Malformed,
        at: Position,
        scratch: &mut Scratch,
        output: &mut Output<'_, S>,
    ) {
        output.counts.count_malformed(reason);
        let timestamp_ns = self.last_timestamp_ns.unwrap_or_else(now_ns);
        give_out_whole(timestamp_ns, Stream::Stdout, record, valid, at, &mut scratch.spare, output);
    }
}

/// Gives out a line that came in one piece: as it lies in the read buffer, if it is valid and not too long.
#[inline]
fn give_out_whole<S: FnMut(Line<'_>)>(
    timestamp_ns: i64,
    stream: Stream,
    content: &[u8],
    valid: bool,
    at: Position,
    spare: &mut Option<Box<Partial>>,
    output: &mut Output<'_, S>,
) {
    if valid && content.len() <= output.limits.max_line_bytes {
        output.line(timestamp_ns, stream, content);
        return;
    }
    let mut line = Partial::open(spare, timestamp_ns, stream, at);
    line.push(content, valid, at, output);
    line.finish(output, spare);
}

fn now_ns() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)
}
