//! Programs for aarch64, built here and started under an emulator.
//!
//! In: a target triple. Out: an error where its program cannot be built, does not start, lacks the probe, or asks for a
//! newer system than the docs say.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail, ensure};

use crate::{
    apt::{self, Package},
    build, process,
};

/// Where Debian puts the libraries of another machine, and with them its loader.
const AARCH64_LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// Builds the static aarch64 program, starts it under an emulator, and looks for the probe in it.
pub fn static_program_starts() -> anyhow::Result<()> {
    // Without -L the emulator finds no aarch64 loader, so a program that is not static does not start.
    starts(build::AARCH64_STATIC, &[])?;
    Ok(())
}

/// The same for the one that takes the system's glibc, which must be no newer than promised.
pub fn glibc_program_starts() -> anyhow::Result<()> {
    apt::ensure(&[Package { name: "libc6-arm64-cross", program: "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1" }])?;
    let program = starts("aarch64-unknown-linux-gnu", &["-L", AARCH64_LIBRARIES])?;
    let newest = newest_glibc(&program).context("the program names no version of glibc")?;
    let promised = minor_version(build::GLIBC.as_bytes()).context("build::GLIBC is no version")?;
    ensure!(newest <= promised, "the program needs glibc 2.{newest}, and the docs say {}", build::GLIBC);
    println!("it needs glibc 2.{newest}");
    Ok(())
}

/// Builds for `target`, without optimization, and has it say its version; returns the program's bytes.
fn starts(target: &str, emulator: &[&str]) -> anyhow::Result<Vec<u8>> {
    apt::ensure(&[Package { name: "qemu-user-static", program: "qemu-aarch64-static" }])?;
    let program = build::build(Some(target), true)?;
    let said = version_of(&program, emulator)?;
    let expected = concat!("pilcrow ", env!("CARGO_PKG_VERSION"));
    if said.trim_end() != expected {
        bail!("`pilcrow --version` said {said:?} and not {expected:?}");
    }
    println!("{} starts: {said}", program.display());
    Ok(fs::read(&program)?)
}

fn version_of(program: &Path, emulator: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("qemu-aarch64-static");
    process::output_of(command.args(emulator).arg(program).arg("--version"))
}

/// The highest N of the versions `GLIBC_2.N` that a program names.
fn newest_glibc(program: &[u8]) -> Option<u32> {
    let prefix = b"GLIBC_";
    memchr::memmem::find_iter(program, prefix).filter_map(|at| minor_version(&program[at + prefix.len()..])).max()
}

/// N of a text that begins with `2.N`.
fn minor_version(text: &[u8]) -> Option<u32> {
    let rest = text.strip_prefix(b"2.")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_that_a_program_names_is_found_by_number_and_not_by_text() {
        assert_eq!(newest_glibc(b"\0GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.2.5\0GLIBC_PRIVATE\0"), Some(17));
        assert_eq!(newest_glibc(b"static"), None);
    }
}
