//! The JSON of the status server, with a stand-in for the reader thread.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Served, bind, serve};
use crate::{
    model::UnitId,
    status::{
        Health, Metrics,
        view::{
            Counted, Detail, Facts, Query, QueryReceiver, Seen, ShownLine, States, TapBuffer, TapLine, TapSpec,
            TapUnit, Totals, UnitState, View, channel,
        },
    },
};

const HOSTILE: &str = "</script>\"\u{1}\n\u{2028}<img src=x>";

struct Parts;

impl Counted for Parts {
    fn totals(&self) -> Totals {
        Totals { lines_read: 5, lines_acknowledged: 4, lines_dropped: 1, lag_bytes: 7, ..Totals::default() }
    }

    fn reader(&self) -> Option<(String, String)> {
        Some(("pread".into(), "no io_uring".into()))
    }

    fn waiting_bytes(&self) -> u64 {
        3
    }

    fn parked_streams(&self) -> u64 {
        1
    }
}

fn unit(id: u32, pod: &str, state: UnitState) -> Seen {
    let [namespace, pod, container, reason] = ["shop", pod, "web", "why"].map(str::to_owned);
    let levels = vec![("error", 3)];
    Seen { id: UnitId(id), namespace, pod, container, state, reason, levels, lines: 10, bytes: 1000, lag_bytes: 7 }
}

fn line(text: &str) -> Arc<ShownLine> {
    let [namespace, pod, container] = ["shop", "web-1", "web"].map(str::to_owned);
    let unit = Arc::new(TapUnit { id: UnitId(1), namespace, pod, container });
    TapLine {
        time_ns: 1_767_323_045_000_000_001,
        unit,
        stream: "stdout",
        labels: None,
        metadata: None,
        text: text.into(),
    }
    .shown()
}

/// Answers as the reader thread does, until nobody can ask any more.
fn stand_in(queries: &QueryReceiver, taps: &crossbeam_channel::Sender<TapSpec>) {
    while let Ok(query) = queries.receiver.recv() {
        match query {
            Query::States(reply) => {
                let none = UnitState::ALL.map(|state| (state, u64::from(state == UnitState::Parked)));
                let _ = reply.send(States { units: none.into(), lag_bytes: 9 });
            }
            Query::Units(reply) => {
                let units = vec![unit(2, HOSTILE, UnitState::Excluded), unit(1, "a", UnitState::Parked)];
                let _ = reply.send(units);
            }
            Query::Unit(id, reply) => {
                let known = (id == UnitId(1)).then(|| (unit(1, "a", UnitState::Parked), Detail::default()));
                let _ = reply.send(known);
            }
            Query::Tap(spec, reply) => {
                let _ = reply.send(spec.unit.is_none_or(|unit| unit == UnitId(1)));
                let _ = taps.send(spec);
            }
        }
    }
}

/// Runs `client` against a server with a view. `answers`: the reader thread is there.
fn with_view<F: Future<Output = ()>>(
    answers: bool,
    tail: bool,
    client: impl FnOnce(SocketAddr, Arc<Health>, crossbeam_channel::Receiver<TapSpec>) -> F,
) {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let health = Arc::new(Health::default());
    let (queries, receiver) = channel();
    let (taps, tapped) = crossbeam_channel::unbounded();
    let _silent = if answers {
        thread::spawn(move || stand_in(&receiver, &taps));
        None
    } else {
        Some(receiver)
    };
    let facts = Facts { tail, loki: "http://loki:3100".into(), ..Facts::default() };
    let view = Some(Arc::new(View::new(facts, Arc::clone(&health), Arc::new(Parts), queries)));
    let served = Served { metrics: Arc::new(Metrics::new()), health: Arc::clone(&health), view };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            Err(error) = serve(listener, served) => panic!("{error}"),
            () = client(address, health, tapped) => {}
        }
    });
}

async fn open(address: SocketAddr, path: &str, host: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut text = String::new();
    open(address, path, "localhost").await.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Reads until a line that begins so.
async fn until(stream: &mut BufReader<TcpStream>, begin: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the stream ended before {begin}");
        if line.starts_with(begin) {
            return line;
        }
    }
}

#[test]
fn the_status_has_the_node_loki_and_the_totals() {
    with_view(true, false, |address, health, _| async move {
        health.first_scan_done();
        health.pushes().failed("429 Too Many Requests: slower", None);
        let status = json(address, "/api/v1/status").await;
        assert_eq!(status["loki"]["url"], "http://loki:3100");
        assert_eq!(status["loki"]["last_answer"], "429 Too Many Requests: slower");
        assert_eq!(status["loki"]["last_acknowledged"], Value::Null);
        assert_eq!((&status["ready"], &status["tail"]), (&true.into(), &true.into()));
        assert_eq!(status["reader"]["fallback_reason"], "no io_uring");
        assert_eq!((&status["units"]["parked"], &status["units"]["collecting"]), (&1.into(), &0.into()));
        assert_eq!((&status["totals"]["lines_read"], &status["totals"]["lines_dropped"]), (&5.into(), &1.into()));
        assert!(status["totals"]["memory_bytes"].as_u64().unwrap() > 0 && status["kernel"].is_string());
        assert_eq!(status["totals"]["lag_bytes"], 9, "that of now, and not of the last sweep");
        assert_eq!(status["history"]["step_ms"], 10_000);
    });
}

#[test]
fn units_are_sorted_by_name_and_hostile_names_are_escaped() {
    with_view(true, false, |address, health, _| async move {
        health.pushes().refused(UnitId(1), "limit reached", false);
        let (_, body) = get(address, "/api/v1/units").await;
        assert!(!body.contains(['\n', '\u{1}']), "{body}");
        let units: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&units["units"][0]["pod"], &units["units"][1]["pod"]), (&HOSTILE.into(), &"a".into()));
        assert_eq!(units["units"][1]["reason"], "why: limit reached");
        assert_eq!((&units["units"][1]["state"], &units["units"][1]["lines_per_s"]), (&"parked".into(), &Value::Null));
        let unit = json(address, "/api/v1/units/u1").await;
        assert_eq!((&unit["id"], &unit["last_refusal"]["text"]), (&"u1".into(), &"limit reached".into()));
        for path in ["/api/v1/units/u7", "/api/v1/units/x", "/api/v1/none", "/api/v2/units"] {
            assert_eq!(get(address, path).await.0, 404, "{path}");
        }
    });
}

#[test]
fn a_reader_that_does_not_answer_costs_the_asker_an_error_and_the_status_only_its_units() {
    with_view(false, false, |address, _, _| async move {
        assert_eq!(get(address, "/api/v1/tail").await.0, 503);
        let (status, body) = get(address, "/api/v1/units").await;
        assert_eq!((status, body.as_str()), (503, "the reader is busy and did not answer in time; try again\n"));
        let status = json(address, "/api/v1/status").await;
        assert_eq!((&status["units"], &status["totals"]["lag_bytes"]), (&Value::Null, &7.into()));
    });
}

#[test]
fn a_tail_shows_lines_and_says_how_many_were_dropped() {
    with_view(true, false, |address, _, taps| async move {
        let mut stream = open(address, "/api/v1/tail?pod=web&grep=a", "127.0.0.1:9080").await;
        assert!(until(&mut stream, "content-type: ").await.contains("text/event-stream"));
        let spec = tokio::task::spawn_blocking(move || taps.recv().unwrap()).await.unwrap();
        assert!(spec.processed && spec.selects(UnitId(1), "shop", "web-1", "web") && spec.grep.is_some());
        let buffer = spec.out.upgrade().unwrap();
        buffer.add(line(HOSTILE));
        buffer.note_dropped(3);
        buffer.notify.notify_one();
        assert_eq!(until(&mut stream, "event: ").await, "event: line\n");
        let data = until(&mut stream, "data: ").await;
        let row: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&row["text"], &row["time_ns"]), (&HOSTILE.into(), &"1767323045000000001".into()));
        assert_eq!(until(&mut stream, "event: ").await, "event: dropped\n");
        assert_eq!(until(&mut stream, "data: ").await, "data: {\"lines\":3}\n");
        drop((stream, buffer));
        while spec.out.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn lines_are_shown_to_no_name_of_elsewhere_unless_that_is_configured() {
    with_view(true, false, |address, _, _| async move {
        let mut text = String::new();
        open(address, "/api/v1/tail", "evil.example").await.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.0 403") && text.contains("http.tail: true"), "{text}");
        assert_eq!(get(address, "/api/v1/tail?mode=x").await.0, 400);
        let (status, body) = get(address, "/api/v1/tail?unit=u999").await;
        assert!(status == 404 && body.starts_with("no such unit"), "{body}");
    });
    with_view(true, true, |address, _, _| async move {
        let mut stream = open(address, "/api/v1/tail", "evil.example").await;
        until(&mut stream, "HTTP/1.0 200").await;
    });
}

#[test]
fn twenty_viewers_and_many_silent_connections_keep_no_probe_from_its_answer() {
    with_view(true, false, |address, _, taps| async move {
        let mut viewers = Vec::new();
        for _ in 0..20 {
            let mut viewer = open(address, "/api/v1/tail", "localhost").await;
            until(&mut viewer, ": lines follow").await;
            viewers.push(viewer);
        }
        let (status, body) = get(address, "/api/v1/tail").await;
        assert!(status == 503 && body.starts_with("20 viewers"), "{body}");
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(TcpStream::connect(address).await.unwrap());
            assert_eq!(get(address, "/healthz").await.1, "healthy\n");
        }
        // The viewers are still there.
        for (spec, viewer) in taps.try_iter().zip(&mut viewers) {
            let buffer: Weak<TapBuffer> = spec.out;
            let buffer = buffer.upgrade().unwrap();
            buffer.add(line("still"));
            buffer.notify.notify_one();
            until(viewer, "event: line").await;
        }
        viewers.pop();
        while get(address, "/api/v1/tail?mode=x").await.0 != 400 {}
        let mut next = open(address, "/api/v1/tail", "localhost").await;
        let mut line = String::new();
        next.read_line(&mut line).await.unwrap();
        while !line.starts_with("HTTP/1.0 200") {
            tokio::time::sleep(Duration::from_millis(20)).await;
            next = open(address, "/api/v1/tail", "localhost").await;
            line.clear();
            next.read_line(&mut line).await.unwrap();
        }
    });
}
