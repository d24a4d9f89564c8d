//! Bytes as text, as a loop over Go's strings sees them.

use std::borrow::Cow;

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
}
