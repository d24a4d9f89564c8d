//! JSON values to what a stage extracts, and texts to JSON, as json-iterator does both.

use crate::pipeline::{extracted::Value, go::number};

/// The value of a checked piece of JSON; a text lies in `to`.
pub fn decode<'a>(raw: &[u8], to: &'a mut Vec<u8>) -> Value<'a> {
    match raw.first() {
        Some(b'"') => {
            decode_string(raw, to);
            Value::Text(to)
        }
        Some(b'{' | b'[') => {
            write_compact(raw, to);
            Value::Text(to)
        }
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Null,
        // It is checked, and so parses.
        Some(_) => number::parse(raw).map_or(Value::Null, Value::Number),
    }
}

/// Appends the text of a checked JSON string, quotes included in `raw`. Surrogates without their other half become U+FFFD.
pub fn decode_string(raw: &[u8], to: &mut Vec<u8>) {
    let mut rest = &raw[1..raw.len() - 1];
    while let Some(at) = memchr::memchr(b'\\', rest) {
        to.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            b'u' => {
                let code = take_code(&mut rest);
                let mut push = |code: u32| {
                    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                };
                if (0xD800..0xE000).contains(&code) && rest.starts_with(b"\\u") {
                    rest = &rest[2..];
                    let second = take_code(&mut rest);
                    if code < 0xDC00 && (0xDC00..0xE000).contains(&second) {
                        push(0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00));
                    } else {
                        push(code);
                        push(second);
                    }
                } else {
                    push(code);
                }
            }
            b'b' => to.push(0x08),
            b'f' => to.push(0x0C),
            b'n' => to.push(b'\n'),
            b'r' => to.push(b'\r'),
            b't' => to.push(b'\t'),
            other => to.push(other),
        }
    }
    to.extend_from_slice(rest);
}

fn take_code(rest: &mut &[u8]) -> u32 {
    let digits = rest.get(..4).unwrap_or_default();
    let code = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
    *rest = rest.get(4..).unwrap_or_default();
    code.unwrap_or(0xFFFD)
}

/// Appends a checked object or array without blanks, its strings and numbers reformatted. Keys stay in their order.
pub fn write_compact(raw: &[u8], to: &mut Vec<u8>) {
    let (mut at, mut text) = (0, Vec::new());
    while let Some(byte) = raw.get(at) {
        match byte {
            b'"' => {
                let begin = at;
                at += 1;
                while raw[at] != b'"' {
                    at += if raw[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                let string = &raw[begin..at];
                if memchr::memchr(b'\\', string).is_none() {
                    write_string(&string[1..string.len() - 1], to);
                } else {
                    text.clear();
                    decode_string(string, &mut text);
                    write_string(&text, to);
                }
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let is_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let digits = raw[at..].iter().take_while(|byte| is_number(byte)).count();
                write_number(number::parse(&raw[at..at + digits]).unwrap_or_default(), to);
                at += digits;
                continue;
            }
            b' ' | b'\n' | b'\t' | b'\r' => {}
            other => to.push(*other),
        }
        at += 1;
    }
}

/// A number as json-iterator writes it: very small and very large ones with an exponent.
fn write_number(value: f64, to: &mut Vec<u8>) {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return number::write(value, to);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    to.extend_from_slice(format!("{digits}e{sign}{exponent:0>2}").as_bytes());
}

/// Appends the text as a JSON string that may stand in HTML, as Go's libraries write it.
pub fn write_string(text: &[u8], to: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    to.push(b'"');
    for chunk in text.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            match character {
                '"' | '\\' => to.extend_from_slice(&[b'\\', character as u8]),
                '\n' => to.extend_from_slice(br"\n"),
                '\r' => to.extend_from_slice(br"\r"),
                '\t' => to.extend_from_slice(br"\t"),
                '\0'..='\x1f' | '<' | '>' | '&' => {
                    let code = character as usize;
                    to.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[code >> 4], HEX[code & 15]]);
                }
                '\u{2028}' => to.extend_from_slice(br"\u2028"),
                '\u{2029}' => to.extend_from_slice(br"\u2029"),
                _ => to.extend_from_slice(&chunk.valid().as_bytes()[at..at + character.len_utf8()]),
            }
        }
        for _ in chunk.invalid() {
            to.extend_from_slice(br"\ufffd");
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_decoded_with_their_escapes() {
        for (raw, text) in [
            (r#""a""#, "a"),
            (r#""a\"\\\/\b\f\n\r\tb""#, "a\"\\/\u{8}\u{c}\n\r\tb"),
            (r#""\u00e4\ud83d\ude00""#, "ä😀"),
            (r#""\ud83dx\udc00""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
        ] {
            let mut decoded = Vec::new();
            decode_string(raw.as_bytes(), &mut decoded);
            assert_eq!(String::from_utf8(decoded).unwrap(), text);
        }
    }

    #[test]
    fn each_byte_of_no_character_is_escaped_and_the_replacement_character_is_not() {
        let mut text = Vec::new();
        write_string(b"\xe4\xb8 \xff \xef\xbf\xbd", &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), "\"\\ufffd\\ufffd \\ufffd \u{fffd}\"");
    }

    #[test]
    fn objects_are_written_without_blanks_and_fit_for_html() {
        let mut text = Vec::new();
        write_compact(br#"{ "a" : [1.0, 1e30, 0.0000001, "<\u0041>"], "b":{} , "c":null}"#, &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), r#"{"a":[1,1e+30,1e-07,"\u003cA\u003e"],"b":{},"c":null}"#);
    }
}
