//! `logfmt`: values of `key=value` pairs are extracted, as Go's go-logfmt reads them.

use std::{collections::BTreeMap, ops::ControlFlow};

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::{Slot, Value},
    go::text::lossy,
    pattern::Pattern,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    mapping: BTreeMap<String, Option<String>>,
    source: Option<String>,
    /// Alloy's: keys that match are extracted under their own names.
    regex: Option<String>,
}

struct Logfmt {
    source: Option<Slot>,
    /// Keys with the slots that they go to.
    keys: Vec<(Vec<u8>, Slot)>,
    regex: Option<Pattern>,
    scratch: Vec<u8>,
    value: Vec<u8>,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let source = compiler.source(settings.source.as_deref())?;
    let regex = match settings.regex.filter(|regex| !regex.is_empty()) {
        Some(regex) => Some(compiler.pattern("regex", &regex)?),
        None => None,
    };
    if settings.mapping.is_empty() && regex.is_none() {
        return Err(compiler.error("", "mapping is missing"));
    }
    let mut keys = Vec::new();
    for (name, key) in settings.mapping {
        let key = key.filter(|key| !key.is_empty()).unwrap_or_else(|| name.clone());
        keys.push((key.into_bytes(), compiler.slot(&name)));
    }
    Ok(vec![Box::new(Logfmt { source, keys, regex, scratch: Vec::new(), value: Vec::new() })])
}

impl Stage for Logfmt {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let Self { keys, regex, scratch, value, .. } = self;
        let input = match self.source {
            None => &entry.line[..],
            Some(source) => {
                let Some(text) = entry.extracted.some_text(source) else { return Step::Next };
                scratch.clear();
                scratch.extend_from_slice(text);
                scratch
            }
        };
        for record in input.split(|byte| *byte == b'\n') {
            let mut pairs = Pairs { rest: record.strip_suffix(b"\r").unwrap_or(record) };
            loop {
                match pairs.next(value) {
                    Next::End => break,
                    // What was read before it stays.
                    Next::Error => return Step::Next,
                    Next::Pair(key) => {
                        for (_, slot) in keys.iter().filter(|(wanted, _)| wanted == key) {
                            entry.extracted.set_text(*slot, value);
                        }
                        let name = std::str::from_utf8(key).ok();
                        if let (Some(regex), Some(name)) = (regex.as_ref(), name)
                            && regex.is_match(key)
                        {
                            entry.extracted.set_named(context.slot_of(name), name, Value::Text(value));
                        }
                    }
                }
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(self.source, |_, name| {
            let is_there = |slot: &Slot| seen.entry.extracted.contains(*slot);
            match self.keys.iter().any(|(_, slot)| is_there(slot)) {
                true => "the values are those that were there".into(),
                false => format!("{name} has none of these keys"),
            }
        })
    }
}

/// Calls `pair` with the keys and values of a record until it has enough, or the record ends or is none. `scratch`: for values.
pub fn each_pair(record: &[u8], scratch: &mut Vec<u8>, mut pair: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
    let mut pairs = Pairs { rest: record };
    while let Next::Pair(key) = pairs.next(scratch) {
        if pair(key, scratch).is_break() {
            return;
        }
    }
}

/// What is left of a record.
struct Pairs<'a> {
    rest: &'a [u8],
}

enum Next<'a> {
    Pair(&'a [u8]),
    End,
    Error,
}

impl<'a> Pairs<'a> {
    /// The next key; its value goes to `value`, empty where there is none.
    fn next(&mut self, value: &mut Vec<u8>) -> Next<'a> {
        value.clear();
        let Some(begin) = self.rest.iter().position(|byte| *byte > b' ') else { return Next::End };
        let rest = &self.rest[begin..];
        let end = rest.iter().position(|byte| *byte <= b' ' || matches!(byte, b'=' | b'"')).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        // Go finds the replacement character in the key, whether it was written so or stands for no UTF-8.
        let is_bad = !key.is_ascii() && String::from_utf8_lossy(key).contains(char::REPLACEMENT_CHARACTER);
        match after.first() {
            Some(b'"') => return Next::Error,
            Some(b'=') if key.is_empty() => return Next::Error,
            _ if is_bad => return Next::Error,
            Some(b'=') => {}
            _ => {
                self.rest = after;
                return Next::Pair(key);
            }
        }
        let after = &after[1..];
        if let Some(quoted) = after.strip_prefix(b"\"") {
            return match quoted_value(quoted, value) {
                Some(rest) => {
                    self.rest = rest;
                    Next::Pair(key)
                }
                None => Next::Error,
            };
        }
        let end = after.iter().position(|byte| *byte <= b' ' || matches!(byte, b'=' | b'"')).unwrap_or(after.len());
        if matches!(after.get(end), Some(b'=' | b'"')) {
            return Next::Error;
        }
        value.extend_from_slice(&after[..end]);
        self.rest = &after[end..];
        Next::Pair(key)
    }
}

/// A value after its opening quote; what follows it.
fn quoted_value<'a>(text: &'a [u8], value: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (mut end, mut has_escape) = (0, false);
    loop {
        end += memchr::memchr2(b'"', b'\\', text.get(end..)?)?;
        if text[end] == b'"' {
            break;
        }
        has_escape = true;
        end += 2;
    }
    if !has_escape {
        value.extend_from_slice(&text[..end]);
        return Some(&text[end + 1..]);
    }
    let mut rest = &text[..end];
    while let Some(byte) = rest.first() {
        match byte {
            b'\\' => {
                rest = &rest[1..];
                rest = unescape(rest, value)?;
            }
            0..b' ' => return None,
            _ => {
                let plain = rest.iter().position(|byte| *byte < b' ' || *byte == b'\\').unwrap_or(rest.len());
                value.extend_from_slice(lossy(&rest[..plain]).as_bytes());
                rest = &rest[plain..];
            }
        }
    }
    Some(&text[end + 1..])
}

/// After a backslash.
fn unescape<'a>(text: &'a [u8], value: &mut Vec<u8>) -> Option<&'a [u8]> {
    let code = |text: &[u8]| {
        let digits = std::str::from_utf8(text.get(..4)?).ok()?;
        u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let (byte, rest) = text.split_first()?;
    value.push(match byte {
        b'"' | b'\\' | b'/' | b'\'' => *byte,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let first = code(rest)?;
            let mut rest = &rest[4..];
            let second = rest.strip_prefix(b"\\u").and_then(code).filter(|code| (0xDC00..0xE000).contains(code));
            let mut character = char::from_u32(first);
            if let (0xD800..0xDC00, Some(second)) = (first, second) {
                character = char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
                rest = &rest[6..];
            }
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    });
    Some(rest)
}
