//! What a container's output becomes in its log: CRI records (containerd, CRI-O) or entries of docker's json-file.
//!
//! In: the bytes that a program writes. Out: records, each of which the log's writer appends with one system call. Seen
//! in the recordings of containerd 1.7.24 and dockerd 26.1.5.

use super::{Stream, clock::write_rfc3339_nano};

/// Longer content is cut; containerd's `max_container_log_line_size` and dockerd's copier buffer.
pub const CONTENT_BYTES_MAX: usize = 16_384;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `TIME STREAM F|P CONTENT`.
    Cri,
    /// `{"log":"CONTENT\n","stream":"STREAM","time":"TIME"}`.
    DockerJson,
}

/// What a program has written on one stream and what is not yet in the log.
#[derive(Debug, Default)]
pub struct Pending {
    bytes: Vec<u8>,
}

/// A part of a line that is due to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The content; with docker its newline too.
    pub content: Vec<u8>,
    /// The line goes on in the next piece.
    pub partial: bool,
}

impl Pending {
    /// Takes what the program writes; gives the pieces that are due.
    pub fn write(&mut self, format: Format, bytes: &[u8]) -> Vec<Piece> {
        self.bytes.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(newline) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = self.bytes.drain(..=newline).collect();
            if format == Format::Cri {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
            }
            cut(&mut pieces, line);
        }
        // dockerd writes a full buffer at once, containerd looks first whether the newline follows.
        let keep = if format == Format::Cri { 2 } else { 0 };
        while self.bytes.len() >= CONTENT_BYTES_MAX + keep {
            let content = self.bytes.drain(..CONTENT_BYTES_MAX).collect();
            pieces.push(Piece { content, partial: true });
        }
        pieces
    }

    /// Takes out what is pending, at the end of the container or when the log is reopened.
    pub fn flush(&mut self) -> Option<Piece> {
        (!self.bytes.is_empty()).then(|| Piece { content: std::mem::take(&mut self.bytes), partial: true })
    }
}

fn cut(pieces: &mut Vec<Piece>, mut line: Vec<u8>) {
    while line.len() > CONTENT_BYTES_MAX {
        let rest = line.split_off(CONTENT_BYTES_MAX);
        pieces.push(Piece { content: line, partial: true });
        line = rest;
    }
    pieces.push(Piece { content: line, partial: false });
}

/// Appends the record of a piece.
pub fn write(out: &mut Vec<u8>, format: Format, stream: Stream, timestamp_ns: i64, offset_s: i32, piece: &Piece) {
    append(out, format, stream, timestamp_ns, offset_s, (&piece.content, piece.partial));
}

/// As [`write()`]; the piece is its content and whether it is partial.
pub fn append(
    out: &mut Vec<u8>,
    format: Format,
    stream: Stream,
    timestamp_ns: i64,
    offset_s: i32,
    (content, partial): (&[u8], bool),
) {
    match format {
        Format::Cri => {
            write_cri_head(out, stream, timestamp_ns, offset_s, partial);
            out.extend_from_slice(content);
            out.push(b'\n');
        }
        Format::DockerJson => {
            out.extend_from_slice(b"{\"log\":\"");
            write_json_string(out, content);
            out.extend_from_slice(b"\",\"stream\":\"");
            out.extend_from_slice(stream.name().as_bytes());
            out.extend_from_slice(b"\",\"time\":\"");
            write_rfc3339_nano(out, timestamp_ns, 0);
            out.extend_from_slice(b"\"}\n");
        }
    }
}

/// Appends a CRI record up to its content.
pub fn write_cri_head(out: &mut Vec<u8>, stream: Stream, timestamp_ns: i64, offset_s: i32, partial: bool) {
    write_rfc3339_nano(out, timestamp_ns, offset_s);
    out.push(b' ');
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(if partial { b" P " } else { b" F " });
}

/// Appends the inside of a JSON string as dockerd escapes it (daemon/logger/jsonfilelog/jsonlog); invalid UTF-8 becomes
/// U+FFFD, a byte each.
fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '<' | '>' | '&' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                    out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pieces: &[Piece]) -> Vec<(usize, bool)> {
        pieces.iter().map(|piece| (piece.content.len(), piece.partial)).collect()
    }

    #[test]
    fn lines_are_cut_as_containerd_cuts_them() {
        for (len, expected) in [
            (0, vec![(0, false)]),
            (16_384, vec![(16_384, false)]),
            (16_385, vec![(16_384, true), (1, false)]),
            (32_768, vec![(16_384, true), (16_384, false)]),
            (40_000, vec![(16_384, true), (16_384, true), (7232, false)]),
        ] {
            let line = [vec![b'x'; len], vec![b'\n']].concat();
            assert_eq!(shape(&Pending::default().write(Format::Cri, &line)), expected, "{len}");
            let mut slowly = Pending::default();
            let pieces: Vec<_> = line.chunks(1000).flat_map(|part| slowly.write(Format::Cri, part)).collect();
            assert_eq!(shape(&pieces), expected, "{len} in many writes");
        }
    }

    #[test]
    fn lines_are_cut_as_dockerd_cuts_them() {
        for (len, expected) in [
            (16_383, vec![(16_384, false)]),
            (16_384, vec![(16_384, true), (1, false)]),
            (16_385, vec![(16_384, true), (2, false)]),
        ] {
            let line = [vec![b'x'; len], vec![b'\n']].concat();
            let mut slowly = Pending::default();
            let pieces: Vec<_> = line.chunks(999).flat_map(|part| slowly.write(Format::DockerJson, part)).collect();
            assert_eq!(shape(&pieces), expected, "{len}");
        }
    }

    #[test]
    fn one_carriage_return_before_the_newline_is_removed_with_cri_and_kept_with_docker() {
        assert_eq!(Pending::default().write(Format::Cri, b"a\r\r\n")[0].content, b"a\r");
        assert_eq!(Pending::default().write(Format::DockerJson, b"a\r\n")[0].content, b"a\r\n");
    }

    #[test]
    fn records_are_byte_for_byte_as_recorded() {
        let record = |format, stream, timestamp_ns, content: &[u8], partial| {
            let mut out = Vec::new();
            write(&mut out, format, stream, timestamp_ns, 0, &Piece { content: content.to_vec(), partial });
            String::from_utf8(out).unwrap()
        };
        let cri = record(Format::Cri, Stream::Stderr, 1_795_345_754_109_992_870, b"last line on stderr", false);
        assert_eq!(cri, "2026-11-22T11:09:14.10999287Z stderr F last line on stderr\n");
        assert_eq!(record(Format::Cri, Stream::Stdout, 0, b"", false), "1970-01-01T00:00:00Z stdout F \n");
        assert_eq!(record(Format::Cri, Stream::Stdout, 0, b"a", true), "1970-01-01T00:00:00Z stdout P a\n");
        let content = b"a\"\\\t<\x01\xff\xc3\xa4\r\n";
        assert_eq!(
            record(Format::DockerJson, Stream::Stdout, 1_795_345_781_083_185_278, content, false),
            "{\"log\":\"a\\\"\\\\\\t\\u003c\\u0001\\ufffdä\\r\\n\",\"stream\":\"stdout\",\
             \"time\":\"2026-11-22T11:09:41.083185278Z\"}\n"
        );
    }
}
