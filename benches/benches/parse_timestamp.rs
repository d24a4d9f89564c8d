//! RFC 3339 to nanoseconds: with the second of the timestamp before, eight digits at a time, one byte at a time.
//!
//! `cargo bench -p benches --bench parse_timestamp`

use std::hint::black_box;

use collector::decode::{Timestamps, parse_rfc3339};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The same in the plain way: a number at a time, a byte at a time.
fn byte_by_byte(bytes: &[u8]) -> Option<(i64, usize)> {
    let number = |from: usize, to: usize| {
        bytes.get(from..to)?.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if *bytes.get(at)? != byte {
            return None;
        }
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if *bytes.get(at)? == b'.' {
        let mut unit = 100_000_000;
        at += 1;
        while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
            nanos += i64::from(digit - b'0') * unit;
            unit /= 10;
            at += 1;
        }
    }
    let offset_seconds = match bytes.get(at)? {
        b'Z' => {
            at += 1;
            0
        }
        sign => {
            let seconds = number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60;
            at += 6;
            if *sign == b'-' { -seconds } else { seconds }
        }
    };
    let from_march = (month + 9) % 12;
    let year = year - i64::from(month <= 2);
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset_seconds;
    Some((seconds * 1_000_000_000 + nanos, at))
}

fn timestamps(c: &mut Criterion) {
    let mut group = c.benchmark_group("timestamp");
    for (name, text) in [
        ("nine digits", "2026-11-22T11:09:06.123456789Z stdout F text"),
        ("eight digits", "2026-11-22T11:09:06.12345678Z stdout F text"),
        ("offset", "2026-11-22T16:39:06.123456789+05:30 stdout F text"),
    ] {
        let text = text.as_bytes();
        assert_eq!(parse_rfc3339(text), byte_by_byte(text));
        let len = parse_rfc3339(text).map_or(0, |(_, len)| len);
        group.throughput(Throughput::Bytes(len as u64));
        let mut timestamps = Timestamps::default();
        group.bench_function(BenchmarkId::new("same second", name), |b| b.iter(|| timestamps.parse(black_box(text))));
        group.bench_function(BenchmarkId::new("parse_rfc3339", name), |b| b.iter(|| parse_rfc3339(black_box(text))));
        group.bench_function(BenchmarkId::new("byte by byte", name), |b| b.iter(|| byte_by_byte(black_box(text))));
    }
    group.finish();
}

criterion_group!(benches, timestamps);
criterion_main!(benches);
