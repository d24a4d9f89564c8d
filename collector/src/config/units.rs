//! Sizes and durations as people write them: `1MiB`, `500ms`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written `64KiB`, `1MiB`, `10MB` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Names of byte units and what they stand for: IEC ones by 1024, SI ones by 1000, largest first for [`fmt::Display`].
const BYTE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a size such as 64KiB, 1MiB, 10MB or a number of bytes, found {text:?}");
        let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, unit) = text.split_at(digits);
        let (whole, tenths) = match number.split_once('.') {
            None => (number, 0),
            Some((whole, tenth)) if tenth.len() == 1 => (whole, tenth.parse().map_err(|_| expected())?),
            Some(_) => return Err(expected()),
        };
        let whole: u64 = whole.parse().map_err(|_| expected())?;
        let unit = match unit.trim_start() {
            "" | "B" | "b" if number.contains('.') => return Err(expected()),
            "" => 1,
            name => BYTE_UNITS
                .iter()
                .find_map(|(known, bytes)| known.eq_ignore_ascii_case(name).then_some(*bytes))
                .ok_or_else(expected)?,
        };
        let bytes = (u128::from(whole) * 10 + tenths) * u128::from(unit) / 10;
        u64::try_from(bytes).map(Self).map_err(|_| format!("{text} is more bytes than fit into 64 bits"))
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that needs at most one decimal: what is printed parses to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = u128::from(self.0) * 10;
        let fits = |bytes: u64| self.0 >= bytes && tenths.is_multiple_of(bytes.into());
        match BYTE_UNITS.iter().find(|(_, bytes)| fits(*bytes)) {
            Some(("B", _)) | None => write!(f, "{}", self.0),
            Some((name, bytes)) => match tenths / u128::from(*bytes) {
                tenths if tenths.is_multiple_of(10) => write!(f, "{}{name}", tenths / 10),
                tenths => write!(f, "{}.{}{name}", tenths / 10, tenths % 10),
            },
        }
    }
}

/// Bytes per second, written like a [`ByteSize`], or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    PerSecond(ByteSize),
    Unlimited,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let size = text.strip_suffix("/s").unwrap_or(text).parse().map(Self::PerSecond);
        size.map_err(|_| format!("expected a size per second such as 2.5MiB, or unlimited, found {text:?}"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(size) => size.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// A duration, written `500ms`, `10s`, `5m`, `1h` or `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Names of time units in milliseconds, in the order in which a duration names them.
const TIME_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl HumanDuration {
    pub const fn from_millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    pub const fn from_secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a duration such as 500ms, 10s, 5m, 1h or 1m30s, found {text:?}");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (mut rest, mut millis, mut units) = (text, 0u64, TIME_UNITS.iter());
        while !rest.is_empty() || millis == 0 && units.len() == TIME_UNITS.len() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let number: u64 = number.parse().map_err(|_| expected())?;
            // Searching from the last unit on refuses `30s1m` and `1s1s`.
            let (_, unit_millis) = units.find(|(name, _)| *name == unit).ok_or_else(expected)?;
            millis = number.checked_mul(*unit_millis).and_then(|n| millis.checked_add(n)).ok_or_else(expected)?;
            rest = tail;
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (name, unit_millis) in TIME_UNITS {
            if millis >= unit_millis {
                write!(f, "{}{name}", millis / unit_millis)?;
                millis %= unit_millis;
            }
        }
        Ok(())
    }
}

/// Text in YAML and JSON; a plain number of bytes is text like any other to the configuration's decoder.
macro_rules! serde_as_text {
    ($type:ty, $what:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

serde_as_text!(ByteSize, "a size such as 1MiB");
serde_as_text!(Rate, "a size per second such as 2.5MiB, or unlimited");
serde_as_text!(HumanDuration, "a duration such as 10s");

pub(super) use serde_as_text;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_iec_and_si_units_or_none() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("1MiB", 1 << 20),
            ("1 MiB", 1 << 20),
            ("10MB", 10_000_000),
            ("2GiB", 2 << 30),
            ("12B", 12),
            ("2.5MiB", 2_621_440),
            ("1.5MB", 1_500_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.25MiB",
            "1.5",
            "1.MiB",
            ".5MiB",
            "1Mib/s",
            "1 potato",
            "0x10",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_sizes_per_second_or_unlimited() {
        let rate = Rate::PerSecond(ByteSize(2_621_440));
        assert_eq!(("2.5MiB".parse(), "2.5MiB/s".parse(), "2621440".parse()), (Ok(rate), Ok(rate), Ok(rate)));
        assert_eq!(rate.to_string(), "2.5MiB");
        assert_eq!("unlimited".parse(), Ok(Rate::Unlimited));
        assert!("fast".parse::<Rate>().is_err());
    }

    #[test]
    fn durations_are_one_or_more_numbers_with_falling_units() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "10", "s", "1.5s", "-1s", "30s1m", "1s1s", "1 s", "1w", "99999999999999999999s", "99999999999999999d"]
        {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_unit_names_the_forms_that_are_known() {
        assert_eq!(
            "10 sec".parse::<HumanDuration>().unwrap_err(),
            "expected a duration such as 500ms, 10s, 5m, 1h or 1m30s, found \"10 sec\""
        );
        assert_eq!(
            "1M".parse::<ByteSize>().unwrap_err(),
            "expected a size such as 64KiB, 1MiB, 10MB or a number of bytes, found \"1M\""
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_value(bytes in any::<u64>(), millis in 0..u64::MAX / 2, shift in 0..40u32) {
            for bytes in [bytes, bytes >> shift << shift] {
                prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
            }
            let duration = HumanDuration::from_millis(millis);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
