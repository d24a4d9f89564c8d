//! The functions of Alloy's library that configurations for logs use (Alloy, syntax/internal/stdlib).
//!
//! A text that depends on the environment can be joined, and be what `coalesce` begins with; what would have to look into it gives
//! [`Value::Unknown`].

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    evaluate::unknown,
    tree::Place,
    value::{Located, Piece, Text, Value},
};

/// Calls the function of this name, or its older one; `place` is that of the call.
pub fn call(name: &str, arguments: Vec<Located>, place: Place) -> Value {
    for argument in &arguments {
        // A reference may be in a list, and be joined to another.
        if let Value::Unknown(why) = &argument.value {
            return unknown(why.as_str());
        }
    }
    if matches!(name, "array.concat" | "concat") {
        return concat(arguments);
    }
    let mut arguments: Vec<Value> = arguments.into_iter().map(|argument| argument.value).collect();
    match (name, &mut arguments[..]) {
        ("sys.env" | "env", [Value::Text(name)]) => environment(name),
        ("coalesce", [..]) => coalesce(arguments),
        ("convert.nonsensitive" | "nonsensitive", [value]) => std::mem::replace(value, Value::Null),
        ("string.format" | "format", [Value::Text(pattern), values @ ..]) => match pattern.plain() {
            Some(pattern) => format(pattern, values),
            None => depends(name),
        },
        ("string.join" | "join", [Value::List(items), Value::Text(separator)]) => join(items, separator),
        ("file.path_join", [first, rest @ ..]) => path_join(first, rest),
        ("encoding.from_json" | "json_decode", [Value::Text(text)]) => {
            with(text, name, |text| match serde_json::from_str(text) {
                Ok(json) => from_json(json, place),
                Err(error) => unknown(format!("not valid JSON: {error}")),
            })
        }
        ("encoding.from_base64" | "base64_decode", [Value::Text(text)]) => {
            with(text, name, |text| match STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(text) => Value::text(text),
                None => unknown("not a text in base64"),
            })
        }
        ("encoding.to_base64", [Value::Text(text)]) => with(text, name, |text| Value::text(STANDARD.encode(text))),
        ("string.to_lower" | "to_lower", [Value::Text(text)]) => {
            with(text, name, |text| Value::text(text.to_lowercase()))
        }
        ("string.to_upper" | "to_upper", [Value::Text(text)]) => {
            with(text, name, |text| Value::text(text.to_uppercase()))
        }
        ("string.trim_space" | "trim_space", [Value::Text(text)]) => with(text, name, |text| Value::text(text.trim())),
        (_, [Value::Text(text), Value::Text(second)]) => match (text.plain(), second.plain()) {
            (Some(text), Some(second)) => of_two(name, text, second, place),
            _ => depends(name),
        },
        ("string.replace" | "replace", [Value::Text(text), Value::Text(old), Value::Text(new)]) => {
            match (text.plain(), old.plain(), new.plain()) {
                (Some(text), Some(old), Some(new)) => Value::text(text.replace(old, new)),
                _ => depends(name),
            }
        }
        _ => unknown(format!("{name}() with these arguments is not known here")),
    }
}

fn of_two(name: &str, text: &str, second: &str, place: Place) -> Value {
    match name {
        "string.split" | "split" => {
            let items = text.split(second).map(|item| Located { place, value: Value::text(item) });
            Value::List(items.collect())
        }
        "string.trim_prefix" | "trim_prefix" => Value::text(text.strip_prefix(second).unwrap_or(text)),
        "string.trim_suffix" | "trim_suffix" => Value::text(text.strip_suffix(second).unwrap_or(text)),
        "string.trim" | "trim" => Value::text(text.trim_matches(|c| second.contains(c))),
        _ => unknown(format!("{name}() with these arguments is not known here")),
    }
}

fn with(text: &Text, name: &str, function: impl FnOnce(&str) -> Value) -> Value {
    text.plain().map_or_else(|| depends(name), function)
}

fn depends(name: &str) -> Value {
    unknown(format!("{name}() of an environment variable: Pilcrow takes variables as they are; set one to the result"))
}

fn environment(name: &Text) -> Value {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match name.plain() {
        Some(name) if is_name(name) => Value::Text(Text::piece(Piece::Variable { name: name.into(), default: None })),
        _ => unknown("Pilcrow takes environment variables whose names have letters, digits and _ only"),
    }
}

/// The first that is something; a variable may be empty when Alloy runs, so that what follows becomes its default.
fn coalesce(arguments: Vec<Value>) -> Value {
    let last = arguments.len().saturating_sub(1);
    let mut rest = arguments.into_iter().enumerate().skip_while(|(at, value)| value.is_zero() && *at < last);
    let Some((_, first)) = rest.next() else { return Value::Null };
    let Value::Text(text) = &first else { return first };
    let variable = match text.pieces() {
        [Piece::Variable { name, default: None }] => name.clone(),
        _ => return first,
    };
    let default = match rest.find(|(at, value)| !value.is_zero() || *at == last) {
        None => return first,
        Some((_, Value::Text(default))) => default,
        Some(_) => return unknown(format!("${{{variable}}} or else something that is no string")),
    };
    match default.pieces() {
        // The machine's name is the only thing that a variable for it can stand for.
        [Piece::Hostname] if variable == "HOSTNAME" || variable == "NODE_NAME" => Value::Text(default),
        _ => match default.plain().filter(|text| !text.contains(['}', '$'])) {
            Some(text) => {
                let default = Some(text.to_owned());
                Value::Text(Text::piece(Piece::Variable { name: variable, default }))
            }
            None => unknown(format!("the default of ${{{variable}}} is not a plain text; set the variable")),
        },
    }
}

fn concat(arguments: Vec<Located>) -> Value {
    let mut all = Vec::new();
    for Located { place, value } in arguments {
        match value {
            Value::List(items) => all.extend(items),
            // Targets of a component: the list is looked through when targets are followed.
            Value::Reference(_) => all.push(Located { place, value }),
            Value::Null => {}
            other => return unknown(format!("concat of {}", other.description())),
        }
    }
    Value::List(all)
}

fn join(items: &[Located], separator: &Text) -> Value {
    let mut joined = Text::default();
    for (at, item) in items.iter().enumerate() {
        let Value::Text(text) = &item.value else {
            return unknown(format!("join of {}", item.value.description()));
        };
        if at > 0 {
            joined.append(separator.clone());
        }
        joined.append(text.clone());
    }
    Value::Text(joined)
}

fn path_join(first: &Value, rest: &[Value]) -> Value {
    let mut path = std::path::PathBuf::new();
    for part in std::iter::once(first).chain(rest) {
        match part.plain() {
            Some(part) => path.push(part.trim_start_matches(if path.as_os_str().is_empty() { "\0" } else { "/" })),
            None => return depends("file.path_join"),
        }
    }
    Value::text(path.to_string_lossy().into_owned())
}

/// Go's verbs, as far as texts and whole numbers need them.
fn format(pattern: &str, values: &[Value]) -> Value {
    let (mut text, mut values) = (Text::default(), values.iter());
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        text.push(Piece::Plain(rest[..at].to_owned()));
        let Some(verb) = rest[at + 1..].chars().next() else { return unknown("a format that ends in %") };
        rest = &rest[at + 1 + verb.len_utf8()..];
        if verb == '%' {
            text.push(Piece::Plain("%".into()));
            continue;
        }
        match (verb, values.next()) {
            ('s' | 'v', Some(Value::Text(value))) => text.append(value.clone()),
            ('d' | 'v', Some(Value::Number(number))) => text.push(Piece::Plain(number.to_string())),
            ('t' | 'v', Some(Value::Bool(value))) => text.push(Piece::Plain(value.to_string())),
            ('q', Some(Value::Text(value))) => match value.plain() {
                Some(value) => text.push(Piece::Plain(format!("{value:?}"))),
                None => return depends("string.format"),
            },
            _ => return unknown(format!("string.format with %{verb} and this value")),
        }
    }
    text.push(Piece::Plain(rest.to_owned()));
    Value::Text(text)
}

fn from_json(json: serde_json::Value, place: Place) -> Value {
    let located = |json| Located { place, value: from_json(json, place) };
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::Null, Value::Number),
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(located).collect()),
        serde_json::Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, located(value))).collect())
        }
    }
}
