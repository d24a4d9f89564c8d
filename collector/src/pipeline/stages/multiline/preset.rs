//! Ready-made rules for traces of common languages, as small state machines over the lines of one block.
//!
//! In: lines in their order. Out: whether a line continues the block before it. A line that fits nowhere begins a new block,
//! so that a wrong guess joins too little and not too much. Knows no time and no size: the stage bounds blocks.

/// Whose traces are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Java, and other languages of the JVM.
    Java,
    Python,
    /// Go: panics and goroutines.
    Go,
    /// Rust: panics.
    Rust,
    /// JavaScript.
    Node,
    Ruby,
    /// C# and other languages of .NET.
    Dotnet,
    /// Every line that begins with a blank continues.
    #[default]
    Indent,
    /// The language of the first trace that is seen in the stream; until then as `indent`.
    Auto,
}

const NAMES: [(&str, Preset); 9] = [
    ("java", Preset::Java),
    ("python", Preset::Python),
    ("go", Preset::Go),
    ("rust", Preset::Rust),
    ("node", Preset::Node),
    ("ruby", Preset::Ruby),
    ("dotnet", Preset::Dotnet),
    ("indent", Preset::Indent),
    ("auto", Preset::Auto),
];

impl Preset {
    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, preset)| *preset == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn names() -> Vec<&'static str> {
        NAMES.iter().map(|(name, _)| *name).collect()
    }
}

/// Where in a trace the last line was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In none.
    #[default]
    Outside,
    /// At its head: what follows is a message, or the trace itself.
    Head,
    /// Among its frames.
    Frames,
    /// After what looks like its end; only few lines continue.
    Ended,
}

/// The state of one block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    place: Place,
    /// What `auto` decided on.
    found: Option<Preset>,
}

impl Machine {
    /// A new block of the same stream begins with this line.
    #[must_use]
    pub fn begin(self, preset: Preset, line: &[u8]) -> Self {
        let mut machine = Self { place: Place::Outside, found: self.found };
        machine.advance(preset, line);
        machine
    }

    /// Whether the line continues the block.
    #[must_use]
    pub fn continues(&self, preset: Preset, line: &[u8]) -> bool {
        self.next(self.decided(preset, line), line).is_some()
    }

    /// The line continues the block.
    pub fn advance(&mut self, preset: Preset, line: &[u8]) {
        if preset == Preset::Auto && self.found.is_none() {
            self.found = signature(line);
        }
        let preset = self.decided(preset, line);
        self.place = self.next(preset, line).unwrap_or_else(|| head(preset, line));
    }

    /// What `auto` found in this stream, once it has.
    #[must_use]
    pub fn found(&self) -> Option<Preset> {
        self.found
    }

    fn decided(&self, preset: Preset, line: &[u8]) -> Preset {
        match preset {
            Preset::Auto => self.found.or_else(|| signature(line)).unwrap_or(Preset::Indent),
            preset => preset,
        }
    }

    /// The place after a line that continues; `None`: it does not.
    fn next(&self, preset: Preset, line: &[u8]) -> Option<Place> {
        let indented = line.starts_with(b" ") || line.starts_with(b"\t");
        let text = line.trim_ascii_start();
        let begins = |with: &str| line.starts_with(with.as_bytes());
        let indented_frames = indented.then_some(Place::Frames);
        match preset {
            Preset::Indent | Preset::Auto => indented_frames,
            Preset::Java => {
                let is_cause = begins("Caused by: ") || begins("Suppressed: ");
                let is_head = qualified(line).is_some_and(is_exception_name);
                if is_cause || is_head { Some(Place::Frames) } else { indented_frames }
            }
            Preset::Python => match self.place {
                _ if begins("Traceback (most recent call last):") => Some(Place::Frames),
                Place::Frames if indented => Some(Place::Frames),
                // The exception itself ends the trace.
                Place::Frames => Some(Place::Ended),
                Place::Ended if line.is_empty() => Some(Place::Ended),
                Place::Ended if begins("During handling of the above") || begins("The above exception was") => {
                    Some(Place::Ended)
                }
                _ if indented => Some(self.place),
                _ => None,
            },
            Preset::Go => match self.place {
                Place::Frames | Place::Head => {
                    let is_call = text.ends_with(b")") && memchr::memchr(b'(', text).is_some_and(|at| at > 0);
                    let is_more =
                        ["goroutine ", "created by ", "[signal ", "exit status ", "runtime stack:", "panic: "]
                            .iter()
                            .any(|with| begins(with));
                    let is_call = is_call && !text[..memchr::memchr(b'(', text).unwrap_or(0)].contains(&b' ');
                    (line.is_empty() || indented || is_more || is_call).then_some(Place::Frames)
                }
                _ => indented_frames,
            },
            Preset::Rust => match self.place {
                // The message follows its head, however it looks.
                Place::Head => Some(Place::Frames),
                Place::Frames if begins("stack backtrace:") || begins("note: ") => Some(Place::Frames),
                _ if indented => Some(self.place),
                _ => None,
            },
            Preset::Node => {
                let is_error = error_name(line);
                let is_end = self.place == Place::Frames && (begins("}") || begins("Node.js v") || line.is_empty());
                if is_error || is_end { Some(Place::Frames) } else { indented_frames }
            }
            Preset::Ruby => indented_frames,
            Preset::Dotnet => {
                let is_inner = begins("--- End of ") || begins("---> ");
                let is_head = qualified(line).is_some_and(is_exception_name);
                if is_inner || is_head { Some(Place::Frames) } else { indented_frames }
            }
        }
    }
}

/// The place after the first line of a block.
fn head(preset: Preset, line: &[u8]) -> Place {
    let begins = |with: &str| line.starts_with(with.as_bytes());
    match preset {
        Preset::Go if begins("panic: ") || begins("fatal error: ") || begins("goroutine ") => Place::Head,
        Preset::Rust if begins("thread '") && line.ends_with(b":") && contains(line, "' panicked at ") => Place::Head,
        Preset::Rust if begins("thread '") && contains(line, "' panicked at ") => Place::Frames,
        Preset::Node if error_name(line) => Place::Frames,
        _ => Place::Outside,
    }
}

fn contains(line: &[u8], text: &str) -> bool {
    memchr::memmem::find(line, text.as_bytes()).is_some()
}

/// Which language a line of a trace is from.
fn signature(line: &[u8]) -> Option<Preset> {
    let begins = |with: &str| line.starts_with(with.as_bytes());
    let text = line.trim_ascii_start();
    let is_frame = text.len() < line.len() && text.starts_with(b"at ");
    if begins("Traceback (most recent call last):") {
        Some(Preset::Python)
    } else if begins("goroutine ") && contains(line, " [") || begins("panic: ") {
        Some(Preset::Go)
    } else if begins("thread '") && contains(line, "' panicked at ") {
        Some(Preset::Rust)
    } else if is_frame && (contains(line, ".java:") || contains(line, ".kt:") || contains(line, "(Native Method)")) {
        Some(Preset::Java)
    } else if is_frame && (contains(line, ".js:") || contains(line, ".ts:") || contains(line, "(node:")) {
        Some(Preset::Node)
    } else if is_frame && (contains(line, ":line ") || contains(line, "   at System.")) {
        Some(Preset::Dotnet)
    } else if contains(line, ".rb:") && contains(line, ":in ") {
        Some(Preset::Ruby)
    } else {
        None
    }
}

/// The name with points in it that a line begins with, up to a colon, a blank or its end.
fn qualified(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| matches!(byte, b':' | b' ')).unwrap_or(line.len());
    let name = &line[..end];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.');
    let is_name = name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(is_part);
    let ends_there = matches!(line.get(end), None | Some(b':'));
    (is_name && ends_there && name.contains(&b'.')).then_some(name)
}

fn is_exception_name(name: &[u8]) -> bool {
    ["Exception", "Error", "Throwable", "Failure"].iter().any(|end| name.ends_with(end.as_bytes()))
}

/// `TypeError: …`, `Uncaught Error: …`.
fn error_name(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"Uncaught ").unwrap_or(line);
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(line.len());
    line[..end].ends_with(b"Error") && matches!(line.get(end), Some(b':' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many lines each block has.
    fn blocks(preset: &str, lines: &str) -> Vec<usize> {
        let preset = Preset::named(preset).unwrap();
        let (mut machine, mut blocks) = (Machine::default(), Vec::new());
        for line in lines.lines().map(str::as_bytes) {
            match blocks.last_mut() {
                Some(last) if machine.continues(preset, line) => {
                    machine.advance(preset, line);
                    *last += 1;
                }
                _ => {
                    machine = machine.begin(preset, line);
                    blocks.push(1);
                }
            }
        }
        blocks
    }

    const JAVA: &str = "10:00 ERROR failed\njava.lang.IllegalStateException: no\n\tat a.B.c(B.java:5)\n\t... 3 more\n\
                        Caused by: java.io.IOException: x\n\tat d.E.f(E.java:9)\n10:01 INFO on";
    const PYTHON: &str = "ERROR:root:failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\n\
                          ValueError: x\n\nDuring handling of the above exception, another exception occurred:\n\n\
                          Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'y'\nINFO:root:on";
    const GO: &str = "start\npanic: runtime error: index\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/a/main.go:5\n\
                      main.main()\n\t/a/main.go:9 +0x1d\nexit status 2\nnext (one)";
    const RUST: &str = "start\nthread 'main' panicked at src/main.rs:2:5:\nindex out of bounds\nstack backtrace:\n   0: a\n\
                        \x20            at b.rs:1\nnote: run with RUST_BACKTRACE=1\nnext";
    const NODE: &str =
        "start\nTypeError: x is not a function\n    at f (/a/b.js:1:2)\n    at node:internal/main:5\n\nnext";
    const RUBY: &str = "start\na.rb:1:in `f': no (RuntimeError)\n\tfrom a.rb:5:in `<main>'\nnext";
    const DOTNET: &str = "fail: x\nSystem.InvalidOperationException: no\n ---> System.Exception: y\n   at A.B() in /a.cs:line 5\n\
                          --- End of stack trace from previous location ---\n   at C.D()\ninfo: on";

    #[test]
    fn traces_of_each_language_are_one_block() {
        for (preset, lines, expected) in [
            ("java", JAVA, vec![6, 1]),
            ("python", PYTHON, vec![11, 1]),
            ("go", GO, vec![1, 8, 1]),
            ("rust", RUST, vec![1, 6, 1]),
            // The error's own line continues what was logged before it.
            ("node", NODE, vec![5, 1]),
            ("ruby", RUBY, vec![1, 2, 1]),
            ("dotnet", DOTNET, vec![6, 1]),
            ("indent", "a\n b\n\tc\nd", vec![3, 1]),
        ] {
            let found = blocks(preset, lines);
            assert_eq!(found.iter().sum::<usize>(), lines.lines().count(), "{preset}");
            assert_eq!(found, expected, "{preset}");
        }
    }

    #[test]
    fn auto_takes_the_language_of_the_first_trace() {
        for lines in [GO, RUST, RUBY] {
            let last = *blocks("auto", lines).last().unwrap();
            assert_eq!(last, 1);
        }
        assert_eq!(signature(b"\tat a.B.c(B.java:5)"), Some(Preset::Java));
        assert_eq!(blocks("auto", GO), [1, 8, 1]);
    }

    #[test]
    fn lines_without_traces_are_blocks_of_one() {
        for (name, _) in NAMES {
            assert_eq!(blocks(name, "a: b\nInfo: fine\n10:00 x.y: z\nend (of it)"), [1, 1, 1, 1], "{name}");
        }
    }
}
