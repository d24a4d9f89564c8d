//! Random batches, answers and rewinds against a simulated Loki: order, exclusion, and one end for each slot.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{super::size::SLOW_BYTES_MIN, *};
use crate::{
    batch::BatchStream,
    config::HumanDuration,
    model::{Position, Stream, UnitId},
    output::loki::{
        answer::{Obstacle, Pace, Place, StreamLimit, StreamRefusal, Unknown, Verdict},
        rate::RateLimit,
    },
};

const STREAMS: usize = 5;

/// Which streams a batch has lines of, and how many lines each.
type Lines = Vec<(usize, usize)>;

fn schedule(now: Instant) -> Schedule {
    let backoff = config::Backoff { min: HumanDuration::from_millis(100), max: HumanDuration::from_secs(1) };
    let settings = Settings { backoff, timeout: Duration::from_secs(10), drop_refused_after: None };
    Schedule::new(settings, Limits::new(None), Arc::default(), now)
}

fn channel(stream: usize) -> ChannelId {
    // Two of them are one stream to Loki.
    ChannelId { unit: UnitId(stream as u32), stream: Stream::Stdout }
}

/// Two with equal labels are of two tenants.
fn key(stream: usize) -> Key {
    let (tenant, labels) = match stream {
        2 => (Some("t".into()), 0),
        stream => (None, stream.min(STREAMS - 2)),
    };
    Key { tenant, labels: format!("{{a=\"{labels}\"}}").into() }
}

fn batch(generation: u64, lines: &Lines, next_line: &mut u64) -> Batch {
    let mut batch = Batch::new(generation);
    for &(stream, count) in lines {
        let Key { tenant, labels } = key(stream);
        let slot = batch.open_stream_of(&tenant, &labels, channel(stream));
        for _ in 0..count {
            *next_line += 1;
            let at = Position { turn: 1, offset: *next_line };
            batch.append(slot, at, *next_line as i64, b"some text", &[]);
        }
    }
    batch
}

fn verdict(kind: u8, entries: u64) -> Verdict {
    let again = |pace, place| {
        let (summary, detail) = ("again".into(), String::new());
        Verdict::Again(Obstacle { summary, detail, advice: None, pace, place, retry_after: None })
    };
    match kind {
        0..6 => Verdict::Accepted,
        6 => again(Pace::Soon, Place::Answer),
        7 => again(Pace::Soon, Place::Connection),
        8 => again(Pace::Soon, Place::Timeout { all_sent: true }),
        9 => again(Pace::Slower, Place::Answer),
        10 => again(Pace::Fix, Place::Answer),
        11 => Verdict::StreamRefused(StreamRefusal { limit: StreamLimit::Streams, text: String::new() }),
        12 => Verdict::StreamRefused(StreamRefusal { limit: StreamLimit::Rate(Some(1 << 20)), text: String::new() }),
        13 if entries > 1 => Verdict::TooLarge,
        13 => Verdict::Accepted,
        _ => Verdict::Unknown(Unknown { reason: "refused", text: String::new() }),
    }
}

#[test]
fn what_loki_may_have_stored_counts_for_the_streams_rate() {
    // How often a line is tried in a stream that may bring ten such lines at once, and next to none later.
    let tries = |kind| {
        let started = Instant::now();
        let mut schedule = schedule(started);
        schedule.limits = Limits::new(Some(RateLimit { rate: 0.001, burst: 90.0 }));
        let mut now = started + Duration::from_secs(1_000_000);
        schedule.push(batch(0, &vec![(0, 1)], &mut 0), now);
        (0..1000)
            .filter(|_| {
                now += Duration::from_secs(2);
                let Some(start) = schedule.next(now) else { return false };
                let request = start.request;
                drop(start);
                schedule.finished(request, verdict(kind, 1), Duration::from_millis(10), now);
                true
            })
            .count()
    };
    const ANSWER_500: u8 = 6;
    const CONNECTION_BROKE: u8 = 7;
    const NO_ANSWER: u8 = 8;
    const SLOWER: u8 = 9;
    for kind in [ANSWER_500, CONNECTION_BROKE, NO_ANSWER] {
        assert_eq!(tries(kind), 10, "{kind}");
    }
    assert!(tries(SLOWER) > 100, "the distributor refuses before anything is stored");
}

/// The streams of a request, and the newest and oldest line of each.
fn sent(start: &Start) -> HashMap<Key, Vec<i64>> {
    use prost::Message;
    let mut bytes = Vec::new();
    start.batch.encode_push_request(&start.part, &mut bytes);
    let is_of_tenant = |slot: &StreamSlot| start.batch.streams()[slot.index()].tenant == start.tenant;
    assert!(start.batch.slots_of(&start.part).iter().all(is_of_tenant), "lines of another tenant are in a request");
    let request = crate::batch::PushRequest::decode(&bytes[..]).unwrap();
    let count = request.streams.len();
    let streams: HashMap<Key, Vec<i64>> = request
        .streams
        .into_iter()
        .map(|stream| {
            let times = stream.entries.iter().map(|entry| {
                let at = entry.timestamp.unwrap();
                at.seconds * 1_000_000_000 + i64::from(at.nanos)
            });
            (Key { tenant: start.tenant.clone(), labels: stream.labels.into() }, times.collect())
        })
        .collect();
    assert_eq!(streams.len(), count, "a stream stands twice in a request");
    streams
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn streams_stay_in_order_and_apart_and_every_slot_ends_once(
        plan in prop::collection::vec(prop::collection::vec((0..STREAMS, 1..6usize), 1..5), 1..12),
        choices in prop::collection::vec((any::<prop::sample::Index>(), 0..15u8), 400),
    ) {
        let mut now = Instant::now();
        let mut schedule = schedule(now);
        let (mut plan, mut choices) = (plan.into_iter().enumerate(), choices.into_iter());
        let (mut flying, mut next_line, mut ended) = (Vec::<(Start, HashMap<Key, Vec<i64>>)>::new(), 0, 0);
        let mut batches: HashMap<u64, Vec<BatchStream>> = HashMap::new();
        // The newest line of each stream that Loki took.
        let mut taken: HashMap<Key, i64> = HashMap::new();
        loop {
            now += Duration::from_millis(50);
            let pushed = plan.next();
            if let Some((generation, lines)) = &pushed {
                let batch = batch(*generation as u64, lines, &mut next_line);
                batches.insert(batch.generation(), batch.streams().to_vec());
                schedule.push(batch, now);
            }
            while let Some(start) = schedule.next(now) {
                let streams = sent(&start);
                for (_, other) in &flying {
                    prop_assert!(streams.keys().all(|stream| !other.contains_key(stream)), "a stream in two requests");
                }
                for (stream, times) in &streams {
                    prop_assert!(times.is_sorted());
                    let before = taken.get(stream).copied().unwrap_or(0);
                    prop_assert!(times[0] > before, "{stream}: {} after {before}", times[0]);
                }
                flying.push((start, streams));
            }
            prop_assert!(flying.len() <= REQUESTS_MAX);
            if let Some(trial) = schedule.next_trial(now) {
                let kind = choices.next().map_or(0, |choice| choice.1);
                schedule.trial_ended(trial.stream, &verdict(if kind == 13 { 0 } else { kind }, 1), now);
            }
            if !flying.is_empty() {
                let (index, kind) = choices.next().map_or((0, 0), |(index, kind)| (index.index(flying.len()), kind));
                let (start, streams) = flying.swap_remove(index);
                let verdict = verdict(kind, start.part.entries());
                if verdict == Verdict::Accepted {
                    for (stream, times) in streams {
                        taken.insert(stream, *times.last().unwrap());
                    }
                }
                let Start { request, batch, part, .. } = start;
                drop((batch, part));
                schedule.finished(request, verdict, Duration::from_millis(10), now);
            }
            let messages: Vec<_> = schedule.messages.drain(..).collect();
            for message in messages {
                match message {
                    FromOutput::Done { batch, refused } => {
                        ended += 1;
                        let known = batches.remove(&batch.generation());
                        prop_assert!(known.is_some(), "a batch ended twice");
                        prop_assert!(refused.is_sorted() && refused.windows(2).all(|pair| pair[0] != pair[1]));
                    }
                    // The reader begins anew at once; the simulated one has no more lines of it.
                    FromOutput::Taken(channel) => schedule.unparked(channel),
                }
            }
            if pushed.is_none() && schedule.is_idle() {
                break;
            }
        }
        prop_assert!(batches.is_empty(), "{ended} ended");
        prop_assert!(flying.is_empty());
        prop_assert!(schedule.in_flight.is_empty());
    }
}

/// Lines that went through, and requests that did not, of a batch of one container against something on the way that answers
/// `kind` to all requests of more than `bytes_max`. `quiet`: another container writes a line a second.
fn through_a_bottleneck(kind: u8, bytes_max: usize, quiet: bool) -> (usize, usize) {
    const LINES: usize = 20_000;
    let mut now = Instant::now();
    let mut schedule = schedule(now);
    let (mut line, mut taken, mut failed) = (0, 0, 0);
    schedule.push(batch(0, &vec![(0, LINES)], &mut line), now);
    for second in 1..120 {
        if quiet {
            schedule.push(batch(second, &vec![(1, 1)], &mut line), now);
        }
        for _ in 0..20 {
            now += Duration::from_millis(50);
            while let Some(Start { request, batch, part, .. }) = schedule.next(now) {
                let passes = part.encoded_bytes() <= bytes_max;
                taken += if passes { part.entries() as usize } else { 0 };
                failed += usize::from(!passes);
                drop((batch, part));
                let verdict = verdict(if passes { 0 } else { kind }, 1);
                schedule.finished(request, verdict, Duration::from_millis(10), now);
            }
            if let Some(trial) = schedule.next_trial(now) {
                schedule.trial_ended(trial.stream, &Verdict::Accepted, now);
            }
            if schedule.outage.probe_is_due(now) {
                schedule.reached(now);
            }
        }
    }
    let parked = schedule.messages.iter().filter(|message| matches!(message, FromOutput::Taken(_))).count();
    assert_eq!(parked, 0, "kind {kind}: a stream was parked for its size");
    (taken, failed)
}

#[test]
fn what_is_too_large_for_something_on_the_way_goes_in_parts_whatever_it_answers() {
    const BYTES_MAX: usize = 60_000;
    for kind in [6, 7, 8, 10] {
        assert_eq!(through_a_bottleneck(kind, usize::MAX, true), (20_000 + 119, 0));
        for (quiet, lines) in [(true, 20_000 + 119), (false, 20_000)] {
            let (taken, failed) = through_a_bottleneck(kind, BYTES_MAX, quiet);
            assert_eq!(taken, lines, "kind {kind}, quiet {quiet}");
            assert!(failed <= 40, "kind {kind}, quiet {quiet}: {failed} requests failed");
        }
    }
}

#[test]
fn a_stream_that_was_parked_begins_with_small_requests() {
    let now = Instant::now();
    let mut schedule = schedule(now);
    schedule.push(batch(0, &vec![(0, 1)], &mut 0), now);
    let start = schedule.next(now).unwrap();
    let request = start.request;
    drop(start);
    let refusal = || Verdict::StreamRefused(StreamRefusal { limit: StreamLimit::Streams, text: String::new() });
    schedule.finished(request, refusal(), Duration::ZERO, now);
    let mut now = now;
    while let Some(start) = {
        now += Duration::from_secs(2);
        schedule.next(now)
    } {
        let request = start.request;
        drop(start);
        schedule.finished(request, refusal(), Duration::ZERO, now);
    }
    now += Duration::from_secs(60);
    let trial = schedule.next_trial(now).unwrap();
    schedule.trial_ended(trial.stream, &Verdict::Accepted, now);
    schedule.unparked(channel(0));
    schedule.push(batch(1, &vec![(0, 5_000)], &mut 1), now);
    let first = schedule.next(now).unwrap();
    assert!(first.part.encoded_bytes() <= SLOW_BYTES_MIN, "{}", first.part.encoded_bytes());
}
