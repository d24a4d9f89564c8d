//! `printf` of templates: its format, compiled, and what it prints.

use std::io::Write;

use super::{Failed, Value, functions::Arguments};
use crate::pipeline::go::text::{lossy, quoted};

/// A piece of printf's format.
#[derive(Debug)]
pub enum Piece {
    Text(String),
    Verb { verb: char, left: bool, zeros: bool, width: usize },
}

/// # Errors
/// A verb that is not supported, by its name.
pub fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), format);
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let flags = after.len() - after.trim_start_matches(['-', '0']).len();
        let digits = after[flags..].bytes().take_while(u8::is_ascii_digit).count();
        let verb = after[flags + digits..].chars().next();
        let Some(verb @ ('s' | 'v' | 'd' | 'q')) = verb else {
            let shown: String = after.chars().take(flags + digits + 1).collect();
            return Err(format!("%{shown} of printf is not supported; %s, %v, %d and %q are"));
        };
        let width: usize = if digits == 0 { 0 } else { after[flags..flags + digits].parse().unwrap_or(usize::MAX) };
        if width > 1000 {
            return Err(format!("a width of {width} in printf is not supported"));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        let (left, zeros) = (after[..flags].contains('-'), after[..flags].contains('0'));
        pieces.push(Piece::Verb { verb, left, zeros, width });
        rest = &after[flags + digits + 1..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// Appends what is printed for the arguments behind the format.
pub fn printf(pieces: &[Piece], arguments: &mut Arguments<'_, '_>, to: &mut Vec<u8>) -> Result<(), Failed> {
    for piece in pieces {
        let Piece::Verb { verb, left, zeros, width } = piece else {
            let Piece::Text(text) = piece else { continue };
            to.extend_from_slice(text.as_bytes());
            continue;
        };
        let Some(value) = arguments.next() else {
            // Writing to memory cannot fail.
            let _ = write!(to, "%!{verb}(MISSING)");
            continue;
        };
        let (value, begin) = (value?, to.len());
        if print(*verb, &value, to) {
            let printed = to[begin..].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
            let missing = width.saturating_sub(printed);
            to.resize(to.len() + missing, if *zeros && !left { b'0' } else { b' ' });
            if !left {
                to[begin..].rotate_right(missing);
            }
        }
        arguments.memory.give(value);
    }
    arguments.next().map_or(Ok(()), |_| Err(Failed))
}

/// `false`: the verb is not for such a value, which is printed as Go does then.
fn print(verb: char, value: &Value<'_>, to: &mut Vec<u8>) -> bool {
    // Writing to memory cannot fail.
    let _ = match (verb, value) {
        ('v', Value::Missing) => write!(to, "<nil>"),
        ('q', Value::Text(text)) => {
            quoted(&lossy(text), to);
            Ok(())
        }
        ('v' | 's', Value::Text(_)) | ('v' | 'd', Value::Whole(_)) | ('v', Value::Bool(_)) => {
            value.print(to);
            Ok(())
        }
        (_, Value::Missing) => {
            let _ = write!(to, "%!{verb}(<nil>)");
            return false;
        }
        _ => {
            let kind = match value {
                Value::Whole(_) => "int",
                Value::Bool(_) => "bool",
                _ => "string",
            };
            let _ = write!(to, "%!{verb}({kind}=");
            value.print(to);
            to.push(b')');
            return false;
        }
    };
    true
}
