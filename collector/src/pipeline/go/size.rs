//! Sizes as Promtail reads them: the units count by 1024, and their case does not matter. Beside Promtail's `8KB` and `8k` also
//! `8KiB`, as Alloy writes them.

/// The size in bytes; `None` where it is none.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" | "byte" => 0,
        "k" | "kb" | "kib" | "kilo" | "kilobyte" | "kilobytes" => 1,
        "m" | "mb" | "mib" | "mega" | "megabyte" | "megabytes" => 2,
        "g" | "gb" | "gib" | "giga" | "gigabyte" | "gigabytes" => 3,
        "t" | "tb" | "tib" | "tera" | "terabyte" | "terabytes" => 4,
        _ => return None,
    };
    number.checked_mul(1 << (10 * power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_count_by_1024() {
        for (text, bytes) in [
            ("8192", Some(8192)),
            ("8KB", Some(8192)),
            ("8 kb", Some(8192)),
            ("8KiB", Some(8192)),
            ("1m", Some(1 << 20)),
            ("b", None),
            ("1.5KB", None),
            ("-1", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }
}
