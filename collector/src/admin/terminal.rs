//! Text for people: colours on a terminal, log text that cannot harm one, times and sizes.

use std::{
    env, fmt,
    io::{self, IsTerminal},
};

use jiff::Timestamp;

/// Whether standard output takes colours: it is a terminal, and nobody said no (<https://no-color.org>).
#[must_use]
pub fn wants_colours() -> bool {
    let says_no = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !says_no && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What a text is, and so which colour it has.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Title,
    Good,
    Bad,
    Changed,
    Aside,
}

/// Writes in colours, or without.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub colours: bool,
}

impl Paint {
    /// The text in its colour; what would change a terminal is escaped.
    #[must_use]
    pub fn text(self, kind: Kind, text: &str) -> String {
        let code = match kind {
            Kind::Title => "1",
            Kind::Good => "32",
            Kind::Bad => "31",
            Kind::Changed => "36",
            Kind::Aside => "2",
        };
        let text = Printable(text);
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// A log's text as a terminal may see it: control characters but for tabs and newlines as escapes, and what cannot be seen or turns
/// the direction of the text beside it.
pub struct Printable<'t>(pub &'t str);

/// The same for a name or a sentence that is to stay in its row: tabs and newlines are escaped, too.
pub struct OneLine<'t>(pub &'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, |c| is_hidden(c) && c != '\n' && c != '\t', f)
    }
}

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, is_hidden, f)
    }
}

fn write_escaped(text: &str, is_escaped: impl Fn(char) -> bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for piece in text.split_inclusive(&is_escaped) {
        match piece.char_indices().next_back() {
            Some((at, last)) if is_escaped(last) => write!(f, "{}{}", &piece[..at], last.escape_default())?,
            _ => f.write_str(piece)?,
        }
    }
    Ok(())
}

/// Controls, line separators, and the format characters (Unicode's category Cf, but for some of scripts that need them) among which
/// are those of bidirectional text: <https://www.unicode.org/reports/tr9/>, 2. The status page hides the same (page/dom.js).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `2026-11-22T11:09:43.118Z`.
#[must_use]
pub fn time(time_ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(time_ns)).map_or_else(|_| format!("{time_ns} ns"), |time| time.to_string())
}

/// `{a="b", c="d"}`.
#[must_use]
pub fn label_set<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// `812 B`, `12.3 KiB`, `4.0 MiB`: rounded, for people.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// `1 line`, `2 lines`.
#[must_use]
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_cannot_change_the_terminal() {
        assert_eq!(Printable("a\tb\n\x1b[31mred\x07 ä").to_string(), "a\tb\n\\u{1b}[31mred\\u{7} ä");
        assert_eq!(Printable("a\u{202e}b\u{2066}\u{200b}").to_string(), "a\\u{202e}b\\u{2066}\\u{200b}");
        assert_eq!(OneLine("a\tb\n\u{85}c\r").to_string(), "a\\tb\\n\\u{85}c\\r");
        let paint = Paint { colours: true };
        assert_eq!(paint.text(Kind::Bad, "\x1bx"), "\x1b[31m\\u{1b}x\x1b[0m");
        assert_eq!(Paint { colours: false }.text(Kind::Bad, "x"), "x");
    }

    #[test]
    fn times_and_sizes_are_rounded_for_people() {
        assert_eq!(time(1_767_323_045_000_000_001), "2026-01-02T03:04:05.000000001Z");
        assert_eq!([bytes(1023), bytes(1536), bytes(3 << 20)], ["1023 B", "1.5 KiB", "3.0 MiB"]);
        assert_eq!([count(1, "line", "lines"), count(0, "line", "lines")], ["1 line", "0 lines"]);
    }
}
