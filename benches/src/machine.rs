//! Where figures come from: the machine, the commit, the command.

use std::{
    env, fmt, fs, io,
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// Set to build faster, and the figures are no longer those of the released program.
const PROFILE_OVERRIDES: &str = "CARGO_PROFILE_RELEASE_";

/// Options by which xtask names the programs that it has built: nothing that a person would type.
const PROGRAM_OPTIONS: [&str; 4] = ["--collector", "--floor", "--counting", "--program"];

/// Where the figures come from.
#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    commit: String,
    /// Settings of the build that differ from the released program's.
    build: Vec<String>,
    command: String,
    /// Seconds since 1970.
    time_s: u64,
}

impl Machine {
    /// This machine and this process, which `cargo xtask bench BENCHMARK` has started.
    pub fn this_one(benchmark: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let overridden = env::vars().filter(|(name, _)| name.starts_with(PROFILE_OVERRIDES));
        Self {
            cpu: cpu_model().unwrap_or_else(|_| "unknown".into()),
            cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            commit: commit().unwrap_or_else(|_| "unknown".into()),
            build: overridden.map(|(name, value)| format!("{name}={value}")).collect(),
            command: command(benchmark),
            time_s: since.as_secs(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, kernel, commit, command, .. } = self;
        write!(f, "{cpu}, {cores} cores, Linux {kernel}, commit {commit}, `{command}`")?;
        if !self.build.is_empty() {
            write!(f, ", built with {}", self.build.join(" "))?;
        }
        Ok(())
    }
}

fn cpu_model() -> io::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    // x86 has a model name; arm64 only numbers, and the board's name elsewhere.
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    match name {
        Some((_, name)) => Ok(name.trim().to_owned()),
        None => Ok(fs::read_to_string("/proc/device-tree/model")?.trim_end_matches('\0').to_owned()),
    }
}

fn commit() -> anyhow::Result<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output()?;
    anyhow::ensure!(output.status.success(), "no git checkout");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What a person would type.
fn command(benchmark: &str) -> String {
    let mut words = vec![format!("cargo xtask bench {benchmark}")];
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if PROGRAM_OPTIONS.contains(&argument.as_str()) {
            arguments.next();
        } else if argument != "--write-docs" {
            words.push(quoted(argument));
        }
    }
    words.join(" ")
}

/// As a shell takes it for one word.
fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,/:+".contains(c);
    if word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        for (word, expected) in [
            ("--size", "--size"),
            ("a=b,c.d/e:1", "a=b,c.d/e:1"),
            ("p=exec $X -a", "'p=exec $X -a'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word.to_owned()), expected);
        }
    }
}
