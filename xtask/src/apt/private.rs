//! Packages of suites or architectures that are not this machine's: downloaded, never installed.
//!
//! In: a folder, suites and perhaps an architecture. Out: apt with lists, cache and sources of its own in that folder, on
//! the mirror that the machine itself uses; the machine's own lists and packages stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::process::output_of;

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
        let source = AptSource::of_this_machine()?;
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

    /// Where it leaves the packages that it fetches for an installation.
    pub fn archives(&self) -> PathBuf {
        self.folder.join("apt/cache/archives")
    }

    /// The output of a program of apt, run in the folder: `apt-get download` leaves its packages there.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(program);
        output_of(command.args(arguments).current_dir(&self.folder).env("APT_CONFIG", &self.configuration))
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
