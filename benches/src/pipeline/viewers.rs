//! A busy node that is looked at: 20 live tails, half of them with an expression that few lines match, and 200 connections that are slow or say nothing.
//!
//! In: a collector of ours on the load of [`super::live`]. Out: what it takes without and with them, whether every line arrived, and
//! whether the kubelet's probes were answered meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::{
    Place,
    live::{Busy, Rotation},
    program::Program,
    report::Figures,
    say,
};

/// As many as the collector allows.
const TAILS: usize = 20;
/// Connections that send nothing, and as many that send a byte at a time.
const IDLE: usize = 100;
const SLOW: usize = 100;
/// One that was ended comes again after this time.
const COMES_AGAIN_AFTER: Duration = Duration::from_secs(10);
const SLOW_BYTE_EVERY: Duration = Duration::from_millis(500);
/// How often the probes are asked, and how long one may take: the kubelet's default.
const PROBE_EVERY: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Until all of them are there.
const SETTLING: Duration = Duration::from_secs(3);

/// What came to the connections.
#[derive(Default)]
struct Seen {
    ends: AtomicBool,
    tails: AtomicU64,
    lines: AtomicU64,
    dropped: AtomicU64,
    probes: AtomicU64,
    unanswered: AtomicU64,
    slowest_us: AtomicU64,
}

/// Counts what is taken for `watched` while nobody looks, and for `watched` while all of them do.
///
/// # Errors
/// Where the collector fails, a line does not arrive, or a probe is not answered.
pub fn run(program: &Program, place: &Place, watched: Duration) -> anyhow::Result<Vec<Figures>> {
    let busy = Busy::start(program, place, Rotation::No)?;
    let address = busy.status_address().context("a peer has no live tail")?;
    let (alone, alone_by_thread) = measure(&busy, "nobody looks", watched)?;
    let seen = Seen::default();
    let looked_at = thread::scope(|scope| {
        for index in 0..TAILS {
            let seen = &seen;
            let mode = if index % 2 == 0 { "processed" } else { "raw" };
            let grep = if index % 4 < 2 { "" } else { "&grep=%5Cd%7B3%7D%20never" };
            scope.spawn(move || tail(address, &format!("mode={mode}{grep}"), seen));
        }
        scope.spawn(|| hold(address, &seen));
        scope.spawn(|| probe(address, &seen));
        thread::sleep(SETTLING);
        let figures = measure(&busy, "viewers", watched);
        let tails = seen.tails.load(Ordering::Relaxed);
        seen.ends.store(true, Ordering::Relaxed);
        figures.map(|figures| (figures, tails))
    });
    let ((looked_at, looked_at_by_thread), tails) = looked_at?;
    let (after, after_by_thread) = measure(&busy, "viewers gone", watched)?;
    let latency = busy.finish()?;
    for (figures, by_thread) in
        [(&alone, alone_by_thread), (&looked_at, looked_at_by_thread), (&after, after_by_thread)]
    {
        say(figures);
        let memory = figures.memory.resident_bytes as f64 / 1_048_576.0;
        println!("  {:.2} % of a core ({by_thread}), {memory:.1} MiB now", figures.core_percent());
    }
    println!("every line arrived; p50 {:.0} ms, p99 {:.0} ms over the whole run", latency.p50_ms, latency.p99_ms);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{tails} live tails were shown {} lines and told of {} more; {IDLE} idle and {SLOW} slow connections; {} probes, {} not \
         answered within {} s, the slowest after {:.1} ms",
        count(&seen.lines),
        count(&seen.dropped),
        count(&seen.probes),
        count(&seen.unanswered),
        PROBE_TIMEOUT.as_secs(),
        count(&seen.slowest_us) as f64 / 1e3,
    );
    ensure!(tails == TAILS as u64, "{tails} of {TAILS} live tails lasted");
    ensure!(count(&seen.unanswered) == 0, "probes were not answered");
    Ok(vec![alone, looked_at])
}

/// What is taken for so long, and by which thread.
fn measure(busy: &Busy, scenario: &str, watched: Duration) -> anyhow::Result<(Figures, String)> {
    let (before, started) = (by_thread(busy.pid())?, Instant::now());
    let figures = busy.measure(scenario, watched)?;
    let seconds = started.elapsed().as_secs_f64();
    let shares = by_thread(busy.pid())?.into_iter().filter_map(|(name, cpu)| {
        let used = cpu.saturating_sub(before.get(&name).copied().unwrap_or_default());
        let percent = 100.0 * used.as_secs_f64() / seconds;
        (percent >= 0.01).then(|| format!("{name} {percent:.2}"))
    });
    Ok((figures, shares.collect::<Vec<_>>().join(", ")))
}

/// CPU time of all threads of each name.
fn by_thread(pid: u32) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let folder = thread?.path();
        // A thread may end in between.
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let run_ns = read("schedstat").split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        *all.entry(read("comm").trim().to_owned()).or_default() += Duration::from_nanos(run_ns);
    }
    Ok(all)
}

/// Reads all lines until the end.
fn tail(address: SocketAddr, query: &str, seen: &Seen) {
    let Ok(stream) = request(address, &format!("/api/v1/tail?{query}"), SETTLING) else { return };
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let (mut line, mut dropped) = (Vec::new(), false);
    seen.tails.fetch_add(1, Ordering::Relaxed);
    while !seen.ends.load(Ordering::Relaxed) {
        line.clear();
        if !stream.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            seen.tails.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        match &line[..] {
            b"event: line\n" => {
                seen.lines.fetch_add(1, Ordering::Relaxed);
            }
            b"event: dropped\n" => dropped = true,
            data if std::mem::take(&mut dropped) => {
                let digits = String::from_utf8_lossy(data).chars().filter(char::is_ascii_digit).collect::<String>();
                seen.dropped.fetch_add(digits.parse().unwrap_or(0), Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Holds connections that ask for nothing, or take their time.
fn hold(address: SocketAddr, seen: &Seen) {
    let mut held: Vec<(Option<TcpStream>, Instant)> = Vec::new();
    held.resize_with(IDLE + SLOW, || (None, Instant::now()));
    while !seen.ends.load(Ordering::Relaxed) {
        for (index, (stream, opened)) in held.iter_mut().enumerate() {
            if stream
                .as_mut()
                .is_some_and(|stream| has_ended(stream) || (index >= IDLE && stream.write_all(b"x").is_err()))
            {
                *stream = None;
            }
            if stream.is_none() && *opened <= Instant::now() {
                *opened = Instant::now() + COMES_AGAIN_AFTER;
                *stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).ok();
                if let Some(stream) = stream {
                    let _ = stream.set_nonblocking(true);
                    let _ = index < IDLE || stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").is_err();
                }
            }
        }
        thread::sleep(SLOW_BYTE_EVERY);
    }
}

fn has_ended(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 256]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Asks as the kubelet does.
fn probe(address: SocketAddr, seen: &Seen) {
    while !seen.ends.load(Ordering::Relaxed) {
        for path in ["/ready", "/healthz"] {
            let asked = Instant::now();
            let mut answer = String::new();
            let good = request(address, path, PROBE_TIMEOUT)
                .and_then(|mut stream| stream.read_to_string(&mut answer))
                .is_ok_and(|_| answer.starts_with("HTTP/1.0 200"));
            seen.probes.fetch_add(1, Ordering::Relaxed);
            seen.unanswered.fetch_add(u64::from(!good || asked.elapsed() > PROBE_TIMEOUT), Ordering::Relaxed);
            seen.slowest_us.fetch_max(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        thread::sleep(PROBE_EVERY);
    }
}

fn request(address: SocketAddr, path: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    Ok(stream)
}
