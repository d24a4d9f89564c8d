//! From an expression for Go to one that means the same to the regex crate in valid UTF-8.
//!
//! The two differ in what stands for itself (`{` and `[` where they begin nothing, `&&` in a class, `\<`), in `\d`, `\s`, `\w` and
//! `\b`, which are ASCII's in Go, in `\Q…\E` and in octal escapes.

/// # Errors
/// What is wrong with it.
pub fn translate(text: &str) -> Result<String, String> {
    let mut translator = Translator { rest: text, out: String::with_capacity(text.len() + 8) };
    translator.run()?;
    Ok(translator.out)
}

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\f\r ";
const WORD: &str = "0-9A-Za-z_";
const NOT_DIGIT: &str = r"\x00-/:-\x{10FFFF}";
const NOT_SPACE: &str = r"\x00-\x08\x0B\x0E-\x1F!-\x{10FFFF}";
const NOT_WORD: &str = r"\x00-/:-@\[-\^`\{-\x{10FFFF}";

/// What `\d` and its like stand for within a class.
fn class_of(escape: char) -> Option<&'static str> {
    Some(match escape {
        'd' => DIGIT,
        's' => SPACE,
        'w' => WORD,
        'D' => NOT_DIGIT,
        'S' => NOT_SPACE,
        'W' => NOT_WORD,
        _ => return None,
    })
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(next) = self.next() {
            match next {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' => self.brace()?,
                '(' if self.rest.starts_with('?') => self.group()?,
                // Only its own x flag would make these mean something, and that is refused.
                other => self.out.push(other),
            }
        }
        Ok(())
    }

    /// After `(`: flags that Go does not know are refused.
    fn group(&mut self) -> Result<(), String> {
        let flags: String = self.rest[1..].chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
        let is_name = self.rest[1..].starts_with("P<") || self.rest[1..].starts_with('<');
        if !is_name && let Some(unknown) = flags.chars().find(|c| !"imsU-".contains(*c)) {
            return Err(format!("is not a regular expression: the flag {unknown} is not known"));
        }
        self.out.push('(');
        Ok(())
    }

    /// `{`: a number of repetitions, or itself.
    fn brace(&mut self) -> Result<(), String> {
        let repetition = self.rest.find('}').map(|end| &self.rest[..end]).filter(|inner| {
            let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            !least.is_empty() && is_number(least) && is_number(most)
        });
        let Some(inner) = repetition else {
            self.out.push_str(r"\{");
            return Ok(());
        };
        if inner.split(',').any(|count| count.parse::<u32>().is_ok_and(|count| count > 1000)) {
            return Err("is not a regular expression: more than 1000 repetitions".into());
        }
        self.out.push('{');
        self.out.push_str(inner);
        self.out.push('}');
        self.rest = &self.rest[inner.len() + 1..];
        Ok(())
    }

    /// After `\`.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(next) = self.next() else {
            return Err(r"is not a regular expression: \ at its end".into());
        };
        if let Some(class) = class_of(next) {
            if in_class {
                self.out.push_str(class);
            } else {
                self.out.push('[');
                self.out.push_str(class);
                self.out.push(']');
            }
            return Ok(());
        }
        match next {
            'b' | 'B' if !in_class => {
                self.out.push_str(if next == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            }
            'Q' if !in_class => {
                let end = self.rest.find(r"\E");
                let literal = &self.rest[..end.unwrap_or(self.rest.len())];
                self.out.push_str(&regex_escape(literal));
                self.rest = end.map_or("", |end| &self.rest[end + 2..]);
            }
            '0'..='7' => {
                let more = self.rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                if next != '0' && more == 0 {
                    return Err("is not a regular expression: back references are not possible".into());
                }
                let digits = format!("{next}{}", &self.rest[..more]);
                self.rest = &self.rest[more..];
                let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
                self.out.push_str(&format!("\\x{{{code:X}}}"));
            }
            // What the regex crate would take for the edge of a word.
            punctuation if punctuation.is_ascii_punctuation() => {
                self.out.push_str(&regex_escape(punctuation.encode_utf8(&mut [0; 4])));
            }
            'A' | 'z' | 'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'p' | 'P' => {
                self.out.push('\\');
                self.out.push(next);
                // The braces of \x{1F} and \p{Greek} are no repetitions.
                if let Some(end) = self.rest.strip_prefix('{').and_then(|rest| rest.find('}'))
                    && matches!(next, 'x' | 'p' | 'P')
                {
                    self.out.push_str(&self.rest[..end + 2]);
                    self.rest = &self.rest[end + 2..];
                }
            }
            other => return Err(format!(r"is not a regular expression: \{other} is not known")),
        }
        Ok(())
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.out.push('^');
            self.rest = &self.rest[1..];
        }
        let mut first = true;
        loop {
            let Some(next) = self.next() else {
                return Err("is not a regular expression: [ without ]".into());
            };
            match next {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.starts_with(':') && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").map_or(self.rest.len(), |end| end + 2);
                    self.out.push('[');
                    self.out.push_str(&self.rest[..end]);
                    self.rest = &self.rest[end..];
                }
                '\\' => self.escape(true)?,
                // A range's dash stays; two would be a difference to the regex crate.
                '-' => {
                    let is_edge = first || self.rest.starts_with(']');
                    self.out.push_str(if is_edge { r"\-" } else { "-" });
                }
                '[' | ']' | '&' | '~' | '^' => {
                    self.out.push('\\');
                    self.out.push(next);
                }
                other => self.out.push(other),
            }
            first = false;
        }
    }
}

/// Text as an expression that matches it.
fn regex_escape(text: &str) -> String {
    regex::escape(text)
}
