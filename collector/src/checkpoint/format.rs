//! The checkpoint file: one line with the version and the body's CRC-32, then the body as JSON.
//!
//! ```text
//! pilcrow-checkpoint 1 9ae0daaf
//! [{"name":"default_nginx-0_6a…/nginx","seen_at":1767323045,"files":[{"device":2049,…
//! ```

use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Write};

use flate2::Crc;

use super::Snapshot;

const MAGIC: &str = "pilcrow-checkpoint";
const VERSION: u32 = 1;

/// More than the first line of any version has.
const HEADER_BYTES_MAX: u64 = 128;

/// Why a checkpoint file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Its first line is not that of a checkpoint file.
    NoCheckpoint,
    /// Written by a later version of Pilcrow.
    Version(u32),
    /// Torn or altered: the checksum does not match.
    Checksum,
    /// The disk reported an error.
    Unreadable(String),
    /// The checksum matches, but the content cannot be parsed.
    Content(String),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCheckpoint => write!(f, "it is not a checkpoint file"),
            Self::Version(version) => {
                write!(f, "it has version {version} and this Pilcrow knows up to version {VERSION}")
            }
            Self::Checksum => write!(f, "its checksum does not match: it is incomplete or was changed"),
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::Content(error) => write!(f, "its content cannot be understood: {error}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// The file's bytes.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    // Strings and numbers only, into memory: nothing in it can fail to be written as JSON.
    let _ = write(snapshot, &mut file);
    file.into_inner()
}

/// Writes to an empty file piece by piece: with 10,000 containers the whole would take 2.5 MB of memory. The checksum comes
/// last, so a file whose writing broke off is not valid.
///
/// # Errors
/// Those of writing.
pub fn write(snapshot: &Snapshot, file: &mut (impl Write + Seek)) -> io::Result<()> {
    file.write_all(header(0).as_bytes())?;
    let mut body = BufWriter::new(Checked { file, crc: Crc::new() });
    serde_json::to_writer(&mut body, &snapshot.containers)?;
    let Checked { file, crc } = body.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(header(crc.sum()).as_bytes())
}

/// Computes the checksum of what is written.
struct Checked<W> {
    file: W,
    crc: Crc,
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The first line; its length does not depend on the checksum.
fn header(checksum: u32) -> String {
    format!("{MAGIC} {VERSION} {checksum:08x}\n")
}

/// Parses the file's bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(file: &[u8]) -> Result<Snapshot, DecodeError> {
    read(Cursor::new(file))
}

/// Reads a file twice, first for its checksum: so whatever takes the place of a checkpoint, and however large it is, takes no
/// memory.
pub(super) fn read(file: impl Read + Seek) -> Result<Snapshot, DecodeError> {
    let mut file = BufReader::new(file);
    let expected = read_header(&mut file)?;
    let body_at = file.stream_position()?;
    if checksum(&mut file)? != expected {
        return Err(DecodeError::Checksum);
    }
    file.seek(SeekFrom::Start(body_at))?;
    let containers = serde_json::from_reader(file).map_err(|error| DecodeError::Content(error.to_string()))?;
    Ok(Snapshot { containers })
}

/// Reads the first line, and returns the body's checksum that it names.
fn read_header(file: &mut impl BufRead) -> Result<u32, DecodeError> {
    let mut header = Vec::new();
    file.take(HEADER_BYTES_MAX).read_until(b'\n', &mut header)?;
    let header = header.strip_suffix(b"\n").and_then(|header| std::str::from_utf8(header).ok());
    let mut words = header.ok_or(DecodeError::NoCheckpoint)?.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(DecodeError::NoCheckpoint);
    }
    let version = words.next().and_then(|word| word.parse().ok()).ok_or(DecodeError::NoCheckpoint)?;
    if version > VERSION {
        return Err(DecodeError::Version(version));
    }
    words.next().and_then(|word| u32::from_str_radix(word, 16).ok()).ok_or(DecodeError::Checksum)
}

fn checksum(body: &mut impl BufRead) -> io::Result<u32> {
    let mut crc = Crc::new();
    loop {
        let bytes = body.fill_buf()?;
        if bytes.is_empty() {
            return Ok(crc.sum());
        }
        crc.update(bytes);
        let read = bytes.len();
        body.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::SavedContainer,
        model::{FileKey, Fingerprint, SavedFile},
    };

    fn snapshot() -> Snapshot {
        let key = FileKey { device: 2049, inode: u64::MAX };
        let fingerprint = Fingerprint::of(b"2026-01-02T03:04:05Z stdout F a\n");
        let files =
            [[1 << 40; 2], [7, 1 << 40]].map(|offsets| SavedFile::new(key, fingerprint, offsets, true, 1 << 41));
        let container = SavedContainer { name: "ns_pod_uid/name".into(), seen_at: 7, files: files.to_vec() };
        Snapshot { containers: vec![container] }
    }

    #[test]
    fn what_was_saved_is_read_back() {
        assert_eq!(decode(&encode(&snapshot())), Ok(snapshot()));
        assert_eq!(decode(&encode(&Snapshot::default())), Ok(Snapshot::default()));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let file = encode(&snapshot());
        for len in 0..file.len() {
            assert!(decode(&file[..len]).is_err(), "cut to {len} bytes");
        }
        for index in 0..file.len() {
            for bit in 0..8 {
                let mut altered = file.clone();
                altered[index] ^= 1 << bit;
                // A flipped bit may change the case of a digit of the checksum, which means the same.
                assert!(decode(&altered).is_err_or_same(&snapshot()), "bit {bit} of byte {index}");
            }
        }
    }

    #[test]
    fn a_file_whose_writing_broke_off_is_not_taken_for_a_whole_one() {
        let whole = encode(&snapshot());
        for room in 0..whole.len() {
            let mut disk = vec![0; room];
            assert!(write(&snapshot(), &mut Cursor::new(&mut disk[..])).is_err(), "a full disk must be reported");
            assert!(decode(&disk).is_err(), "{room} bytes were written");
        }
    }

    #[test]
    fn what_this_version_adds_is_left_out_where_it_says_nothing_and_the_smaller_offset_is_the_one_that_0_1_0_reads() {
        let file = |offsets, len| {
            let fingerprint = Fingerprint::of(b"2026-01-02T03:04:05Z stdout F a\n");
            serde_json::to_value(SavedFile::new(FileKey::NONE, fingerprint, offsets, false, len)).unwrap()
        };
        let same = file([5, 5], 5);
        assert!(same.get("channels").is_none() && same.get("len").is_none() && same["offset"] == 5, "{same}");
        let different = file([9, 5], 20);
        assert_eq!(
            (&different["offset"], &different["channels"], &different["len"]),
            (&5.into(), &[9, 5].into(), &20.into())
        );
    }

    #[test]
    fn a_later_version_is_named() {
        assert_eq!(decode(b"pilcrow-checkpoint 2 00000000\n[]"), Err(DecodeError::Version(2)));
    }

    trait ErrOrSame {
        fn is_err_or_same(&self, snapshot: &Snapshot) -> bool;
    }

    impl ErrOrSame for Result<Snapshot, DecodeError> {
        fn is_err_or_same(&self, snapshot: &Snapshot) -> bool {
            self.as_ref().map_or(true, |decoded| decoded == snapshot)
        }
    }
}
