//! What the parser counts: plain integers, which the caller adds to the metrics once per read.

/// Why a record is neither CRI nor docker json-file. Such a record is shipped as it is, as a line of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It begins neither with a digit nor with `{`.
    Format,
    /// The timestamp is no RFC 3339, no date of the calendar, or lies outside the years 1677 to 2262 (int64 nanoseconds).
    Timestamp,
    /// The stream is neither `stdout` nor `stderr`.
    Stream,
    /// CRI: the first tag is neither `P` nor `F`.
    Tag,
    /// Docker: no JSON object, or one far longer than dockerd writes.
    Json,
    /// Docker: `log`, `stream` or `time` is missing or no string.
    Fields,
}

impl Malformed {
    pub const ALL: [Self; 6] = [Self::Format, Self::Timestamp, Self::Stream, Self::Tag, Self::Json, Self::Fields];

    /// A word of snake case, for the metric's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Timestamp => "timestamp",
            Self::Stream => "stream",
            Self::Tag => "tag",
            Self::Json => "json",
            Self::Fields => "fields",
        }
    }
}

/// What was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// CRI records.
    pub cri_records: u64,
    /// Docker json-file records.
    pub docker_records: u64,
    /// Records that are neither and were shipped as they are: the sum of [`Self::malformed`].
    pub raw_records: u64,
    /// Lines given out, each entry of a split line counted.
    pub lines: u64,
    /// Lines given out whose text was not valid UTF-8 and was repaired.
    pub invalid_utf8_lines: u64,
    /// Lines over the limit, each counted once: split or cut, as the limits say.
    pub oversize_lines: u64,
    /// Bytes that `oversize: cut` dropped.
    pub cut_bytes: u64,
    /// NULs before records, which a power cut leaves; they are skipped.
    pub nul_bytes: u64,
    malformed: [u64; Malformed::ALL.len()],
}

impl Counts {
    /// Raw records by reason.
    pub fn malformed(&self, reason: Malformed) -> u64 {
        self.malformed[reason as usize]
    }

    /// Records of every format.
    pub fn records(&self) -> u64 {
        self.cri_records + self.docker_records + self.raw_records
    }

    /// Lines that are not as they should be, and given out all the same; one that is so in two ways counts twice.
    pub fn odd_lines(&self) -> u64 {
        self.raw_records + self.invalid_utf8_lines + self.oversize_lines + u64::from(self.nul_bytes > 0)
    }

    pub(super) fn count_malformed(&mut self, reason: Malformed) {
        self.raw_records += 1;
        self.malformed[reason as usize] += 1;
    }
}
