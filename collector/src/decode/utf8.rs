//! UTF-8 that is checked once per chunk, repaired and cut.
//!
//! Loki takes entries as protobuf strings, so a line must be valid UTF-8. Most are; so a chunk is validated as a whole,
//! at SIMD speed, and only where that fails are its lines looked at one by one.

/// Which lines of a chunk are valid UTF-8.
///
/// A newline is never part of a longer character: a valid chunk has only valid lines. After a fault the rest of the
/// chunk is validated again from the next line on, up to the next fault, so that every byte is looked at twice at most
/// and not once per line.
pub(super) struct Validity<'a> {
    chunk: &'a [u8],
    /// No fault lies between a line's beginning and here.
    valid_to: usize,
}

impl<'a> Validity<'a> {
    pub(super) fn new(chunk: &'a [u8]) -> Self {
        // `basic` only says yes or no and is the faster one.
        let valid_to = if simdutf8::basic::from_utf8(chunk).is_ok() { chunk.len() } else { 0 };
        Self { chunk, valid_to }
    }

    /// Whether `chunk[start..end]` is valid. To be asked for each line once, in order.
    #[inline]
    pub(super) fn holds(&mut self, start: usize, end: usize) -> bool {
        end <= self.valid_to || self.holds_after_a_fault(start, end)
    }

    #[cold]
    fn holds_after_a_fault(&mut self, start: usize, end: usize) -> bool {
        self.valid_to = match simdutf8::compat::from_utf8(&self.chunk[start..]) {
            Ok(_) => self.chunk.len(),
            Err(fault) => start + fault.valid_up_to(),
        };
        end <= self.valid_to
    }
}

/// U+FFFD, the replacement character.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Makes a text that arrives in pieces valid UTF-8: U+FFFD stands for what is not valid, one for each maximal part of a
/// character, as the Unicode standard recommends (chapter 3.9) and `String::from_utf8_lossy` does. A character may lie
/// across pieces: the result depends on the joined bytes alone.
#[derive(Default)]
pub(super) struct Repair {
    /// The beginning of a character at the last piece's end.
    open: [u8; 3],
    open_len: u8,
    /// Something was replaced.
    replaced: bool,
}

impl Repair {
    /// Appends a piece to `out`.
    pub(super) fn append(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let rest = self.complete_open(piece, out);
        let mut left = rest.len();
        for part in rest.utf8_chunks() {
            out.extend_from_slice(part.valid().as_bytes());
            left -= part.valid().len() + part.invalid().len();
            if left == 0 && is_beginning_of_character(part.invalid()) {
                self.open[..part.invalid().len()].copy_from_slice(part.invalid());
                self.open_len = part.invalid().len() as u8;
            } else if !part.invalid().is_empty() {
                self.replace(out);
            }
        }
    }

    /// Ends the text.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open_len) > 0 {
            self.replace(out);
        }
    }

    /// The last piece ended within a character.
    pub(super) fn is_open(&self) -> bool {
        self.open_len > 0
    }

    /// Something was replaced so far.
    pub(super) fn has_replaced(&self) -> bool {
        self.replaced
    }

    /// Takes bytes from `piece` until the open character is whole or broken, and returns the rest.
    fn complete_open<'a>(&mut self, piece: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let mut rest = piece;
        while self.open_len > 0 {
            let Some((&byte, after)) = rest.split_first() else { break };
            let mut character = [0; 4];
            let len = usize::from(self.open_len);
            character[..len].copy_from_slice(&self.open[..len]);
            character[len] = byte;
            let character = &character[..=len];
            if std::str::from_utf8(character).is_ok() {
                out.extend_from_slice(character);
                self.open_len = 0;
                rest = after;
            } else if is_beginning_of_character(character) {
                self.open[len] = byte;
                self.open_len += 1;
                rest = after;
            } else {
                // `byte` does not belong to it.
                self.open_len = 0;
                self.replace(out);
            }
        }
        rest
    }

    fn replace(&mut self, out: &mut Vec<u8>) {
        self.replaced = true;
        out.extend_from_slice(REPLACEMENT);
    }
}

/// Whether `bytes` are no character, but would be one with more bytes.
fn is_beginning_of_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|fault| fault.valid_up_to() == 0 && fault.error_len().is_none())
}

/// The last place in `text`, which is valid UTF-8, that lies not after `max` and between two characters.
pub(super) fn character_border(text: &[u8], max: usize) -> usize {
    if max >= text.len() {
        return text.len();
    }
    (0..=max).rev().find(|at| text[*at] & 0xc0 != 0x80).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_border_never_lies_in_a_character() {
        let text = "aé€😀é".as_bytes();
        let borders: Vec<usize> = (0..=text.len() + 1).map(|max| character_border(text, max)).collect();
        assert_eq!(borders, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 12, 12]);
    }

    fn mixed_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-z\n]{1,5}".prop_map(String::into_bytes),
            2 => "[é€😀\n]{1,3}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 1..4),
            1 => proptest::collection::vec(0xed..0xf5u8, 1..2),
            1 => proptest::collection::vec(0x80..0xc0u8, 1..4),
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn validity_of_each_line_is_that_of_the_line_alone(mut bytes in mixed_bytes()) {
            bytes.push(b'\n');
            let mut validity = Validity::new(&bytes);
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &bytes) {
                prop_assert_eq!(validity.holds(start, end), std::str::from_utf8(&bytes[start..end]).is_ok());
                start = end + 1;
            }
        }

        #[test]
        fn a_text_repaired_in_pieces_is_that_of_the_standard_library(
            bytes in mixed_bytes(),
            lens in proptest::collection::vec(1..6usize, 1..60),
        ) {
            let (mut repair, mut out, mut rest) = (Repair::default(), Vec::new(), &bytes[..]);
            for len in lens {
                let (piece, after) = rest.split_at(len.min(rest.len()));
                repair.append(piece, &mut out);
                rest = after;
            }
            repair.append(rest, &mut out);
            repair.finish(&mut out);
            let expected = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(repair.has_replaced(), matches!(expected, std::borrow::Cow::Owned(_)));
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
