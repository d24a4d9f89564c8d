//! Packages of suites or architectures that are not this machine's: downloaded, never installed.
//!
//! In: a folder, suites and perhaps an architecture. Out: apt with lists, cache and sources of its own in that folder, on
//! the mirror that the machine itself uses, or that DEBIAN_MIRROR names where the machine is another distribution's; the machine's own
//! lists and packages stay as they are.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::process::{self, output_of};

/// A Debian mirror.
#[derive(Debug, PartialEq)]
struct AptSource {
    uri: String,
    /// The keyring that signs it, where the machine's configuration names one.
    signed_by: Option<String>,
}

/// Debian's keys, as its package debian-archive-keyring installs them, which other distributions have too.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether packages of Debian can be fetched here, or why not.
pub fn can_fetch() -> Result<(), String> {
    if process::find("apt-get").is_none() || process::find("dpkg").is_none() {
        return Err("Debian's packages are fetched with its apt-get and dpkg, which are not here".into());
    }
    AptSource::find().map(drop).map_err(|error| error.to_string())
}

impl AptSource {
    /// The one that the environment names, else the one that the machine itself uses.
    fn find() -> anyhow::Result<Self> {
        match env::var("DEBIAN_MIRROR") {
            Ok(uri) if !uri.is_empty() => Ok(Self { uri, signed_by: Some(KEYRING.to_owned()) }),
            _ => Self::of_this_machine(),
        }
    }

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
            .context("the machine's apt sources name no Debian mirror; set DEBIAN_MIRROR to one, and install debian-archive-keyring")
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

/// Mirrors of Debian's own archive end like this, by its mirror policy; security updates and other archives do not.
fn is_debian(uri: &str) -> bool {
    uri.trim_end_matches('/').ends_with("/debian")
}

/// Which packages are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    /// Suites of Debian, such as `trixie-backports`.
    pub suites: &'a [&'a str],
    /// Debian's name of an architecture, such as `arm64`; this machine's if none is given.
    pub architecture: Option<&'a str>,
}

/// apt with state, cache and sources in a folder of its own; proxies and the like stay the machine's.
pub struct PrivateApt {
    folder: PathBuf,
    configuration: PathBuf,
    mirror: String,
}

impl PrivateApt {
    /// Writes the configuration into `folder/apt`.
    pub fn new(folder: &Path, archive: &Archive<'_>) -> anyhow::Result<Self> {
        let source = AptSource::find()?;
        let apt = folder.join("apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(part)).with_context(|| format!("cannot make {}", apt.display()))?;
        }
        let options = source.signed_by.as_ref().map(|keyring| format!("[signed-by={keyring}] ")).unwrap_or_default();
        let lines: String =
            archive.suites.iter().map(|suite| format!("deb {options}{} {suite} main\n", source.uri)).collect();
        let at = apt.display();
        let architecture = archive
            .architecture
            .map(|name| format!("APT::Architecture \"{name}\";\nAPT::Architectures {{\"{name}\";}};\n"));
        fs::write(apt.join("status"), "")?;
        fs::write(apt.join("sources.list"), lines)?;
        let configuration = apt.join("apt.conf");
        fs::write(
            &configuration,
            format!(
                "{}Dir::State \"{at}/state\";\n\
                 Dir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}/cache\";\n\
                 Dir::Etc::SourceList \"{at}/sources.list\";\n\
                 Dir::Etc::SourceParts \"/dev/null\";\n\
                 APT::Sandbox::User \"\";\n",
                architecture.unwrap_or_default()
            ),
        )?;
        Ok(Self { folder: folder.to_path_buf(), configuration, mirror: source.uri })
    }

    pub fn mirror(&self) -> &str {
        &self.mirror
    }

    /// Fetches NAME or NAME=VERSION, and unpacks it into a folder.
    pub fn unpack(&self, package: &str, to: &Path) -> anyhow::Result<()> {
        self.run("apt-get", &["download", package])?;
        unpack_all(&self.folder, to)
    }

    /// The same of several packages and all that they depend on.
    pub fn unpack_with_dependencies(&self, packages: &[&str], to: &Path) -> anyhow::Result<()> {
        let install = ["install", "--download-only", "--yes", "--no-install-recommends"];
        self.run("apt-get", &[&install, packages].concat())?;
        unpack_all(&self.folder.join("apt/cache/archives"), to)
    }

    /// The output of a program of apt, run in the folder: `apt-get download` leaves its packages there.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(program);
        output_of(command.args(arguments).current_dir(&self.folder).env("APT_CONFIG", &self.configuration))
    }
}

/// The packages in a folder, which are removed from there.
fn unpack_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut packages = 0;
    for entry in fs::read_dir(from)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            output_of(Command::new("dpkg").arg("-x").arg(&package).arg(to))?;
            fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
            packages += 1;
        }
    }
    ensure!(packages > 0, "apt-get left no package in {}", from.display());
    Ok(())
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
