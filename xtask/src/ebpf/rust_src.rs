//! The sources of the standard library, of exactly the compiler's version: `core` is built for the BPF target from them.
//!
//! The toolchain's own if they are there; else rustup's component rust-src; else, where rustup has no server, the
//! distribution's package rust-src, unpacked into the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{Compiler, output};

/// The suite of Debian that has a package rust-src for new compilers.
const SUITE: &str = "trixie-backports";

/// Where the sources are.
pub enum RustSrc {
    /// Where cargo looks for them.
    Toolchain,
    /// In another folder, which cargo must be told.
    Elsewhere {
        /// The folder `library` of Rust's source tree.
        library: PathBuf,
    },
}

impl RustSrc {
    /// Finds them or fetches them.
    pub fn find_or_fetch(compiler: &Compiler, target: &Path) -> anyhow::Result<Self> {
        if in_toolchain(compiler) {
            println!("build-ebpf: using the toolchain's rust-src");
            return Ok(Self::Toolchain);
        }
        let folder = target.join("rust-src");
        let library = folder.join(format!("usr/src/rustc-{}/library", compiler.release));
        if is_library(&library) {
            println!("build-ebpf: using {}", library.display());
            return Ok(Self::Elsewhere { library });
        }
        let rustup_error = match add_component() {
            Ok(()) if in_toolchain(compiler) => {
                println!("build-ebpf: added rust-src with rustup");
                return Ok(Self::Toolchain);
            }
            Ok(()) => "the toolchain still has no rust-src after `rustup component add rust-src`".into(),
            Err(error) => format!("{error:#}"),
        };
        println!("build-ebpf: rustup has no rust-src here; trying the package rust-src of Debian {SUITE}");
        fetch_package(compiler, &folder).with_context(|| {
            format!(
                "no rust-src for Rust {}; make `rustup component add rust-src` work (it said: {rustup_error})",
                compiler.release
            )
        })?;
        if !is_library(&library) {
            bail!("the package rust-src has no {}", library.display());
        }
        println!("build-ebpf: using {}", library.display());
        Ok(Self::Elsewhere { library })
    }
}

fn in_toolchain(compiler: &Compiler) -> bool {
    is_library(&compiler.sysroot.join("lib/rustlib/src/rust/library"))
}

/// Whether cargo can build the standard library from this folder.
fn is_library(folder: &Path) -> bool {
    folder.join("Cargo.lock").is_file() && folder.join("core/src/lib.rs").is_file()
}

fn add_component() -> anyhow::Result<()> {
    println!("build-ebpf: rustup component add rust-src");
    output(Command::new("rustup").args(["component", "add", "rust-src"])).map(drop)
}

/// Downloads and unpacks the package with an apt configuration of its own: the machine's lists, cache and packages stay
/// as they are.
fn fetch_package(compiler: &Compiler, folder: &Path) -> anyhow::Result<()> {
    let source = AptSource::of_this_machine()?;
    let apt = PrivateApt::new(folder, &source)?;
    println!("build-ebpf: apt-get update, {} {SUITE}", source.uri);
    apt.run("apt-get", &["update"])?;
    let versions = apt.run("apt-cache", &["madison", "rust-src"])?;
    let prefix = format!("{}+", compiler.release);
    let version = versions
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| version.starts_with(&prefix))
        .with_context(|| format!("{SUITE} has no rust-src {}, only:\n{versions}", compiler.release))?;
    println!("build-ebpf: apt-get download rust-src={version}");
    apt.run("apt-get", &["download", &format!("rust-src={version}")])?;
    let package = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    output(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
    fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))
}

/// A Debian mirror.
#[derive(Debug, PartialEq)]
struct AptSource {
    uri: String,
    /// The keyring that signs it, where the machine's configuration names one.
    signed_by: Option<String>,
}

impl AptSource {
    /// The mirror that the machine itself uses.
    fn of_this_machine() -> anyhow::Result<Self> {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
        }
        files.sort();
        files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .find_map(|text| Self::parse(&text))
            .context("the machine's apt sources name no Debian mirror")
    }

    /// The first Debian mirror in a file of one-line entries or deb822 stanzas.
    fn parse(text: &str) -> Option<Self> {
        text.split("\n\n").find_map(Self::parse_stanza).or_else(|| text.lines().find_map(Self::parse_line))
    }

    fn parse_stanza(stanza: &str) -> Option<Self> {
        let field = |name: &str| {
            stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
        };
        let uri = field("URIs")?.split_whitespace().find(|uri| is_debian(uri))?.to_owned();
        Some(Self { uri, signed_by: field("Signed-By").filter(|path| path.starts_with('/')) })
    }

    fn parse_line(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let uri = rest.split_whitespace().next().filter(|uri| is_debian(uri))?.to_owned();
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        Some(Self { uri, signed_by: signed_by.map(str::to_owned) })
    }
}

/// Mirrors of Debian's own archive end so, by its mirror policy; security updates and other people's archives do not.
fn is_debian(uri: &str) -> bool {
    uri.trim_end_matches('/').ends_with("/debian")
}

/// apt with state, cache and sources in a folder of its own; proxies and the like stay the machine's.
struct PrivateApt {
    folder: PathBuf,
    configuration: PathBuf,
}

impl PrivateApt {
    fn new(folder: &Path, source: &AptSource) -> anyhow::Result<Self> {
        let apt = folder.join("apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(part)).with_context(|| format!("cannot make {}", apt.display()))?;
        }
        let options = source.signed_by.as_ref().map(|keyring| format!("[signed-by={keyring}] ")).unwrap_or_default();
        let at = apt.display();
        fs::write(apt.join("status"), "")?;
        fs::write(apt.join("sources.list"), format!("deb {options}{} {SUITE} main\n", source.uri))?;
        let configuration = apt.join("apt.conf");
        fs::write(
            &configuration,
            format!(
                "Dir::State \"{at}/state\";\n\
                 Dir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}/cache\";\n\
                 Dir::Etc::SourceList \"{at}/sources.list\";\n\
                 Dir::Etc::SourceParts \"/dev/null\";\n\
                 APT::Sandbox::User \"\";\n"
            ),
        )?;
        Ok(Self { folder: folder.to_path_buf(), configuration })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(program);
        output(command.args(arguments).current_dir(&self.folder).env("APT_CONFIG", &self.configuration))
    }
}

#[cfg(test)]
mod tests {
    use super::AptSource;

    #[test]
    fn the_mirror_of_a_deb822_stanza_comes_with_its_keyring() {
        let text = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: stable-security\n\n\
                    Types: deb\n# a comment\nURIs: http://mirror.example/debian/\nSuites: stable\n\
                    Signed-By: /usr/share/keyrings/debian.gpg\n";
        let signed_by = Some("/usr/share/keyrings/debian.gpg".to_owned());
        let expected = AptSource { uri: "http://mirror.example/debian/".into(), signed_by };
        assert_eq!(AptSource::parse(text), Some(expected));
    }

    #[test]
    fn the_mirror_of_a_one_line_entry_comes_with_its_keyring() {
        let text = "# deb http://old.example/debian stable main\n\
                    deb http://other.example/packages stable main\n\
                    deb [arch=amd64 signed-by=/etc/key.gpg] http://mirror.example/debian stable main\n";
        let expected = AptSource { uri: "http://mirror.example/debian".into(), signed_by: Some("/etc/key.gpg".into()) };
        assert_eq!(AptSource::parse(text), Some(expected));
    }

    #[test]
    fn another_distribution_has_no_debian_mirror() {
        assert_eq!(AptSource::parse("deb http://archive.example/ubuntu noble main\n"), None);
    }
}
