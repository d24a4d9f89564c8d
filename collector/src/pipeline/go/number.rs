//! Numbers as `strconv.FormatFloat(f, 'f', -1, 64)` writes and `strconv.ParseFloat` reads them, but for hexadecimal ones.

use std::{fmt, io::Write};

/// A number in plain decimal, as short as it can be, without an exponent.
pub struct Plain(pub f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() {
            return f.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" });
        }
        write!(f, "{}", self.0)
    }
}

/// Appends the number, see [`Plain`].
pub fn write(number: f64, to: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(to, "{}", Plain(number));
}

/// A number; `None` where it is none, or none that fits.
pub fn parse(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: f64 = text.parse().ok()?;
    let is_overflow = number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    (!is_overflow).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_and_short() {
        for (number, text) in [
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (-0.0, "-0"),
            (200.0, "200"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Plain(number).to_string(), text);
        }
    }

    #[test]
    fn what_does_not_fit_is_no_number() {
        for (text, number) in
            [("1.5", Some(1.5)), ("1e3", Some(1000.0)), ("inf", Some(f64::INFINITY)), ("1e999", None), ("1s", None)]
        {
            assert_eq!(parse(text.as_bytes()), number, "{text}");
        }
    }
}
