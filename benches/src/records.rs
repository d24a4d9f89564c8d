//! Log records as container runtimes write them, the same in every run: what single steps are measured with.

use rig::{
    kubelet::{Format, Stream, record},
    mark::{self, Mark, Shape},
    random::Random,
};

/// Bytes of a CRI record with its newline; docker's records carry the same texts.
pub const RECORD_BYTES: usize = 200;

/// Bytes of a CRI record before its text.
const HEAD_BYTES: usize = 40;
/// One line in so many comes in two records.
const PARTIAL_ONE_IN: usize = 100;
const STDERR_ONE_IN: usize = 10;
const FIRST_NS: i64 = 1_795_345_754_341_435_724;
const STEP_NS: i64 = 20_011;
const SEED: u64 = 1;

/// Whole records, and how many lines they are.
pub struct Records {
    /// The records, one after the other.
    pub bytes: Vec<u8>,
    /// Lines, each of one record or two.
    pub lines: u64,
}

impl Records {
    /// Records of `RECORD_BYTES` until `bytes` are full: half of the lines JSON, half text, 1% of them in two records, 10% on
    /// stderr.
    pub fn new(format: Format, bytes: usize) -> Self {
        let mut random = Random::new(SEED);
        let mut records = Self { bytes: Vec::with_capacity(bytes), lines: 0 };
        let mut line = Vec::new();
        loop {
            let filled = records.bytes.len();
            records.write_line(format, &mut line, &mut random);
            if records.bytes.len() > bytes {
                records.bytes.truncate(filled);
                return records;
            }
            records.lines += 1;
        }
    }

    fn write_line(&mut self, format: Format, line: &mut Vec<u8>, random: &mut Random) {
        let stream = if random.one_in(STDERR_ONE_IN) { Stream::Stderr } else { Stream::Stdout };
        let shape = if random.one_in(2) { Shape::Json } else { Shape::Text };
        let timestamp_ns = FIRST_NS + self.lines as i64 * STEP_NS;
        let text_bytes = RECORD_BYTES - HEAD_BYTES - 1;
        let pieces = if random.one_in(PARTIAL_ONE_IN) { 2 } else { 1 };
        line.clear();
        mark::write(
            line,
            Mark { source: stream as u32, sequence: self.lines, timestamp_ns },
            shape,
            pieces * text_bytes,
            random,
        );
        if format == Format::DockerJson {
            line.push(b'\n');
        }
        let mut parts = line.chunks(line.len().div_ceil(pieces)).peekable();
        while let Some(part) = parts.next() {
            record::append(&mut self.bytes, format, stream, timestamp_ns, 0, (part, parts.peek().is_some()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cri_records_have_the_size_that_is_promised_and_are_the_same_every_time() {
        let records = Records::new(Format::Cri, 64 << 10);
        let lengths: Vec<usize> = records.bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect();
        let of_one_record = lengths.iter().filter(|len| **len == RECORD_BYTES).count();
        assert!(of_one_record * 10 > lengths.len() * 9, "{lengths:?}");
        assert!(records.lines < lengths.len() as u64 && records.lines > 300);
        assert_eq!(records.bytes, Records::new(Format::Cri, 64 << 10).bytes);
    }

    #[test]
    fn docker_records_are_json_and_whole() {
        let records = Records::new(Format::DockerJson, 64 << 10);
        for record in records.bytes.split_inclusive(|byte| *byte == b'\n') {
            assert!(serde_json::from_slice::<serde_json::Value>(record).is_ok());
        }
    }
}
