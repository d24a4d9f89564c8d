//! Expressions of `json`: the part of JMESPath that is used there, `a`, `a.b`, `a[0].b`, `"a-b"`.

/// Steps into a value.
pub type Path = Vec<Step>;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Key(String),
    /// Into an array; from its end where negative.
    Index(i64),
}

/// # Errors
/// It is none, or uses what is not supported.
pub fn parse(text: &str) -> Result<Path, String> {
    let (mut path, mut rest) = (Vec::new(), text.trim());
    loop {
        let (step, after) =
            step(rest, path.is_empty()).map_err(|error| format!("{error} in the expression {text:?}"))?;
        path.extend(step);
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(path);
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after.trim_start();
            if rest.starts_with('[') || rest.is_empty() {
                return Err(format!("a name is missing after a point in the expression {text:?}"));
            }
        } else if !rest.starts_with('[') {
            return Err(unsupported(rest, text));
        }
    }
}

/// One step, and what follows it.
fn step(text: &str, is_first: bool) -> Result<(Option<Step>, &str), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let (index, after) = inner.split_once(']').ok_or("[ without ]")?;
        let index = index.trim().parse().map_err(|_| format!("[{index}] is not supported (only a[0], a[-1])"))?;
        return Ok((Some(Step::Index(index)), after));
    }
    if let Some(inner) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = inner.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let end = end.ok_or("a quote without its end")?;
        let mut name = Vec::new();
        super::text::decode_string(&text.as_bytes()[..end + 2], &mut name);
        let name = String::from_utf8(name).map_err(|_| "a quoted name that is no text")?;
        return Ok((Some(Step::Key(name)), &inner[end + 1..]));
    }
    if let (Some(after), true) = (text.strip_prefix('@'), is_first) {
        return Ok((None, after));
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let name = &text[..end];
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(if text.is_empty() { "a name is missing".into() } else { unsupported_start(text) });
    }
    if text[end..].starts_with('(') {
        return Err(format!("the function {name}() is not supported"));
    }
    Ok((Some(Step::Key(name.to_owned())), &text[end..]))
}

fn unsupported_start(text: &str) -> String {
    let shown: String = text.chars().take(12).collect();
    format!("{shown:?} is not supported (only a, a.b, a[0] and quoted names)")
}

fn unsupported(rest: &str, text: &str) -> String {
    if rest.starts_with('-') {
        return format!("a name with - needs quotes: '\"{text}\"'");
    }
    format!("{} in the expression {text:?}", unsupported_start(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_names_and_indexes() {
        let key = |name: &str| Step::Key(name.into());
        for (text, path) in [
            ("a", vec![key("a")]),
            ("a.b", vec![key("a"), key("b")]),
            ("a[0].b[-1]", vec![key("a"), Step::Index(0), key("b"), Step::Index(-1)]),
            (r#""user-agent".x"#, vec![key("user-agent"), key("x")]),
            (r#"a."b.\"c""#, vec![key("a"), key("b.\"c")]),
            ("@.a", vec![key("a")]),
        ] {
            assert_eq!(parse(text), Ok(path), "{text}");
        }
    }

    #[test]
    fn what_else_jmespath_has_is_refused_by_name() {
        for (text, error) in [
            ("user-agent", "a name with - needs quotes: '\"user-agent\"'"),
            ("length(a)", "the function length() is not supported"),
            ("a[*].b", "[*] is not supported"),
            ("a || b", "\"|| b\" is not supported"),
            ("a.", "a name is missing after a point"),
            ("", "a name is missing"),
            ("1a", "\"1a\" is not supported"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
