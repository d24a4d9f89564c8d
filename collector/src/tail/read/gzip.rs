//! A compressed log file as a stream, with bounded memory.

use std::{
    fs::File,
    io::{self, Read, Write},
    mem,
    sync::Arc,
};

use flate2::read::MultiGzDecoder;

use super::BUFFER_BYTES;
use crate::{
    model::modified_ns,
    tail::apart::{self, Left},
};

/// This many decompressed bytes are passed over at one time, so that others are read in between.
const SKIPPED_BYTES_MAX: u64 = 8 << 20;

/// flate2's error where compressed data cannot be read.
const CORRUPT: &str = "corrupt deflate stream";
/// Deflate makes no more of a byte.
const RATIO_MAX: u64 = 1032;

/// What is kept of the bytes before the offset at which reading begins.
const PASSED_BYTES: usize = 64 << 10;

/// Reads a `.gz` file from an offset of its decompressed content on. Takes no memory before the first [`Self::fill`].
pub struct GzipReader {
    state: State,
    /// Decompressed bytes still to be passed over.
    skip: u64,
    /// The offset at which reading began.
    begin: u64,
    /// The last bytes before it.
    passed: Last,
    /// Where the decompressed bytes end that were returned or passed over.
    end: u64,
    /// What is wrong behind the bytes that were returned.
    broken: Option<io::Error>,
}

enum State {
    Unopened(Arc<File>),
    Open { decoder: Box<MultiGzDecoder<Source>>, buffer: Vec<u8> },
}

/// Keeps the last bytes that are written to it.
#[derive(Default)]
struct Last(Vec<u8>);

impl Write for Last {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > 2 * PASSED_BYTES {
            self.0.drain(..self.0.len().saturating_sub(PASSED_BYTES));
        }
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(PASSED_BYTES)..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the content of a compressed file is damaged, or ends too early; not an error of the disk, nor one that did not answer.
pub fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && Left::of(error).is_none()
}

/// What a damaged file has between `from` and the damage. The decoder throws away what it has when it reaches the damage, unless it is
/// asked for one byte after the other.
fn up_to_damage(file: &Arc<File>, from: u64) -> Vec<u8> {
    let mut decoder = MultiGzDecoder::new(Source { file: Arc::clone(file), at: 0 });
    let mut good = Vec::new();
    if io::copy(&mut (&mut decoder).take(from), &mut io::sink()).is_ok_and(|passed| passed == from) {
        let mut byte = [0];
        while good.len() < BUFFER_BYTES && matches!(decoder.read(&mut byte), Ok(1)) {
            good.push(byte[0]);
        }
    }
    good
}

/// Reads a file whose file system may not answer.
struct Source {
    file: Arc<File>,
    at: u64,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = apart::read_at(&self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl std::fmt::Debug for GzipReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GzipReader").field("open", &self.is_open()).field("skip", &self.skip).finish()
    }
}

impl GzipReader {
    /// Wherever `file`'s cursor stands.
    pub fn new(file: File, offset: u64) -> Self {
        Self::of(Arc::new(file), offset)
    }

    fn of(file: Arc<File>, offset: u64) -> Self {
        Self {
            state: State::Unopened(file),
            skip: offset,
            begin: offset,
            passed: Last::default(),
            end: 0,
            broken: None,
        }
    }

    /// Whether it holds a decoder and a buffer, 120 KiB together.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Decompresses up to [`BUFFER_BYTES`] more behind what was not consumed; nothing while the way to the offset is long. Returns
    /// the bytes and whether the file ends with them.
    ///
    /// # Errors
    /// Where the file cannot be read, or is broken from here on.
    pub fn fill(&mut self) -> io::Result<(&[u8], bool)> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        if let State::Unopened(file) = &self.state {
            let source = Source { file: Arc::clone(file), at: 0 };
            self.state = State::Open { decoder: Box::new(MultiGzDecoder::new(source)), buffer: Vec::new() };
        }
        let State::Open { decoder, buffer } = &mut self.state else {
            return Err(io::Error::other("the file was closed"));
        };
        if self.skip > 0 {
            let part = self.skip.min(SKIPPED_BYTES_MAX);
            let skipped = io::copy(&mut decoder.take(part), &mut self.passed)?;
            self.skip -= skipped;
            self.end += skipped;
            if skipped == part && self.skip > 0 {
                return Ok((buffer, false));
            }
        }
        let before = buffer.len();
        let read = decoder.take(BUFFER_BYTES as u64).read_to_end(buffer);
        self.end += (buffer.len() - before) as u64;
        match read {
            Ok(added) => Ok((buffer, added < BUFFER_BYTES)),
            Err(error) => {
                if is_damage(&error) && error.kind() != io::ErrorKind::UnexpectedEof {
                    let good = up_to_damage(&decoder.get_ref().file, self.end);
                    self.end += good.len() as u64;
                    buffer.extend(good);
                }
                // The bytes before the broken place are good; the next call says the error.
                if buffer.len() > before {
                    self.broken = Some(error);
                    return Ok((buffer, false));
                }
                Err(error)
            }
        }
    }

    /// The last bytes before the offset at which reading began, once they were passed over, and where they begin; only once.
    pub fn take_passed(&mut self) -> Option<(u64, Vec<u8>)> {
        if self.skip > 0 || self.passed.0.is_empty() {
            return None;
        }
        let Last(mut passed) = mem::take(&mut self.passed);
        passed.drain(..passed.len().saturating_sub(PASSED_BYTES));
        Some((self.begin - passed.len() as u64, passed))
    }

    /// Begins again and goes on at `offset`, for a file that was not whole yet. Takes no memory before the next
    /// [`Self::fill`].
    pub fn begin_again(&mut self, offset: u64) {
        *self = Self::of(Arc::clone(self.file()), offset);
    }

    /// The open file.
    pub fn file(&self) -> &Arc<File> {
        match &self.state {
            State::Unopened(file) => file,
            State::Open { decoder, .. } => &decoder.get_ref().file,
        }
    }

    /// Bytes of the decompressed content as the file's end says, modulo 2^32 (RFC 1952, ISIZE); of a file of several members
    /// only the last one's. 0 where it cannot be read.
    pub fn content_bytes(&self) -> u64 {
        const ISIZE_BYTES: usize = 4;
        let file = Arc::clone(self.file());
        let last = apart::run(move || {
            let len = file.metadata()?.len();
            apart::read_range_here(&file, len.saturating_sub(ISIZE_BYTES as u64), ISIZE_BYTES)
        });
        last.ok().and_then(|last| last.try_into().ok()).map_or(0, |last| u64::from(u32::from_le_bytes(last)))
    }

    /// What is behind the damage that `error` tells of, as the file's end says; 0 where that cannot be trusted.
    pub fn lost_bytes(&self, error: &io::Error) -> u64 {
        let file = Arc::clone(self.file());
        let len = apart::run(move || Ok(file.metadata()?.len())).unwrap_or_default();
        let content = self.content_bytes();
        // Of a file that was cut off, or has something behind it, the last bytes are not its length.
        let is_plausible = error.to_string() == CORRUPT && content <= len.saturating_mul(RATIO_MAX);
        if is_plausible { content.saturating_sub(self.end) } else { 0 }
    }

    /// When the file was last written to, nanoseconds since 1970; `None` where it cannot be told.
    pub fn modified_ns(&self) -> Option<i64> {
        let file = Arc::clone(self.file());
        let found = apart::run(move || Ok(rustix::fs::fstat(&*file)?)).ok()?;
        Some(modified_ns(&found))
    }

    /// What [`Self::fill`] returned and was not consumed.
    pub fn unconsumed(&self) -> &[u8] {
        match &self.state {
            State::Unopened(_) => &[],
            State::Open { buffer, .. } => buffer,
        }
    }

    /// Gives back the first `len` bytes of what [`Self::fill`] returned.
    pub fn consume(&mut self, len: usize) {
        if let State::Open { buffer, .. } = &mut self.state {
            buffer.drain(..len.min(buffer.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    fn read_all(reader: &mut GzipReader) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let (bytes, end) = reader.fill().unwrap();
            let consumed = if end { bytes.len() } else { bytes.len().saturating_sub(11) };
            all.extend_from_slice(&bytes[..consumed]);
            reader.consume(consumed);
            if end {
                return all;
            }
        }
    }

    #[test]
    fn a_stream_comes_whole_from_any_offset_when_some_bytes_stay_unconsumed() {
        let text: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for offset in [0, 1, 65_535, 65_536, 299_999, 300_000] {
            assert_eq!(read_all(&mut GzipReader::new(compressed(&text), offset as u64)), &text[offset..]);
        }
    }

    #[test]
    fn what_lies_before_the_offset_is_known_once_it_was_passed_over() {
        let text: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for offset in [1, 65_535, 65_536, 200_000, 300_000_usize] {
            let mut reader = GzipReader::new(compressed(&text), offset as u64);
            assert!(reader.take_passed().is_none());
            reader.fill().unwrap();
            let start = offset.saturating_sub(PASSED_BYTES);
            assert_eq!(reader.take_passed().unwrap(), (start as u64, text[start..offset].to_vec()));
            assert!(reader.take_passed().is_none());
        }
    }

    /// What a decoder gives that is asked for one byte after the other, and its error.
    fn one_by_one(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        let (mut decoder, mut byte, mut good) = (MultiGzDecoder::new(bytes), [0], Vec::new());
        loop {
            match decoder.read(&mut byte) {
                Ok(1) => good.push(byte[0]),
                ended => return (good, ended.err().map(|error| error.to_string())),
            }
        }
    }

    #[test]
    fn everything_before_damage_in_the_middle_comes_out() {
        let text: Vec<u8> =
            (0..10_000_u32).flat_map(|n| format!("line {} {n}\n", n.wrapping_mul(n)).into_bytes()).collect();
        let mut whole = Vec::new();
        compressed(&text).read_to_end(&mut whole).unwrap();
        let mut cases = 0;
        for (at, with) in (2..9).flat_map(|tenth| [(tenth, 0), (tenth, 0x55), (tenth, 0xff)]) {
            let (mut damaged, at) = (whole.clone(), whole.len() / 10 * at);
            damaged[at..at + 16].fill(with);
            // Other damage is only found at the end, by the checksum.
            let (good, Some(error)) = one_by_one(&damaged) else { panic!("damage at {at} is no error") };
            if error != CORRUPT {
                continue;
            }
            cases += 1;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&damaged).unwrap();
            let (mut reader, mut read) = (GzipReader::new(file, 0), Vec::new());
            while let Ok((bytes, end)) = reader.fill() {
                assert!(!end, "a broken file does not end");
                read.extend_from_slice(bytes);
                let len = bytes.len();
                reader.consume(len);
            }
            assert_eq!(read.len(), good.len(), "damage at {at} of {}", whole.len());
            assert!(read == good);
            let error = io::Error::new(io::ErrorKind::InvalidInput, CORRUPT);
            assert_eq!(reader.lost_bytes(&error), (text.len() as u64).saturating_sub(good.len() as u64));
        }
        assert!(cases > 3, "{cases} cases of damage that the decoder detects at once");
    }

    #[test]
    fn the_files_end_says_how_long_its_content_is() {
        assert_eq!(GzipReader::new(compressed(&[b'a'; 70_000]), 0).content_bytes(), 70_000);
        assert_eq!(GzipReader::new(tempfile::tempfile().unwrap(), 0).content_bytes(), 0);
    }

    #[test]
    fn a_file_that_was_not_whole_is_read_on_when_it_is() {
        let text: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(i) % 251) as u8).collect();
        let mut whole = Vec::new();
        io::Seek::rewind(&mut compressed(&text)).unwrap();
        compressed(&text).read_to_end(&mut whole).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole[..whole.len() / 2]).unwrap();
        let mut reader = GzipReader::new(file.try_clone().unwrap(), 0);
        reader.begin_again(0);
        let mut read = Vec::new();
        while let Ok((bytes, _)) = reader.fill() {
            read.extend_from_slice(bytes);
            let len = bytes.len();
            reader.consume(len);
        }
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).unwrap();
        file.write_all(&whole[whole.len() / 2..]).unwrap();
        reader.begin_again(read.len() as u64);
        assert!(!reader.is_open());
        read.extend(read_all(&mut reader));
        assert_eq!(read, text);
    }

    #[test]
    fn a_truncated_file_is_an_error_after_its_good_bytes() {
        let text: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(i) % 253) as u8).collect();
        let file = compressed(&text);
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let mut reader = GzipReader::new(file, 0);
        let mut good = Vec::new();
        while let Ok((bytes, end)) = reader.fill() {
            assert!(!end, "a broken file does not end");
            good.extend_from_slice(bytes);
            let len = bytes.len();
            reader.consume(len);
        }
        assert!(good.len() > 10_000 && text.starts_with(&good));
    }
}
