//! The receiver as its clients meet it: over TCP, with prost as the encoder.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Barrier},
    thread,
};

use prost::Message;

use super::*;
use crate::{
    mark::{self, Mark, Shape},
    random::Random,
};

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "2")]
    line: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

const LABELS: &str = r#"{app="nginx", stream="stderr"}"#;

fn entry(seconds: i64, line: impl Into<Vec<u8>>) -> Entry {
    Entry { timestamp: Some(Timestamp { seconds, nanos: 7 }), line: line.into(), metadata: Vec::new() }
}

fn push_of(labels: &str, entries: Vec<Entry>) -> PushRequest {
    PushRequest { streams: vec![Stream { labels: labels.into(), entries, hash: 0 }] }
}

fn body_of(push: &PushRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&push.encode_to_vec()).unwrap()
}

/// The answer's status; 0 when there was none.
fn send(receiver: &Receiver, head: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(receiver.address())?;
    write!(connection, "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
    connection.write_all(body)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, answer))
}

const HEAD: &str = "POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/x-protobuf";

fn post(receiver: &Receiver, push: &PushRequest) -> u16 {
    send(receiver, HEAD, &body_of(push)).map_or(0, |(status, _)| status)
}

fn start() -> Receiver {
    Receiver::start(Options::default()).unwrap()
}

fn with_faults(faults: FaultScript) -> Receiver {
    Receiver::start(Options { faults, ..Options::default() }).unwrap()
}

fn marked(sequence: u64) -> Entry {
    let mut line = Vec::new();
    let seconds = 1_700_000_000 + sequence as i64;
    let mark = Mark { source: 0, sequence, timestamp_ns: seconds * 1_000_000_000 + 7 };
    mark::write(&mut line, mark, Shape::Text, 150, &mut Random::new(sequence));
    entry(seconds, line)
}

fn ledger_of(lines: u64) -> Ledger {
    let ledger = Ledger::default();
    ledger.add_source("default/web/nginx stderr".into());
    ledger.add_lines(0, lines, 0);
    ledger
}

#[test]
fn a_proper_push_is_kept_with_its_labels_timestamps_and_texts() {
    let receiver = start();
    let mut with_metadata = entry(2, "two");
    with_metadata.metadata.push(Pair { name: "node".into(), value: "pi".into() });
    assert_eq!(post(&receiver, &push_of(LABELS, vec![entry(1, "one ä"), with_metadata, entry(3, "")])), 204);
    let streams = receiver.streams();
    let stream = &streams[LABELS];
    assert_eq!(stream.label("stream"), Some("stderr"));
    assert_eq!(stream.lines(), [(1_000_000_007, "one ä"), (2_000_000_007, "two"), (3_000_000_007, "")]);
    assert_eq!(stream.entries[1].metadata, [("node".to_owned(), "pi".to_owned())]);
    assert_eq!((stream.arrived, stream.backward), (3, 0));
    assert!(receiver.violations().is_empty());
    assert_eq!(receiver.counts().answers, BTreeMap::from([(204, 1)]));
}

#[test]
fn two_writings_of_one_label_set_are_one_stream() {
    let receiver = start();
    post(&receiver, &push_of(LABELS, vec![entry(1, "one")]));
    post(&receiver, &push_of(&LABELS.replace(", ", ","), vec![entry(2, "two")]));
    assert_eq!(receiver.streams().len(), 1);
    assert_eq!(receiver.streams()[LABELS].arrived, 2);
}

#[test]
fn ready_is_answered_and_other_paths_are_not_there() {
    let receiver = start();
    let timeout = Duration::from_secs(10);
    assert_eq!(crate::http::get(&format!("{}/ready", receiver.url()), timeout).unwrap(), (200, b"ready\n".to_vec()));
    assert_eq!(crate::http::get(&format!("{}/metrics", receiver.url()), timeout).unwrap().0, 404);
}

#[test]
fn requests_with_a_wrong_head_are_violations() {
    let body = body_of(&push_of(LABELS, vec![entry(1, "one")]));
    for (head, status) in [
        ("POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/json", 400),
        ("POST /loki/api/v1/push HTTP/1.1", 400),
        ("POST /api/prom/push HTTP/1.1\r\nContent-Type: application/x-protobuf", 404),
        ("POST /loki/api/v1/push/ HTTP/1.1\r\nContent-Type: application/x-protobuf", 404),
        ("POST /loki/api/v1/push?a=b HTTP/1.1\r\nContent-Type: application/x-protobuf", 400),
        ("PUT /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/x-protobuf", 405),
        ("POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip", 400),
    ] {
        let receiver = start();
        assert_eq!(send(&receiver, head, &body).unwrap().0, status, "{head}");
        assert_eq!(receiver.violations().len(), 1, "{head}");
        assert_eq!(receiver.counts().entries, 0);
    }
}

#[test]
fn malformed_bodies_are_violations() {
    let push = push_of(LABELS, vec![entry(1, "one")]);
    let compress = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let encoded = push.encode_to_vec();
    let raw = |bytes: &[u8]| compress(bytes);
    let with = |labels: &str, entry: Entry| body_of(&push_of(labels, vec![entry]));
    let nanos = |nanos| Entry { timestamp: Some(Timestamp { seconds: 1, nanos }), ..entry(1, "x") };
    let carrying = |pairs: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| Pair { name: (*name).into(), value: (*value).into() };
        with(LABELS, Entry { metadata: pairs.iter().map(pair).collect(), ..entry(1, "x") })
    };
    let many: Vec<_> = (0..129).map(|n| format!("n{n:03}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "x")).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("not snappy", encoded.clone()),
        ("snappy cut short", body_of(&push)[..10].to_vec()),
        ("no bytes", Vec::new()),
        ("no streams", raw(&[])),
        ("protobuf cut short", raw(&encoded[..encoded.len() - 1])),
        ("unknown field of the request", raw(&[&encoded[..], &[0x10, 1]].concat())),
        ("wire type 5", raw(&[0x0d, 0, 0, 0, 0])),
        ("overlong varint", raw(&[0x8a, 0x00, 0x00])),
        ("endless varint", raw(&[0xff; 11])),
        ("stream without entries", body_of(&push_of(LABELS, vec![]))),
        ("stream without labels", with("", entry(1, "x"))),
        ("bad labels", with("{b=\"1\", a=\"2\"}", entry(1, "x"))),
        ("no timestamp", with(LABELS, Entry { timestamp: None, ..entry(1, "x") })),
        ("too many nanoseconds", with(LABELS, nanos(1_000_000_000))),
        ("negative nanoseconds", with(LABELS, nanos(-1))),
        ("seconds beyond 64 bits of nanoseconds", with(LABELS, entry(i64::MAX, "x"))),
        ("invalid UTF-8", with(LABELS, entry(1, b"a\xffb".to_vec()))),
        ("line over the limit", with(LABELS, entry(1, vec![b'x'; (256 << 10) + 1]))),
        ("metadata without name", carrying(&[("", "x")])),
        ("metadata without value", carrying(&[("n", "")])),
        ("metadata with a name that is none", carrying(&[("a-b", "x")])),
        ("metadata twice", carrying(&[("a", "x"), ("a", "x")])),
        ("metadata out of order", carrying(&[("b", "x"), ("a", "x")])),
        ("metadata of too many names", carrying(&many)),
        ("metadata of too many bytes", carrying(&[("a", &"x".repeat(64 << 10))])),
        ("Stream.hash", {
            let mut push = push.clone();
            push.streams[0].hash = 7;
            body_of(&push)
        }),
        ("a timestamp twice", raw(&twice_the_timestamp())),
    ];
    for (name, body) in cases {
        let receiver = start();
        let (status, answer) = send(&receiver, HEAD, &body).unwrap();
        assert_eq!(status, 400, "{name}: {answer}");
        assert_eq!(receiver.violations().len(), 1, "{name}");
        assert_eq!(receiver.counts().entries, 0, "{name}");
        assert_eq!(post(&receiver, &push), 204, "{name}: the next push is as good as ever");
    }
}

fn twice_the_timestamp() -> Vec<u8> {
    let timestamp = [0x0a, 0x02, 0x08, 0x01];
    let entry = [&timestamp[..], &timestamp, &[0x12, 0x01, b'x']].concat();
    let stream = [&[0x0a, LABELS.len() as u8], LABELS.as_bytes(), &[0x12, entry.len() as u8], &entry].concat();
    [&[0x0a, stream.len() as u8], &stream[..]].concat()
}

#[test]
fn a_push_over_the_limit_is_answered_with_413_and_is_no_violation() {
    let receiver = Receiver::start(Options { decoded_bytes_max: 1000, ..Options::default() }).unwrap();
    assert_eq!(post(&receiver, &push_of(LABELS, vec![entry(1, vec![b'x'; 1000])])), 413);
    assert!(receiver.violations().is_empty());
    assert_eq!(receiver.counts().entries, 0);
}

#[test]
fn repeats_and_backward_steps_are_seen_per_stream() {
    let receiver = start();
    post(&receiver, &push_of(LABELS, vec![entry(1, "one"), entry(3, "three")]));
    post(&receiver, &push_of(LABELS, vec![entry(1, "one"), entry(3, "three"), entry(4, "four")]));
    assert_eq!(receiver.streams()[LABELS].backward, 0, "repeats are no steps backward");
    assert_eq!(receiver.streams()[LABELS].lines().len(), 3);
    post(&receiver, &push_of("{a=\"b\"}", vec![entry(2, "two")]));
    post(&receiver, &push_of(LABELS, vec![entry(2, "two")]));
    assert_eq!(receiver.streams()[LABELS].backward, 1);
    assert_eq!(receiver.streams()["{a=\"b\"}"].backward, 0);
}

#[test]
fn counts_only_keeps_no_entries_and_still_finds_what_is_missing() {
    let receiver = Receiver::start(Options { keep: Keep::Counts, ..Options::default() }).unwrap();
    post(&receiver, &push_of(LABELS, (0..10).filter(|n| *n != 4).map(marked).collect()));
    post(&receiver, &push_of(LABELS, vec![marked(9), marked(10)]));
    assert!(receiver.streams()[LABELS].entries.is_empty());
    let report = receiver.report(&ledger_of(11));
    assert_eq!((report.missing, report.acknowledged, report.faults.repeated), (1, 10, 1));
    assert!(!report.is_complete());
    assert!(receiver.counts().decoded_bytes > 11 * 150);
}

#[test]
fn refusals_of_the_script_store_nothing() {
    let statuses = [429, 500, 503, 401, 413, 400];
    let receiver = with_faults(FaultScript::list(statuses.map(Verdict::status)));
    let push = push_of(LABELS, vec![marked(0)]);
    for status in statuses {
        assert_eq!(post(&receiver, &push), status);
        assert_eq!(receiver.counts().entries, 0);
    }
    assert_eq!(post(&receiver, &push), 204, "the list is over");
    assert_eq!(receiver.counts().answers.len(), statuses.len() + 1);
    assert!(receiver.violations().is_empty());
    let refuse = Verdict::Refuse { status: 429, body: "slow down".into(), retry_after_s: Some(3) };
    receiver.set_faults(FaultScript::each(move |_| refuse.clone()));
    let (_, answer) = send(&receiver, HEAD, &body_of(&push)).unwrap();
    assert!(answer.contains("retry-after: 3") && answer.ends_with("slow down"), "{answer}");
}

#[test]
fn a_partial_refusal_stores_the_rest_and_reads_like_loki_s() {
    let receiver = with_faults(FaultScript::list([Verdict::RefuseSome { entries: 2 }]));
    let (status, answer) = send(&receiver, HEAD, &body_of(&push_of(LABELS, (0..5).map(marked).collect()))).unwrap();
    assert_eq!(status, 400);
    assert!(answer.contains("total ignored: 2 out of"), "{answer}");
    let report = receiver.report(&ledger_of(5));
    assert_eq!((report.acknowledged, report.refused, report.missing), (3, 2, 0));
}

#[test]
fn a_dropped_answer_has_stored_the_entries_and_a_cut_body_has_not() {
    let receiver = with_faults(FaultScript::list([Verdict::AcceptWithoutAnswer, Verdict::CloseMidBody]));
    assert_eq!(post(&receiver, &push_of(LABELS, vec![marked(0)])), 0);
    assert_eq!(receiver.counts().entries, 1);
    assert_eq!(post(&receiver, &push_of(LABELS, vec![marked(1)])), 0);
    assert_eq!(receiver.counts().entries, 1);
    assert!(receiver.wait_until(Duration::from_secs(10), |counts| counts.answers.get(&0) == Some(&2)));
}

#[test]
fn while_down_connections_are_refused_and_then_taken_at_the_same_address() {
    let receiver = start();
    let push = push_of(LABELS, vec![entry(1, "one")]);
    let mut idle = TcpStream::connect(receiver.address()).unwrap();
    assert_eq!(post(&receiver, &push), 204);
    receiver.set_down(true);
    assert!(TcpStream::connect(receiver.address()).is_err());
    assert!(matches!(idle.read(&mut [0; 16]), Ok(0) | Err(_)), "open connections are cut");
    receiver.set_down(false);
    assert_eq!(post(&receiver, &push), 204);
}

#[test]
fn two_pushes_of_one_stream_at_the_same_time_are_a_violation() {
    let pushes = |labels: [&'static str; 2]| {
        let receiver = Receiver::start(Options { answer_after: Duration::from_millis(300), ..Options::default() });
        let receiver = Arc::new(receiver.unwrap());
        let barrier = Arc::new(Barrier::new(2));
        let threads = labels.map(|labels| {
            let (receiver, barrier) = (Arc::clone(&receiver), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                post(&receiver, &push_of(labels, vec![entry(1, "x")]))
            })
        });
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [204, 204]);
        receiver.violations()
    };
    assert_eq!(pushes([LABELS, LABELS]), [format!("two pushes at the same time for {LABELS}")]);
    assert!(pushes([LABELS, "{a=\"b\"}"]).is_empty());
}

#[test]
fn a_push_after_one_that_the_client_gave_up_is_no_violation() {
    let receiver = with_faults(FaultScript::list([Verdict::AcceptAfter(Duration::from_secs(600))]));
    let push = push_of(LABELS, vec![marked(0)]);
    let mut given_up = TcpStream::connect(receiver.address()).unwrap();
    let body = body_of(&push);
    write!(given_up, "{HEAD}\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    given_up.write_all(&body).unwrap();
    assert!(receiver.wait_until(Duration::from_secs(10), |counts| counts.entries == 1));
    drop(given_up);
    assert_eq!(post(&receiver, &push), 204);
    assert!(receiver.violations().is_empty());
    assert_eq!(receiver.report(&ledger_of(1)).faults.repeated, 1);
}

#[test]
fn headers_of_the_last_push_are_there_for_the_test() {
    let receiver = start();
    let head = format!("{HEAD}\r\nX-Scope-OrgID: tenant-a");
    send(&receiver, &head, &body_of(&push_of(LABELS, vec![entry(1, "x")]))).unwrap();
    assert!(receiver.last_headers().contains(&("x-scope-orgid".into(), "tenant-a".into())));
}

#[test]
fn waiting_ends_at_the_deadline() {
    assert!(!start().wait_until(Duration::from_millis(20), |counts| counts.entries > 0));
}

fn with_limits(limits: Limits) -> Receiver {
    Receiver::start(Options { limits, ..Options::default() }).unwrap()
}

/// A push of one entry for each of these applications.
fn push_of_apps(apps: &[&str]) -> PushRequest {
    let stream = |app: &&str| Stream { labels: format!("{{app=\"{app}\"}}"), entries: vec![entry(1, *app)], hash: 0 };
    PushRequest { streams: apps.iter().map(stream).collect() }
}

#[test]
fn a_refused_stream_is_told_only_where_it_is_the_last_and_the_others_are_stored() {
    let limits = || Limits::default().refuse_label("app", "bad", Refusal::unavailable());
    let receiver = with_limits(limits());
    assert_eq!(post(&receiver, &push_of_apps(&["bad", "good"])), 204);
    assert_eq!((receiver.counts().entries, receiver.counts().silently_dropped), (1, 1));
    assert_eq!(post(&receiver, &push_of_apps(&["good", "bad"])), 503);
    assert_eq!((receiver.counts().limited_entries, receiver.counts().silently_dropped), (2, 1));
    assert_eq!(receiver.streams()["{app=\"good\"}"].arrived, 2);
    receiver.set_limits(limits().told(Told::AnyStream));
    assert_eq!(post(&receiver, &push_of_apps(&["bad", "good"])), 503);
    assert_eq!((receiver.counts().entries, receiver.counts().silently_dropped), (3, 1));
    assert!(receiver.violations().is_empty());
}

#[test]
fn a_push_that_is_refused_whole_stores_nothing() {
    let bad = |stream: &push::Stream<'_>| stream.labels_text.contains("bad").then(Refusal::unavailable);
    let receiver = with_limits(Limits::default().refuse_whole(bad));
    assert_eq!(post(&receiver, &push_of_apps(&["bad", "good"])), 503);
    assert_eq!(receiver.counts().entries, 0);
    assert_eq!(post(&receiver, &push_of_apps(&["good"])), 204);
}

#[test]
fn streams_beyond_a_tenants_limit_are_refused_until_those_that_are_known_are_flushed() {
    let receiver = with_limits(Limits::default().streams_max(2));
    assert_eq!(post(&receiver, &push_of_apps(&["a", "b", "c"])), 429);
    assert_eq!(post(&receiver, &push_of_apps(&["b", "a"])), 204);
    let of_another = format!("{HEAD}\r\nX-Scope-OrgID: other");
    assert_eq!(send(&receiver, &of_another, &body_of(&push_of_apps(&["c"]))).unwrap().0, 204);
    receiver.flush_streams();
    assert_eq!(post(&receiver, &push_of_apps(&["c"])), 204);
}

#[test]
fn a_stream_over_its_rate_keeps_what_fits_and_the_next_stream_has_a_rate_of_its_own() {
    let receiver = with_limits(Limits::default().stream_rate(1, 100));
    let entries = |label: &str| push_of(label, (0..3).map(|n| entry(n, vec![b'x'; 40])).collect());
    let (status, answer) = send(&receiver, HEAD, &body_of(&entries(LABELS))).unwrap();
    assert!(status == 429 && answer.contains("total ignored: 1 out of 3"), "{answer}");
    assert_eq!(receiver.counts().entries, 2);
    assert_eq!(post(&receiver, &entries("{a=\"b\"}")), 429);
    assert_eq!(receiver.counts().entries, 4);
}

#[test]
fn entries_that_are_too_far_behind_are_refused_and_the_stream_goes_on() {
    let receiver = with_limits(Limits::default().too_far_behind(Duration::from_secs(3600)));
    let late = push_of(LABELS, vec![entry(10_000, "new"), entry(6_000, "too old"), entry(7_000, "old")]);
    assert_eq!(post(&receiver, &late), 400);
    assert_eq!(receiver.streams()[LABELS].lines().len(), 2);
}

#[test]
fn a_page_stores_nothing_and_a_push_without_an_answer_neither() {
    let receiver =
        with_faults(FaultScript::list([Verdict::HtmlPage, Verdict::NoAnswer, Verdict::Slow { bytes_per_s: 1 }]));
    let push = push_of(LABELS, vec![entry(1, "one")]);
    let (status, answer) = send(&receiver, HEAD, &body_of(&push)).unwrap();
    assert!(status == 200 && answer.contains("text/html"), "{answer}");
    for _ in 0..2 {
        let mut given_up = TcpStream::connect(receiver.address()).unwrap();
        let body = body_of(&push);
        write!(given_up, "{HEAD}\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        given_up.write_all(&body).unwrap();
        given_up.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(given_up.read(&mut [0; 16]).is_err(), "no answer so far");
    }
    assert_eq!(post(&receiver, &push), 204);
    assert_eq!(receiver.counts().entries, 1);
}
