//! Where a peer's lines go: a Loki that takes everything, and counts each line once.

use std::{
    fmt,
    io::{self, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use rig::{latency::Histogram, ledger::Ledger, mark, tally::Bits};

use super::{Process, http, lines};
use crate::pipeline::report::Latency;

/// How often the peer is looked at while lines come in.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A peer from which nothing comes for so long will send no more.
const STALL: Duration = Duration::from_secs(60);
/// More than are ever written: a text with a larger number is not one of our lines.
const SOURCES_MAX: u32 = 1 << 16;
const SEQUENCE_MAX: u64 = 1 << 32;

/// A sink that accepts everything.
pub struct PeerSink {
    address: SocketAddr,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    /// Whose beginning arrived, by source.
    seen: Vec<Bits>,
    arrived: Arrived,
    latency: Histogram,
    /// The last request that was no push, as a text.
    refused: Option<String>,
}

/// How many of the written lines arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Whose beginning arrived, each counted once.
    lines: u64,
    /// Those of them that arrived exactly as they were written, to the last byte and with nothing around them.
    whole: u64,
    /// Beginnings that had arrived before.
    repeated: u64,
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, whole, repeated } = self;
        write!(f, "{lines} lines arrived, {whole} of them exactly as written, and {repeated} came again")
    }
}

impl Tally {
    /// Counts an entry that arrived at `now_ns` since 1970.
    fn take(&mut self, text: &[u8], now_ns: i64) {
        let known = |mark: &mark::Mark| mark.source < SOURCES_MAX && mark.sequence < SEQUENCE_MAX;
        let Some(mark) = lines::begun(text).filter(known) else { return };
        let source = mark.source as usize;
        if self.seen.len() <= source {
            self.seen.resize_with(source + 1, Bits::default);
        }
        if !self.seen[source].insert(mark.sequence) {
            self.arrived.repeated += 1;
            return;
        }
        self.arrived.lines += 1;
        self.arrived.whole += u64::from(mark::read(text).is_ok());
        self.latency.record(Duration::from_nanos(now_ns.saturating_sub(mark.timestamp_ns).max(0) as u64));
    }
}

impl PeerSink {
    /// Listens on a free port. Its threads end with their connections, the first one with this process.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, tally) = (listener.local_addr()?, Arc::<Mutex<Tally>>::default());
        let shared = Arc::clone(&tally);
        thread::Builder::new().name("peer-sink".into()).spawn(move || {
            for connection in listener.incoming().flatten() {
                let tally = Arc::clone(&shared);
                // A client that is cut off is killed: the end of every run.
                thread::spawn(move || serve(&connection, &tally));
            }
        })?;
        Ok(Self { address, tally })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leaves out of the latency what has arrived.
    pub fn forget_latency(&self) {
        lock(&self.tally).latency = Histogram::default();
    }

    /// From the lines' timestamps to here.
    pub fn latency(&self) -> Latency {
        Latency::of(&lock(&self.tally).latency)
    }

    /// What arrived so far.
    pub fn arrived(&self) -> Arrived {
        lock(&self.tally).arrived
    }

    /// Until as many lines arrived as were written.
    ///
    /// # Errors
    /// Where the peer ends, or no more lines come.
    pub fn wait_for_all(&self, ledger: &Ledger, peer: &mut Process) -> anyhow::Result<()> {
        let written = ledger.lines();
        let mut last = (0, Instant::now());
        loop {
            let arrived = self.arrived().lines;
            if arrived >= written {
                return Ok(());
            }
            peer.check_running()?;
            if arrived != last.0 {
                last = (arrived, Instant::now());
            }
            let refused = lock(&self.tally).refused.take().unwrap_or_default();
            ensure!(last.1.elapsed() < STALL, "{arrived} of {written} lines came, then none for {STALL:?}. {refused}");
            thread::sleep(LOOK_EVERY);
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(connection: &TcpStream, tally: &Mutex<Tally>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (mut input, mut output) = (BufReader::new(connection), connection);
    while let Some(request) = http::read(&mut input, &mut output)? {
        if request.method == "POST" && take(&request, tally) {
            output.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        } else {
            output.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n")?;
        }
    }
    Ok(())
}

/// Whether it was a push.
fn take(request: &http::Request, tally: &Mutex<Tally>) -> bool {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    let mut tally = lock(tally);
    let result = lines::each(request, |text| tally.take(text, now_ns));
    if let Err(error) = &result {
        tally.refused = Some(format!("A {} request was no push: {error}", request.content_type));
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rig::random::Random;

    use super::*;

    #[test]
    fn lines_are_counted_and_other_requests_answered() {
        let sink = PeerSink::start().unwrap();
        let body = r#"{"streams":[{"stream":{},"values":[["1","src=1 seq=2 t=3 x sum=0"],["2","no mark"]]}]}"#;
        let mut client = TcpStream::connect(sink.address()).unwrap();
        let head = format!(
            "POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.write_all((head + body).as_bytes()).unwrap();
        let mut answer = [0; 27];
        client.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 204"));
        assert_eq!(sink.arrived(), Arrived { lines: 1, whole: 0, repeated: 0 });
        client.write_all(b"GET /ready HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    #[test]
    fn a_line_counts_once_and_is_whole_only_as_it_was_written() {
        let mark = |sequence| mark::Mark { source: 3, sequence, timestamp_ns: 1_795_345_754_341_435_724 };
        let line = |sequence| {
            let mut line = Vec::new();
            mark::write(&mut line, mark(sequence), mark::Shape::Text, 160, &mut Random::new(1));
            line
        };
        let mut tally = Tally::default();
        let now_ns = mark(0).timestamp_ns + 1_000_000;
        for text in [&line(0)[..], &line(0), &line(1)[..100], &line(2), b"src=4000000000 seq=1 t=1 "] {
            tally.take(text, now_ns);
        }
        assert_eq!(tally.arrived, Arrived { lines: 3, whole: 2, repeated: 1 });
    }
}
