//! Pilcrow's own log: on stderr, as text or JSON.
//!
//! In: `tracing` events. Out: lines on stderr. Guarantees that logging neither ends nor stops the program: what stderr does not
//! take (closed, full disk, a pipe that nobody reads) is dropped and counted. Knows nothing of the logs that are collected.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat, LogLevel};

/// Starts logging for the whole process; a second call changes nothing.
///
/// Colours only on a terminal: files and `kubectl logs` would show the escape codes.
pub fn start(log: &Log) {
    let level = level(log.level);
    let colours = log.format == LogFormat::Text && io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(LossyWriter::new(io::stderr(), colours));
    // It would report a failed write by `eprintln!`, which panics where stderr is what failed.
    let builder = builder.log_internal_errors(false);
    // It fails only where there is a subscriber already, which a test may have set.
    let _ = match log.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(colours).with_target(false);
            builder.finish().with(targets(log.level)).try_init()
        }
        LogFormat::Json => {
            builder.json().flatten_event(true).with_ansi(false).finish().with(targets(log.level)).try_init()
        }
    };
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Which events are written: Pilcrow's own from `log_level` on, those of libraries from warn on (all of them with `trace`). Each
/// request to Loki has debug lines of hyper and rustls; where Pilcrow collects its own log, those would cause the next request.
fn targets(log_level: LogLevel) -> Targets {
    let level = level(log_level);
    if log_level == LogLevel::Trace {
        return Targets::new().with_default(level);
    }
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("collector", level)
        .with_target("pilcrow", level)
}

/// How long a line may wait for room in a pipe. After one that found none in this time, lines do not wait until there is room
/// again.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// poll(2) promises room for this much in a pipe (`PIPE_BUF`), so that writing it does not block.
const CHUNK_BYTES: usize = 4096;

/// Writes what can be written at once and counts the lines that cannot.
struct LossyWriter<W>(Mutex<Lossy<W>>);

struct Lossy<W> {
    to: W,
    /// Lines have the codes of colours.
    colours: bool,
    /// Lines that were dropped since the last one that was written.
    dropped: u64,
}

impl<W> LossyWriter<W> {
    fn new(to: W, colours: bool) -> Self {
        Self(Mutex::new(Lossy { to, colours, dropped: 0 }))
    }
}

impl<'a, W: Write + AsFd + 'a> MakeWriter<'a> for LossyWriter<W> {
    type Writer = LossyGuard<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        LossyGuard(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct LossyGuard<'a, W>(MutexGuard<'a, Lossy<W>>);

impl<W: Write + AsFd> Write for LossyGuard<'_, W> {
    /// Takes a whole line and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let safe = escaped(line, self.0.colours);
        self.0.line(&safe);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + AsFd> Lossy<W> {
    fn line(&mut self, line: &[u8]) {
        if self.dropped > 0 {
            let report =
                format!("pilcrow: {} log lines before this one could not be written to stderr\n", self.dropped);
            if self.write(report.as_bytes()).is_err() {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if self.write(line).is_err() {
            self.dropped += 1;
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        for chunk in line.chunks(CHUNK_BYTES) {
            let wait = if self.dropped == 0 { PATIENCE } else { Timespec::default() };
            if !has_room(self.to.as_fd(), &wait)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.to.write_all(chunk)?;
        }
        Ok(())
    }
}

/// A line in which values that others chose, such as an answer of Loki or a name, cannot write control characters: as `\u{0}`.
/// `colours`: the codes of colours, which the line has for a terminal, stay.
fn escaped(line: &[u8], colours: bool) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(line) else { return Cow::Borrowed(line) };
    let (text, end) = text.strip_suffix('\n').map_or((text, ""), |text| (text, "\n"));
    if !text.contains(char::is_control) {
        return Cow::Borrowed(line);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for (index, character) in text.char_indices() {
        if character.is_control() && !(colours && is_colour(&text[index..])) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe.push_str(end);
    Cow::Owned(safe.into_bytes())
}

/// Whether a text begins with the code of a colour (ECMA-48, SGR).
fn is_colour(text: &str) -> bool {
    let code = text.strip_prefix("\x1b[");
    code.is_some_and(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

/// Whether a write would return at once, with success or with an error.
fn has_room(fd: BorrowedFd<'_>, wait: &Timespec) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    match poll(&mut fds, Some(wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes to stderr and ignores errors: for the program's last message, where `eprintln!` would panic.
pub fn last_words(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::fd::OwnedFd};

    use tracing::Level;

    use super::*;

    fn pipe() -> (File, File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (File::from(read), File::from(write))
    }

    fn filled(write: &File) -> usize {
        let mut other = write.try_clone().map(OwnedFd::from).map(File::from).unwrap();
        let mut written = 0;
        while has_room(other.as_fd(), &Timespec::default()).unwrap() {
            written += other.write(&[b'x'; CHUNK_BYTES]).unwrap();
        }
        written
    }

    #[test]
    fn a_pipe_that_nobody_reads_drops_lines_and_says_so_when_it_is_read_again() {
        let (mut read, write) = pipe();
        let filling = filled(&write);
        let writer = LossyWriter::new(write, false);
        for _ in 0..3 {
            writer.make_writer().write_all(b"lost\n").unwrap();
        }
        read.read_exact(&mut vec![0; filling]).unwrap();
        writer.make_writer().write_all(b"written\n").unwrap();
        drop(writer);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "pilcrow: 3 log lines before this one could not be written to stderr\nwritten\n");
    }

    #[test]
    fn a_closed_pipe_and_a_full_disk_are_no_errors() {
        let (read, write) = pipe();
        drop(read);
        let full = File::options().write(true).open("/dev/full").unwrap();
        for file in [write, full] {
            let writer = LossyWriter::new(file, false);
            writer.make_writer().write_all(b"lost\n").unwrap();
            writer.make_writer().write_all(b"lost\n").unwrap();
            assert_eq!(writer.0.lock().unwrap().dropped, 2);
        }
    }

    #[test]
    fn control_characters_of_values_come_out_escaped_in_one_line() {
        let (mut read, write) = pipe();
        let builder =
            tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(LossyWriter::new(write, false));
        tracing::subscriber::with_default(builder.finish(), || {
            let answer = "a\0b\r\nFAKE \t\x01\x7f\u{9b}\x1b[2J ä";
            tracing::warn!(answer = %answer, "{answer}");
        });
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        let text = text.strip_suffix('\n').unwrap();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert_eq!(text.matches(r"a\u{0}b\r\nFAKE \t\u{1}").count(), 2, "{text}");
        let coloured = b"\x1b[33mWARN\x1b[0m a \x1b[2J line\n";
        assert_eq!(&*escaped(coloured, true), b"\x1b[33mWARN\x1b[0m a \\u{1b}[2J line\n");
        assert_eq!(&*escaped(b"\x1b[33mWARN\n", false), b"\\u{1b}[33mWARN\n");
    }

    /// With `log.level: debug` an idle node sent a request a second, about its own requests.
    #[test]
    fn debug_is_pilcrows_own_and_not_that_of_its_http_client() {
        for target in ["hyper_util::client::legacy::pool", "rustls::client::hs", "h2::codec", "tower_http::trace"] {
            assert!(!targets(LogLevel::Debug).would_enable(target, &Level::DEBUG), "{target}");
            assert!(!targets(LogLevel::Debug).would_enable(target, &Level::INFO), "{target}");
            assert!(targets(LogLevel::Info).would_enable(target, &Level::WARN), "{target}");
            assert!(!targets(LogLevel::Error).would_enable(target, &Level::WARN), "{target}");
            assert!(targets(LogLevel::Trace).would_enable(target, &Level::TRACE), "{target}");
        }
        assert!(targets(LogLevel::Debug).would_enable("collector::tail::folders", &Level::DEBUG));
        assert!(!targets(LogLevel::Info).would_enable("collector::tail::folders", &Level::DEBUG));
    }
}
