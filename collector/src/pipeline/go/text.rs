//! Texts as Go's strings and its packages `strings` and `strconv` have them.

use std::{borrow::Cow, io::Write};

/// Each byte that is of no character becomes U+FFFD, where `String::from_utf8_lossy` makes one of all bytes of a character that was cut.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text.into()
}

/// Appends the text in lower case, character by character as `strings.ToLower`: what one character becomes is always one.
pub fn lower(text: &str, to: &mut Vec<u8>) {
    let lower = |c: char| match c {
        'İ' => 'i',
        _ => only(c.to_lowercase()).unwrap_or(c),
    };
    changed(text, to, lower);
}

/// The same in upper case.
pub fn upper(text: &str, to: &mut Vec<u8>) {
    let upper = |c: char| match c {
        // With an iota below, which two characters would have beside them.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(u32::from(c) + 8).unwrap_or(c)
        }
        'ᾳ' => 'ᾼ',
        'ῃ' => 'ῌ',
        'ῳ' => 'ῼ',
        _ => only(c.to_uppercase()).unwrap_or(c),
    };
    changed(text, to, upper);
}

fn changed(text: &str, to: &mut Vec<u8>, change: impl Fn(char) -> char) {
    text.chars().for_each(|c| to.extend_from_slice(change(c).encode_utf8(&mut [0; 4]).as_bytes()));
}

/// The character, where it is one.
fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

/// Appends the text between double quotes, as `%q` prints it.
pub fn quoted(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    for c in text.chars() {
        // Writing to memory cannot fail.
        let _ = match c {
            '"' | '\\' => write!(to, "\\{c}"),
            '\x07' => write!(to, "\\a"),
            '\x08' => write!(to, "\\b"),
            '\x0c' => write!(to, "\\f"),
            '\n' => write!(to, "\\n"),
            '\r' => write!(to, "\\r"),
            '\t' => write!(to, "\\t"),
            '\x0b' => write!(to, "\\v"),
            c if is_printable(c) => write!(to, "{c}"),
            c if c.is_ascii() => write!(to, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) < 0x1_0000 => write!(to, "\\u{:04x}", u32::from(c)),
            c => write!(to, "\\U{:08x}", u32::from(c)),
        };
    }
    to.push(b'"');
}

fn is_printable(c: char) -> bool {
    // Alone a combining character would count as none that can be printed.
    let mut pair = [b'x', 0, 0, 0, 0];
    let end = 1 + c.encode_utf8(&mut pair[1..]).len();
    c == '\'' || std::str::from_utf8(&pair[..end]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_of_no_character_is_one_replacement() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            (b"\xe4\xb8 cut", "\u{fffd}\u{fffd} cut"),
            (b"a\xff\xfe\xe6\x97\xa5", "a\u{fffd}\u{fffd}日"),
        ] {
            assert_eq!(lossy(bytes), text);
        }
    }

    fn written(write: fn(&str, &mut Vec<u8>), text: &str) -> String {
        let mut to = Vec::new();
        write(text, &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn each_character_becomes_one_in_the_other_case() {
        for (text, lowered, raised) in [
            ("Error 5", "error 5", "ERROR 5"),
            ("Straße", "straße", "STRAßE"),
            ("ΟΔΟΣ", "οδοσ", "ΟΔΟΣ"),
            ("İı", "iı", "İI"),
            ("ŉᾳᾀ", "ŉᾳᾀ", "ŉᾼᾈ"),
        ] {
            assert_eq!((written(lower, text).as_str(), written(upper, text).as_str()), (lowered, raised));
        }
    }

    #[test]
    fn quotes_escape_what_cannot_be_printed() {
        for (text, quotes) in [
            ("a \"b\" \\ 'c'", r#""a \"b\" \\ 'c'""#),
            ("\x1b[0m\0\x7f\x07\r\n", r#""\x1b[0m\x00\x7f\a\r\n""#),
            ("e\u{301} 日 \u{a0}\u{e000}\u{10ffff}", "\"e\u{301} 日 \\u00a0\\ue000\\U0010ffff\""),
        ] {
            assert_eq!(written(quoted, text), quotes);
        }
    }
}
