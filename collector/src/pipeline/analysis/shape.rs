//! What values a label is likely to have, by its name and by the part of a regular expression that it is found with.

/// Named groups of an expression with what stands in them.
pub fn groups(expression: &str) -> impl Iterator<Item = (&str, &str)> {
    let starts = expression.match_indices("(?P<").map(|(at, open)| at + open.len());
    starts.chain(expression.match_indices("(?<").map(|(at, open)| at + open.len())).filter_map(|start| {
        let (name, rest) = expression[start..].split_once('>')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_name.then_some((name, &rest[..closing(rest)?]))
    })
}

/// Where the bracket closes that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut escaped, mut in_class) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Names of what has few values, whatever it is found with.
const FEW: [&str; 14] = [
    "level",
    "lvl",
    "severity",
    "status",
    "code",
    "status_code",
    "method",
    "stream",
    "logger",
    "component",
    "app",
    "env",
    "type",
    "verb",
];

/// Names of what has many values, alone or as the last word of a name.
const MANY: [&str; 40] = [
    "id",
    "ids",
    "uid",
    "uuid",
    "guid",
    "trace",
    "traceid",
    "span",
    "spanid",
    "requestid",
    "reqid",
    "sessionid",
    "session",
    "token",
    "hash",
    "sha",
    "ip",
    "addr",
    "address",
    "url",
    "uri",
    "path",
    "query",
    "email",
    "useragent",
    "timestamp",
    "ts",
    "time",
    "datetime",
    "date",
    "duration",
    "latency",
    "elapsed",
    "bytes",
    "size",
    "length",
    "msg",
    "message",
    "pid",
    "port",
];

/// Whether a name tells that there are many values.
pub fn has_many(name: &str) -> bool {
    let words = words(name);
    let last = words.rsplit('_').next().unwrap_or(&words);
    MANY.contains(&last)
}

/// Whether a name tells that there are few values.
pub fn has_few(name: &str) -> bool {
    let words = words(name);
    FEW.iter().any(|few| words == *few || words.ends_with(&format!("_{few}")))
}

/// `traceId`, `trace-id` and `trace.id` as `trace_id`.
fn words(name: &str) -> String {
    let mut words = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_lower {
            words.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        words.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    words
}

/// Whether a part of an expression matches any number of digits, or of characters of almost any kind.
pub fn is_wide(part: &str) -> bool {
    let repeated = |at: usize| {
        let rest = &part[at..];
        let counted = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        // `{36}` of hexadecimal digits is an id.
        let is_long =
            |count: &str| count.split(',').filter_map(|count| count.parse::<u32>().ok()).any(|count| count >= 8);
        rest.starts_with(['+', '*']) || counted.is_some_and(|(count, _)| is_long(count) || count.ends_with(','))
    };
    let wide = [r"\d", r"\S", "[0-9]", "[a-f0-9]", "[0-9a-f]", "[0-9a-fA-F]", "[A-Fa-f0-9]"];
    let classes = wide.iter().flat_map(|class| part.match_indices(class).map(|(at, class)| at + class.len()));
    let negated = part.match_indices("[^").filter_map(|(at, _)| Some(at + 4 + part.get(at + 3..)?.find(']')?));
    let dots = part.match_indices('.').map(|(at, _)| at).filter(|at| !part[..*at].ends_with('\\')).map(|at| at + 1);
    classes.chain(negated).chain(dots).any(repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_with_what_stands_in_them() {
        let found: Vec<_> = groups(r"^(?P<ip>[\d.)]+) (\d) (?P<a>(x|y)\)) (?<b>.)$").collect();
        assert_eq!(found, [("ip", r"[\d.)]+"), ("a", r"(x|y)\)"), ("b", ".")]);
    }

    #[test]
    fn what_matches_any_number_of_almost_anything_is_wide() {
        for part in [r"\d+", r"\S+", ".*", ".+?", r"[^ ]+", "[0-9a-f]{32}", "[a-f0-9]{8,}", r"\d{10}", "x.*"] {
            assert!(is_wide(part), "{part}");
        }
        for part in [r"\w+", r"\d{3}", r"\d\d", "GET|POST", "[A-Z]+", ".", r"\.+", "", "[^"] {
            assert!(!is_wide(part), "{part}");
        }
    }

    #[test]
    fn names_tell_of_many_or_few_values() {
        for name in ["trace_id", "traceId", "id", "x-request-id", "client_ip", "url", "user.email"] {
            assert!(has_many(name), "{name}");
        }
        for name in ["level", "idle", "grid", "method", "app", "path_prefix"] {
            assert!(!has_many(name), "{name}");
        }
        assert!(has_few("level") && has_few("http_status") && !has_few("trace_id"));
    }
}
