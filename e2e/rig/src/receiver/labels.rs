//! A stream's label set in LogQL's form, `{app="nginx", stream="stderr"}`, read more strictly than Loki does.
//!
//! Names sorted and unique, values in double quotes as Go quotes them, Loki's default limits (pkg/validation/limits.go in
//! grafana/loki): 15 names, 1024 bytes a name, 2048 bytes a value.

const NAMES_MAX: usize = 15;
const NAME_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 2048;

/// Name and value pairs, sorted by name.
pub type Labels = Vec<(String, String)>;

/// Parses a label set; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Labels, String> {
    parse_set(text).map_err(|reason| format!("labels {text}: {reason}"))
}

fn parse_set(text: &str) -> Result<Labels, String> {
    let mut rest = text.strip_prefix('{').ok_or("no { at the beginning")?;
    let mut labels = Labels::new();
    loop {
        let (name, after) = parse_name(rest.trim_start_matches(' '))?;
        let after = after.strip_prefix('=').ok_or_else(|| format!("no = after {name}"))?;
        let (value, after) = parse_value(after).map_err(|reason| format!("value of {name}: {reason}"))?;
        if let Some((last, _)) = labels.last()
            && last.as_str() >= name
        {
            return Err(format!("{name} after {last}: names must be sorted and unique"));
        }
        labels.push((name.to_owned(), value));
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after == "}" => break,
            None => return Err(format!("neither , nor a final }} at {after:?}")),
        }
    }
    if labels.len() > NAMES_MAX {
        return Err(format!("{} names, Loki's limit is {NAMES_MAX}", labels.len()));
    }
    Ok(labels)
}

/// Whether a text is a name as Prometheus has it.
pub(super) fn is_name(text: &str) -> bool {
    matches!(parse_name(text), Ok((_, "")))
}

/// A name as Prometheus has it, `[a-zA-Z_][a-zA-Z0-9_]*`, and what follows.
fn parse_name(text: &str) -> Result<(&str, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("no label name at {text:?}"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name of {} bytes", name.len()));
    }
    Ok((name, rest))
}

/// A string as Go's strconv.Quote writes it, and what follows.
fn parse_value(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.strip_prefix('"').ok_or("no quotation mark")?.chars();
    let mut value = Vec::new();
    loop {
        match chars.next().ok_or("no closing quotation mark")? {
            '"' => break,
            '\\' => parse_escape(&mut chars, &mut value)?,
            c if c.is_control() => return Err(format!("control character {c:?} is not escaped")),
            c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    let value = String::from_utf8(value).map_err(|_| "escapes give invalid UTF-8")?;
    if value.is_empty() {
        return Err("empty: such a label does not exist".into());
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("{} bytes", value.len()));
    }
    Ok((value, chars.as_str()))
}

fn parse_escape(chars: &mut std::str::Chars<'_>, value: &mut Vec<u8>) -> Result<(), String> {
    let kind = chars.next().ok_or("ends in a backslash")?;
    let mut number = |digits: usize, radix: u32| -> Result<u32, String> {
        (0..digits).try_fold(0u32, |number, _| {
            let digit = chars.next().and_then(|c| c.to_digit(radix)).ok_or("bad number in an escape")?;
            Ok(number << radix.trailing_zeros() | digit)
        })
    };
    let code = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        '\\' | '"' => u32::from(kind),
        'x' => {
            value.push(number(2, 16)? as u8);
            return Ok(());
        }
        'u' => number(4, 16)?,
        'U' => number(8, 16)?,
        _ => return Err(format!("unknown escape \\{kind}")),
    };
    let c = char::from_u32(code).ok_or("an escape that is no character")?;
    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_quoted_labels_are_read() {
        let labels = parse(r#"{app="nginx", job="default/nginx",pod="a\"b\\c\n\u00e4\xc3\xa4ä"}"#).unwrap();
        let pairs: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("app", "nginx"), ("job", "default/nginx"), ("pod", "a\"b\\c\näää")]);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "{}",
            "{a=\"b\"",
            "a=\"b\"",
            "{a=\"b\"} ",
            "{a=\"b\",}",
            "{b=\"1\", a=\"2\"}",
            "{a=\"1\", a=\"2\"}",
            "{a=\"\"}",
            "{a=`b`}",
            "{a='b'}",
            "{a=b}",
            "{1a=\"b\"}",
            "{a-b=\"c\"}",
            "{ä=\"c\"}",
            "{a =\"c\"}",
            "{a=\"b\nc\"}",
            "{a=\"\\q\"}",
            "{a=\"\\ud800\"}",
            "{a=\"\\xff\"}",
            "{a=\"\\",
            "{a=\"b\" b=\"c\"}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loki_s_limits_hold() {
        let set = |n: usize| {
            let labels: Vec<_> = (0..n).map(|i| format!("a{i:02}=\"x\"")).collect();
            format!("{{{}}}", labels.join(", "))
        };
        assert!(parse(&set(15)).is_ok());
        assert!(parse(&set(16)).is_err());
        assert!(parse(&format!("{{a=\"{}\"}}", "x".repeat(2048))).is_ok());
        assert!(parse(&format!("{{a=\"{}\"}}", "x".repeat(2049))).is_err());
        assert!(parse(&format!("{{{}=\"x\"}}", "a".repeat(1025))).is_err());
    }
}
