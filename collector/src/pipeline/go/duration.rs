//! Durations as `time.ParseDuration` reads them: `1h30m`, `-1.5s`, `300us`.

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// The duration in nanoseconds; `None` where it is none, or none that fits.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, tail) = rest.split_at(whole);
        let fraction =
            tail.strip_prefix('.').map(|tail| tail.split_at(tail.bytes().take_while(u8::is_ascii_digit).count()));
        let (fraction, tail) = fraction.unwrap_or(("", tail));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_bytes = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_bytes);
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let number: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // The units are whole numbers below 2^53.
        let mut part = number.checked_mul(*nanoseconds as u64)?;
        if !fraction.is_empty() {
            let digits: f64 = format!("0.{fraction}").parse().ok()?;
            part = part.checked_add((digits * nanoseconds) as u64)?;
        }
        total = total.checked_add(part)?;
        rest = tail;
    }
    let total = i64::try_from(total).ok()?;
    Some(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        for (text, nanoseconds) in [
            ("3s", Some(3_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("0.5ms", Some(500_000)),
            (".5s", Some(500_000_000)),
            ("-1.5h", Some(-5_400_000_000_000)),
            ("0", Some(0)),
            ("1m1m", Some(120_000_000_000)),
            ("2µs", Some(2_000)),
            ("", None),
            ("3", None),
            ("1d", None),
            ("s", None),
            ("1 s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(parse(text), nanoseconds, "{text}");
        }
    }
}
