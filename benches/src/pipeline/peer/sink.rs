//! Where a peer's lines go: a Loki that takes everything and counts lines.

use std::{
    io::{self, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use rig::{latency::Histogram, ledger::Ledger};

use super::{Process, http, lines};
use crate::pipeline::report::Latency;

/// How often the peer is looked at while lines come in.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A peer from which nothing comes for so long will send no more.
const STALL: Duration = Duration::from_secs(60);

/// A sink that is not particular.
pub struct PeerSink {
    address: SocketAddr,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    /// Whose beginning arrived.
    lines: u64,
    latency: Histogram,
    /// The last request that was no push, in words.
    refused: Option<String>,
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

    /// From the lines' timestamps to here.
    pub fn latency(&self) -> Latency {
        Latency::of(&lock(&self.tally).latency)
    }

    /// Until as many lines arrived as were written.
    ///
    /// # Errors
    /// Where the peer ends, or no more lines come.
    pub fn wait_for_all(&self, ledger: &Ledger, peer: &mut Process) -> anyhow::Result<()> {
        let written = ledger.lines();
        let mut last = (0, Instant::now());
        loop {
            let arrived = lock(&self.tally).lines;
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
    let result = lines::each(request, |text| {
        if let Some(written_ns) = lines::written_ns(text) {
            tally.lines += 1;
            tally.latency.record(Duration::from_nanos(now_ns.saturating_sub(written_ns).max(0) as u64));
        }
    });
    if let Err(error) = &result {
        tally.refused = Some(format!("A {} request was no push: {error}", request.content_type));
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
        assert_eq!(lock(&sink.tally).lines, 1);
        client.write_all(b"GET /ready HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}
