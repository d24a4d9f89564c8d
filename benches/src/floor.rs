//! The least that shipping a log file to Loki can cost: read, find newlines, encode entries, compress, send.
//!
//! In: log files and a Loki's address. Out: one entry for each record, its text the whole record. One thread, nothing
//! else: no parsing, no joining, no positions, no retries. Deliberately shares no code with the collector, so that a
//! faster collector does not lower its own floor.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
};

/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// Entries of so many bytes make a request.
const BLOCK_BYTES: usize = 1 << 20;
/// More than a request's own fields and its labels need.
const BLOCK_EXTRA_BYTES: usize = 1 << 10;
/// Every entry has this time; a real one has as many bytes.
const TIMESTAMP: [u8; 14] = [0x0a, 12, 0x08, 0xda, 0xb9, 0x8b, 0xd8, 0x06, 0x10, 0x95, 0x9a, 0xef, 0xba, 0x01];

const STREAM_KEY: u8 = 0x0a;
const LABELS_KEY: u8 = 0x0a;
const ENTRY_KEY: u8 = 0x12;
const LINE_KEY: u8 = 0x12;

/// Sends every record of `files` to `address` (HOST:PORT), each file as a stream of its own. Gives the number of records.
///
/// # Errors
/// Those of files and connection, and an answer other than 204.
pub fn ship(files: &[PathBuf], address: &str) -> io::Result<u64> {
    let mut connection = Connection::open(address)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut block = Block::default();
    let mut records = 0;
    for (number, path) in files.iter().enumerate() {
        let mut file = File::open(path)?;
        let labels = format!("{{floor=\"{number}\"}}");
        let mut kept = 0;
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 {
                break;
            }
            let filled = kept + read;
            let mut start = 0;
            loop {
                let appended = block.append_records(&buffer[start..filled]);
                start += appended.bytes;
                records += appended.records;
                if !block.is_full() {
                    break;
                }
                connection.push(&mut block, &labels)?;
            }
            if start == 0 && filled == buffer.len() {
                return Err(io::Error::other("a record does not fit into a read"));
            }
            buffer.copy_within(start..filled, 0);
            kept = filled - start;
        }
        connection.push(&mut block, &labels)?;
    }
    Ok(records)
}

/// The entries of a request to be, and memory for its other forms.
#[derive(Default)]
pub struct Block {
    entries: Vec<u8>,
    request: Vec<u8>,
    compressed: Vec<u8>,
}

/// What a block took.
pub struct Appended {
    /// Records.
    pub records: u64,
    /// Their bytes, with newlines.
    pub bytes: usize,
}

impl Block {
    /// Takes the whole records of `bytes` until it is full.
    pub fn append_records(&mut self, bytes: &[u8]) -> Appended {
        let mut appended = Appended { records: 0, bytes: 0 };
        for newline in memchr::memchr_iter(b'\n', bytes) {
            self.append(&bytes[appended.bytes..newline]);
            appended.records += 1;
            appended.bytes = newline + 1;
            if self.is_full() {
                break;
            }
        }
        appended
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= BLOCK_BYTES
    }

    fn append(&mut self, text: &[u8]) {
        let line_bytes = varint_bytes(text.len()) + 1 + text.len();
        self.entries.push(ENTRY_KEY);
        push_varint(&mut self.entries, TIMESTAMP.len() + line_bytes);
        self.entries.extend_from_slice(&TIMESTAMP);
        self.entries.push(LINE_KEY);
        push_varint(&mut self.entries, text.len());
        self.entries.extend_from_slice(text);
    }

    /// The snappy block of a request with these `labels`; the block is empty then.
    ///
    /// # Errors
    /// None in practice: the memory is as long as the longest output.
    pub fn seal(&mut self, labels: &str) -> io::Result<&[u8]> {
        let labels_bytes = 1 + varint_bytes(labels.len()) + labels.len();
        self.request.clear();
        self.request.reserve(self.entries.len() + BLOCK_EXTRA_BYTES);
        self.request.push(STREAM_KEY);
        push_varint(&mut self.request, labels_bytes + self.entries.len());
        self.request.push(LABELS_KEY);
        push_varint(&mut self.request, labels.len());
        self.request.extend_from_slice(labels.as_bytes());
        self.request.extend_from_slice(&self.entries);
        self.entries.clear();
        self.compressed.resize(snap::raw::max_compress_len(self.request.len()).max(self.compressed.len()), 0);
        let len = snap::raw::Encoder::new().compress(&self.request, &mut self.compressed).map_err(io::Error::other)?;
        Ok(&self.compressed[..len])
    }
}

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A kept HTTP connection.
struct Connection {
    socket: TcpStream,
    address: String,
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, address: address.to_owned() })
    }

    fn push(&mut self, block: &mut Block, labels: &str) -> io::Result<()> {
        if block.entries.is_empty() {
            return Ok(());
        }
        let body = block.seal(labels)?;
        let head = format!(
            "POST /loki/api/v1/push HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-protobuf\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.socket.write_all(head.as_bytes())?;
        self.socket.write_all(body)?;
        self.read_answer()
    }

    /// An answer of 204 has no body: it ends with its head.
    fn read_answer(&mut self) -> io::Result<()> {
        let mut answer = [0; 1024];
        let mut filled = 0;
        while !answer[..filled].ends_with(b"\r\n\r\n") {
            let read = self.socket.read(&mut answer[filled..])?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        if !answer.starts_with(b"HTTP/1.1 204") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer[..filled]).into_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rig::receiver::{Options, Receiver};

    use super::*;

    #[test]
    fn every_record_arrives_as_an_entry_that_a_strict_receiver_takes() {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<String> = (0..40_000).map(|n| format!("{n} {}", "x".repeat(n % 300))).collect();
        let path = folder.path().join("0.log");
        std::fs::write(&path, records.join("\n") + "\n").unwrap();
        let receiver = Receiver::start(Options::default()).unwrap();
        let shipped = ship(&[path.clone(), path], &receiver.address().to_string()).unwrap();
        assert_eq!(shipped, 80_000);
        assert_eq!(receiver.violations(), Vec::<String>::new());
        let streams = receiver.streams();
        assert_eq!(streams.len(), 2);
        for stream in streams.values() {
            assert!(stream.entries.iter().map(|entry| &entry.line).eq(&records));
        }
    }
}
