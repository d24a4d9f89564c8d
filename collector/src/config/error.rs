//! What is wrong with a configuration, in the words that its author reads.

use std::{
    fmt::{self, Write},
    io,
    path::PathBuf,
};

/// Counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    /// In characters.
    pub column: usize,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The file, at this place.
    File(Place),
    /// This environment variable.
    Environment(&'static str),
    /// Neither: the value is a default, or one that is missing.
    Default,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub origin: Origin,
    /// The key with all keys above it, `loki.batch.bytes` or `relabel_configs.[0].regex`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right; without secrets.
    pub message: String,
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable { path: PathBuf, error: io::Error },
    /// Its text is wrong, in at least one way.
    Invalid {
        /// The file; `None`: there was none, and the values come from the environment.
        path: Option<PathBuf>,
        /// Everything that was found, in the file's order.
        problems: Vec<Problem>,
    },
}

impl Problem {
    fn write_what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", OneLine(&self.key.replace(".[", "[")))?;
        }
        write!(f, "{}", OneLine(&self.message))
    }
}

impl fmt::Display for Problem {
    /// For where the file is known: `line LINE: KEY: MESSAGE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(place) => write!(f, "line {}: ", place.line)?,
            Origin::Environment(name) => write!(f, "environment variable {name}: ")?,
            Origin::Default => {}
        }
        self.write_what(f)
    }
}

impl fmt::Display for ConfigError {
    /// One line for each problem: `FILE:LINE:COLUMN: KEY: MESSAGE`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "cannot read the configuration {}: {error}", path.display()),
            Self::Invalid { path, problems } => {
                for (i, problem) in problems.iter().enumerate() {
                    if i > 0 {
                        f.write_str("\n")?;
                    }
                    match (&problem.origin, path) {
                        (Origin::Environment(name), _) => write!(f, "environment variable {name}")?,
                        (Origin::File(place), Some(path)) => {
                            write!(f, "{}:{}:{}", path.display(), place.line, place.column)?;
                        }
                        (_, Some(path)) => write!(f, "{}", path.display())?,
                        (_, None) => f.write_str("configuration")?,
                    }
                    f.write_str(": ")?;
                    problem.write_what(f)?;
                }
                Ok(())
            }
        }
    }
}

/// Text from the file with its newlines and other control characters as escapes: it must not end a problem's line, nor
/// reach a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_debug()) } else { f.write_char(c) })
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            Self::Invalid { .. } => None,
        }
    }
}
