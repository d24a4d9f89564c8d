//! One container's parser: records in, lines out.

use super::{
    Counts, Limits, Malformed, Piece, Record, Sink, cri, docker,
    partial::{Output, Partial},
    timestamp::Timestamps,
    utf8,
};
use crate::model::{Line, Position, Stream};

/// Longest UTF-8 character: the limit is at least this long, so that each entry makes progress.
const CHARACTER_BYTES_MAX: usize = 4;

/// Memory that parsing needs only during a call; all containers of a thread share it, so that an idle container has none.
#[derive(Default)]
pub struct Scratch {
    timestamps: Timestamps,
    docker: docker::Scratch,
    repaired: Vec<u8>,
    spare: Option<Box<Partial>>,
}

/// An unfinished line is given out as it is when a piece comes that is this much younger than its first one: a line that never
/// ends, such as a progress bar, must not hold the position for hours.
const PARTIAL_AGE_MAX_NS: i64 = 300 * 1_000_000_000;

/// What is known between two reads of one container's log: its unfinished lines. Needs no heap while it has none.
pub struct ContainerParser {
    limits: Limits,
    clock: Clock,
    /// Records of each stream before this offset of the file are skipped.
    from: [u64; 2],
    /// The unfinished lines of stdout and stderr.
    partials: [Option<Box<Partial>>; 2],
}

/// What the time of a record without one is derived from. It depends on the file alone, so that a line that is read again has the
/// same time again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// A time that is known, nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// Of the record at this offset of the file.
    pub offset: u64,
}

impl Clock {
    /// A nanosecond later for each byte since then: two lines never have the same time.
    fn at(self, offset: u64) -> i64 {
        self.timestamp_ns.saturating_add_unsigned(offset.saturating_sub(self.offset))
    }
}

impl ContainerParser {
    /// A container of which nothing was read yet.
    pub fn new(limits: Limits) -> Self {
        let max_line_bytes = limits.max_line_bytes.max(CHARACTER_BYTES_MAX);
        Self {
            limits: Limits { max_line_bytes, ..limits },
            clock: Clock::default(),
            from: [0; 2],
            partials: [None, None],
        }
    }

    /// Another file follows: records without a time get theirs from `clock`.
    pub fn enter(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// What the time of records without one is derived from now.
    #[cfg(test)]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// From now on records of a stream before its offset are skipped; `u64::MAX`: all of them.
    pub fn pass_over(&mut self, from: [u64; 2]) {
        self.from = from;
    }

    /// Parses the whole records in `chunk`, whose first byte lies at `at` and begins a record, and gives their lines to
    /// `sink`, as long as that has room. Returns the bytes that are done; the next chunk begins after them.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        at: Position,
        scratch: &mut Scratch,
        counts: &mut Counts,
        sink: &mut impl Sink,
    ) -> usize {
        // After a power cut a log may go on with a hole of any length. Its last NUL stays, so that a newline after it ends no line.
        let nuls = leading_nuls(chunk).saturating_sub(1);
        counts.nul_bytes += nuls as u64;
        let (chunk, at) = (&chunk[nuls..], Position { offset: at.offset + nuls as u64, ..at });
        let Some(last_newline) = memchr::memrchr(b'\n', chunk) else { return nuls };
        let records = &chunk[..=last_newline];
        let mut validity = utf8::Validity::new(records);
        let is_torn = has_nul_at_a_block(records, at.offset);
        let mut output = Output { limits: self.limits, counts, sink };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', records) {
            if !output.sink.has_room() {
                break;
            }
            let record_at = Position { offset: at.offset + start as u64, ..at };
            let (record, valid) = (&records[start..end], validity.holds(start, end));
            if is_torn || record.first() == Some(&0) {
                self.records_between_nuls(record, valid, record_at, scratch, &mut output);
            } else {
                self.record(record, valid, record_at, scratch, &mut output);
            }
            start = end + 1;
        }
        nuls + start
    }

    /// Parses `rest`, whose first byte lies at `at`, as one record, with or without its newline: the end of a file that
    /// will not grow any more, or a record that is longer than a read buffer.
    pub fn feed_unterminated(
        &mut self,
        rest: &[u8],
        at: Position,
        scratch: &mut Scratch,
        counts: &mut Counts,
        sink: &mut impl Sink,
    ) {
        if rest.is_empty() {
            return;
        }
        let record = rest.strip_suffix(b"\n").unwrap_or(rest);
        let valid = simdutf8::basic::from_utf8(record).is_ok();
        self.records_between_nuls(record, valid, at, scratch, &mut Output { limits: self.limits, counts, sink });
    }

    /// Where the unfinished line of a stream begins; its saved position must not pass it. `None`: no line is unfinished.
    pub fn held_from(&self, stream: Stream) -> Option<Position> {
        self.partials[stream as usize].as_ref().map(|partial| partial.held_from(self.limits))
    }

    /// Bytes of unfinished lines.
    pub fn held_bytes(&self) -> usize {
        self.partials.iter().flatten().map(|partial| partial.held_bytes()).sum()
    }

    /// Forgets the unfinished lines: they are read again.
    pub fn forget_unfinished(&mut self) {
        self.partials = [None, None];
    }

    /// Gives out the unfinished lines as they are, the older one first: the container has ended, or the rest was waited
    /// for too long.
    pub fn flush(&mut self, scratch: &mut Scratch, counts: &mut Counts, sink: &mut impl Sink) {
        let mut output = Output { limits: self.limits, counts, sink };
        let mut open = self.partials.each_mut().map(Option::take);
        open.sort_by_key(|partial| partial.as_ref().map(|partial| partial.held_from(self.limits)));
        for partial in open.into_iter().flatten() {
            partial.finish(&mut output, &mut scratch.spare);
        }
    }

    /// Parses one record. `valid`: it is valid UTF-8.
    #[inline(always)]
    fn record<S: Sink>(
        &mut self,
        record: &[u8],
        valid: bool,
        at: Position,
        scratch: &mut Scratch,
        output: &mut Output<'_, S>,
    ) {
        if record.first() == Some(&b'{') {
            return self.docker_record(record, valid, at, scratch, output);
        }
        match cri::parse(record, &mut scratch.timestamps) {
            Ok(parsed) => {
                self.join(&parsed, valid, at, &mut scratch.spare, output, |counts| counts.cri_records += 1);
            }
            Err(reason) => self.raw(record, valid, reason, at, scratch, output),
        }
    }

    /// A power cut leaves NULs where data was not written any more, before a record or within one; the next record follows
    /// without a newline between. NULs that a container wrote are part of its line.
    #[cold]
    fn records_between_nuls<S: Sink>(
        &mut self,
        mut record: &[u8],
        valid: bool,
        mut at: Position,
        scratch: &mut Scratch,
        output: &mut Output<'_, S>,
    ) {
        while let Some((torn, next)) = torn_by_nuls(record, at.offset, scratch) {
            output.counts.nul_bytes += (next - torn) as u64;
            if torn > 0 {
                self.record(&record[..torn], valid, at, scratch, output);
            }
            record = &record[next..];
            at.offset += next as u64;
            if record.is_empty() {
                return;
            }
        }
        self.record(record, valid, at, scratch, output);
    }

    fn docker_record<S: Sink>(
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
        let Scratch { docker, repaired, spare, .. } = scratch;
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
            Ok(parsed) => self.join(&parsed, true, at, spare, output, |counts| {
                counts.docker_records += 1;
                counts.invalid_utf8_lines += u64::from(!valid);
            }),
            Err(reason) => self.raw(record, valid, reason, at, scratch, output),
        }
    }

    /// Adds a record to its stream's line, and gives the line out if that ends it.
    #[inline(always)]
    fn join<S: Sink>(
        &mut self,
        record: &Record<'_>,
        valid: bool,
        at: Position,
        spare: &mut Option<Box<Partial>>,
        output: &mut Output<'_, S>,
        count: impl FnOnce(&mut Counts),
    ) {
        self.clock = Clock { timestamp_ns: record.timestamp_ns, offset: at.offset };
        if at.offset < self.from[record.stream as usize] {
            return;
        }
        count(output.counts);
        if record.piece == Piece::Last && self.partials[record.stream as usize].is_none() {
            let line = Line { at, timestamp_ns: record.timestamp_ns, stream: record.stream, text: record.content };
            give_out_whole(line, valid, spare, output);
        } else {
            self.join_piece(record, valid, at, spare, output);
        }
    }

    /// As [`Self::join`], for a line of several pieces.
    #[inline(never)]
    fn join_piece<S: Sink>(
        &mut self,
        record: &Record<'_>,
        valid: bool,
        at: Position,
        spare: &mut Option<Box<Partial>>,
        output: &mut Output<'_, S>,
    ) {
        let open = &mut self.partials[record.stream as usize];
        let is_too_old = |partial: &mut Box<Partial>| {
            record.timestamp_ns.saturating_sub(partial.timestamp_ns()) > PARTIAL_AGE_MAX_NS
        };
        if let Some(endless) = open.take_if(is_too_old) {
            endless.finish(output, spare);
        }
        let mut partial = open.take().unwrap_or_else(|| Partial::open(spare, record.timestamp_ns, record.stream, at));
        partial.push(record.content, valid, at, output);
        match record.piece {
            Piece::Partial => *open = Some(partial),
            Piece::Last => partial.finish(output, spare),
        }
    }

    /// Gives out a record of neither format as a line of its own, with a time that is the same whenever it is read.
    #[cold]
    fn raw<S: Sink>(
        &mut self,
        record: &[u8],
        valid: bool,
        reason: Malformed,
        at: Position,
        scratch: &mut Scratch,
        output: &mut Output<'_, S>,
    ) {
        if at.offset < self.from[Stream::Stdout as usize] {
            return;
        }
        output.counts.count_malformed(reason);
        let line = Line { at, timestamp_ns: self.clock.at(at.offset), stream: Stream::Stdout, text: record };
        give_out_whole(line, valid, &mut scratch.spare, output);
    }
}

/// Gives out a line that came in one piece: as it lies in the read buffer, if it is valid and not too long.
#[inline(always)]
fn give_out_whole<S: Sink>(line: Line<'_>, valid: bool, spare: &mut Option<Box<Partial>>, output: &mut Output<'_, S>) {
    if valid && line.text.len() <= output.limits.max_line_bytes {
        output.line(line);
        return;
    }
    let mut partial = Partial::open(spare, line.timestamp_ns, line.stream, line.at);
    partial.push(line.text, valid, line.at, output);
    partial.finish(output, spare);
}

/// Where a record ends that a power cut tore, and where the next one begins, with NULs between them and no newline. NULs at
/// the beginning belong to no record, whatever follows. What is torn within its text can only end with a block of the disk: else a
/// container could write what passes for a record of its own. `offset`: of the record in the file.
fn torn_by_nuls(record: &[u8], offset: u64, scratch: &mut Scratch) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let torn = from + memchr::memchr(0, &record[from..])?;
        let next = torn + leading_nuls(&record[torn..]);
        let rest = &record[next..];
        let ends_block = (offset + torn as u64).is_multiple_of(DISK_BLOCK_BYTES);
        let mut is_record = || {
            cri::parse(rest, &mut scratch.timestamps).is_ok()
                || rest.starts_with(b"{\"log\":") && memchr::memchr(0, rest).is_none()
        };
        if torn == 0 || is_record() && (ends_block || cri::parse(&record[..torn], &mut scratch.timestamps).is_err()) {
            return Some((torn, next));
        }
        from = next;
    }
}

/// The smallest block of a file system.
const DISK_BLOCK_BYTES: u64 = 512;

/// Whether NULs may begin with a block of the disk, as data does that was not written. `offset`: of the bytes in the file.
fn has_nul_at_a_block(bytes: &[u8], offset: u64) -> bool {
    let first = offset.next_multiple_of(DISK_BLOCK_BYTES) - offset;
    bytes.iter().skip(first as usize).step_by(DISK_BLOCK_BYTES as usize).any(|byte| *byte == 0)
}

/// How many NULs `bytes` begins with.
fn leading_nuls(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(0) => bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len()),
        _ => 0,
    }
}
