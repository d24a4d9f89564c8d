//! One walk over a JSON text: is it an object, and where in it are the wanted values?

use std::ops::Range;

use super::path::{Path, Step};

/// Paths of one stage: as many as a mask has bits.
pub const PATHS_MAX: usize = 64;

/// How deep values may be nested; what is deeper counts as malformed.
const DEPTH_MAX: usize = 256;

/// Memory for the places that were found.
#[derive(Default)]
pub struct Scanner {
    found: Vec<Option<Range<usize>>>,
    members: Vec<(Range<usize>, Range<usize>)>,
    key: Vec<u8>,
}

impl Scanner {
    /// Walks over the text; `false`: it is malformed, or no object. `all`: also keeps the places of all members of the
    /// object.
    pub fn scan(&mut self, text: &[u8], paths: &[Path], all: bool) -> bool {
        self.found.clear();
        self.found.resize(paths.len(), None);
        self.members.clear();
        let mut walk = Walk { text, at: 0, paths, found: &mut self.found, key: &mut self.key };
        let mask = if paths.len() == PATHS_MAX { u64::MAX } else { (1 << paths.len()) - 1 };
        walk.blanks();
        let is_object = match walk.peek() {
            Some(b'{') => walk.value(mask, 0, all.then_some(&mut self.members)).is_some(),
            // As Promtail has it: null is an object without members.
            Some(b'n') => walk.literal(b"null").is_some(),
            _ => false,
        };
        walk.blanks();
        is_object && walk.at == text.len()
    }

    /// Where each path's value is.
    pub fn found(&self) -> impl Iterator<Item = Option<Range<usize>>> {
        self.found.iter().cloned()
    }

    /// Where the members of the object are: keys with their quotes, values.
    pub fn members(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.members.iter().cloned()
    }
}

/// The first member of the object that `wanted` takes by its key and its value as it is written; also of objects in it, `depth` deep.
/// What stands behind it is not looked at. `None`: there is none, or the text is malformed before it. `scratch`: for keys.
pub fn first_member(
    text: &[u8],
    depth: usize,
    scratch: &mut Vec<u8>,
    wanted: &mut impl FnMut(&[u8], &[u8]) -> bool,
) -> Option<Range<usize>> {
    let mut walk = Walk { text, at: 0, paths: &[], found: &mut [], key: scratch };
    walk.blanks();
    walk.first_member(depth, wanted)?
}

type Members<'a> = Option<&'a mut Vec<(Range<usize>, Range<usize>)>>;

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    paths: &'a [Path],
    found: &'a mut [Option<Range<usize>>],
    key: &'a mut Vec<u8>,
}

impl Walk<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(literal).then(|| self.at += literal.len())
    }

    /// Passes a value. `mask`: the paths that have led here with their first `depth` steps.
    fn value(&mut self, mask: u64, depth: usize, members: Members<'_>) -> Option<()> {
        let begin = self.at;
        match self.peek()? {
            b'"' => {
                self.string()?;
            }
            b'{' => self.object(mask, depth, members)?,
            b'[' => self.array(mask, depth)?,
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => self.number()?,
        }
        let mut ended = mask;
        while ended != 0 {
            let path = ended.trailing_zeros() as usize;
            ended &= ended - 1;
            if self.paths[path].len() == depth {
                self.found[path] = Some(begin..self.at);
            }
        }
        Some(())
    }

    fn object(&mut self, mask: u64, depth: usize, mut members: Members<'_>) -> Option<()> {
        if depth == DEPTH_MAX {
            return None;
        }
        self.at += 1;
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.at;
            let escaped = self.string()?;
            let key = key..self.at;
            let inner = if mask == 0 { 0 } else { self.with_key(mask, depth, key.clone(), escaped) };
            self.blanks();
            self.take(b':')?;
            self.blanks();
            let begin = self.at;
            self.value(inner, depth + 1, None)?;
            if let Some(members) = &mut members {
                members.push((key, begin..self.at));
            }
            self.blanks();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
            self.blanks();
        }
    }

    /// `None`: malformed; `Some(None)`: the object has no such member.
    fn first_member(
        &mut self,
        depth: usize,
        wanted: &mut impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Option<Option<Range<usize>>> {
        self.take(b'{')?;
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(None);
        }
        loop {
            let key = self.at;
            let escaped = self.string()?;
            let key = key..self.at;
            self.blanks();
            self.take(b':')?;
            self.blanks();
            let begin = self.at;
            if depth > 1 && self.peek()? == b'{' {
                let found = self.first_member(depth - 1, wanted)?;
                if found.is_some() {
                    return Some(found);
                }
            } else {
                self.value(0, 0, None)?;
                let value = begin..self.at;
                let raw = &self.text[key.start + 1..key.end - 1];
                if escaped {
                    self.decode_key(key);
                }
                if wanted(if escaped { self.key } else { raw }, &self.text[value.clone()]) {
                    return Some(Some(value));
                }
            }
            self.blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(None);
            }
            self.blanks();
        }
    }

    /// Writes a key, which stands there with its quotes, to `self.key`.
    fn decode_key(&mut self, key: Range<usize>) {
        self.key.clear();
        super::text::decode_string(&self.text[key], self.key);
    }

    /// The paths whose next step is this key. What they found under an equal key before does not count any more.
    fn with_key(&mut self, mask: u64, depth: usize, key: Range<usize>, escaped: bool) -> u64 {
        let (mut rest, mut inner) = (mask, 0);
        let raw = &self.text[key.start + 1..key.end - 1];
        if escaped {
            self.decode_key(key);
        }
        while rest != 0 {
            let path = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let wanted = match self.paths[path].get(depth) {
                Some(Step::Key(name)) => name.as_bytes(),
                _ => continue,
            };
            if wanted == if escaped { &self.key[..] } else { raw } {
                self.found[path] = None;
                inner |= 1 << path;
            }
        }
        inner
    }

    fn array(&mut self, mask: u64, depth: usize) -> Option<()> {
        if depth == DEPTH_MAX {
            return None;
        }
        // Indexes from the end need the length first.
        let from_end = |path: usize| matches!(self.paths[path].get(depth), Some(Step::Index(index)) if *index < 0);
        let needs_length = mask != 0 && (0..self.paths.len()).any(|path| mask >> path & 1 == 1 && from_end(path));
        let length = if needs_length { self.elements()? } else { 0 };
        self.at += 1;
        self.blanks();
        if self.take(b']').is_some() {
            return Some(());
        }
        for number in 0_i64.. {
            let (mut rest, mut inner) = (mask, 0);
            while rest != 0 {
                let path = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                if let Some(Step::Index(index)) = self.paths[path].get(depth)
                    && number == if *index < 0 { length + index } else { *index }
                {
                    inner |= 1 << path;
                }
            }
            self.value(inner, depth + 1, None)?;
            self.blanks();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
            self.blanks();
        }
        None
    }

    /// How many elements the array here has; the place stays.
    fn elements(&mut self) -> Option<i64> {
        let begin = self.at;
        self.at += 1;
        self.blanks();
        let mut elements = 0;
        if self.peek()? != b']' {
            loop {
                self.value(0, 0, None)?;
                elements += 1;
                self.blanks();
                if self.take(b',').is_none() {
                    break;
                }
                self.blanks();
            }
        }
        self.at = begin;
        Some(elements)
    }

    /// Passes a string; whether it has escapes. Control characters are refused before the first escape only, as by Promtail.
    fn string(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(&self.text[self.at..], escaped);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    match self.peek()? {
                        b'u' => {
                            let digits = self.text.get(self.at + 1..self.at + 5)?;
                            digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                            self.at += 5;
                        }
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let begin = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let whole = self.digits();
        if whole == 0 || whole > 1 && self.text[self.at - whole] == b'0' {
            return None;
        }
        let mut needs_check = whole > 300;
        if self.take(b'.').is_some() && self.digits() == 0 {
            return None;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return None;
            }
            needs_check = true;
        }
        if needs_check {
            crate::pipeline::go::number::parse(&self.text[begin..self.at])?;
        }
        Some(())
    }

    fn digits(&mut self) -> usize {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        digits
    }
}

/// How many bytes stand before the next quote, backslash or control character; the last only where they are not allowed.
#[inline]
fn plain_bytes(text: &[u8], controls: bool) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // Bytes that are zero, or below a number, as high bits; exact up to the first one, and that is all that is needed.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let below = |word: u64, number: u64| word.wrapping_sub(ONES * number) & !word & HIGHS;
    let (words, _) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let mut hits = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if !controls {
            hits |= below(word, 0x20);
        }
        if hits != 0 {
            return 8 * i + hits.trailing_zeros() as usize / 8;
        }
    }
    let done = 8 * words.len();
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\') || !controls && *byte < 0x20;
    done + text[done..].iter().position(is_end).unwrap_or(text.len() - done)
}

#[cfg(test)]
mod tests {
    use super::{super::path, *};

    fn found(text: &str, paths: &[&str]) -> Option<Vec<Option<String>>> {
        let paths: Vec<Path> = paths.iter().map(|path| path::parse(path).unwrap()).collect();
        let mut scanner = Scanner::default();
        let is_good = scanner.scan(text.as_bytes(), &paths, false);
        is_good.then(|| scanner.found().map(|found| found.map(|range| text[range].to_owned())).collect())
    }

    #[test]
    fn values_are_found_where_they_are() {
        let text = r#" {"a": 1, "b": {"c": [10, {"d": "x\"y"}, -2.5e3]}, "e\u0066": null, "a": true} "#;
        let all = found(text, &["a", "b.c[1].d", "b.c[-1]", "ef", "b.x", "b.c[5]", "b.c"]).unwrap();
        let all: Vec<_> = all.iter().map(Option::as_deref).collect();
        let array = r#"[10, {"d": "x\"y"}, -2.5e3]"#;
        assert_eq!(all, [Some("true"), Some(r#""x\"y""#), Some("-2.5e3"), Some("null"), None, None, Some(array)]);
        assert_eq!(found(r#"{"a":{"b":1},"a":{}}"#, &["a.b"]), Some(vec![None]));
        assert_eq!(found("null", &["a"]), Some(vec![None]));
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for text in [
            "",
            "x",
            "[]",
            "1",
            "\"a\"",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":1e999}",
            "{\"a\":[1,]}",
            "{\"a\":\"\t\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":nul}",
            "{'a':1}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":\"b}",
            "{\"a\":1 \"b\":2}",
        ] {
            assert_eq!(found(text, &["a"]), None, "{text}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(found(&deep, &["a"]), None);
    }

    #[test]
    fn the_end_of_plain_bytes_is_found_at_every_place() {
        for at in 0..40 {
            for (end, controls) in [(b'"', true), (b'\\', false), (0x1F, false)] {
                let mut text = vec![b'a'; 40];
                text[at] = end;
                text[(at + 1) % 40] = if at == 39 { b'a' } else { 0xE4 };
                assert_eq!(plain_bytes(&text, controls), at);
            }
        }
        assert_eq!(plain_bytes(b"aaaaaaaaaa\x01aaaaaaaaaaa", true), 22);
    }
}
