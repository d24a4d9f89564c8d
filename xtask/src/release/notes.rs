//! The notes of a release: its section of CHANGELOG.md.

use std::fs;

use anyhow::Context;

use crate::process;

/// What CHANGELOG.md says of `version`; an error where it has no such section.
pub fn of_version(version: &str) -> anyhow::Result<String> {
    let path = process::workspace_root().join("CHANGELOG.md");
    let log = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    section(&log, version).with_context(|| format!("CHANGELOG.md has no section `## {version}`")).map(str::to_owned)
}

/// The text between `## VERSION` and the next such heading.
fn section<'a>(log: &'a str, version: &str) -> Option<&'a str> {
    let mut rest = log;
    loop {
        let start = rest.find("\n## ")? + "\n## ".len();
        rest = &rest[start..];
        let heading = rest.lines().next()?;
        if heading.split(' ').next() == Some(version) {
            let body = &rest[heading.len()..];
            return Some(body.find("\n## ").map_or(body, |end| &body[..end]).trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "# Changelog\n\n## Unreleased\n\nx\n\n## 0.2.0 (2027-01-01)\n\n- two\n\n### Fixed\n\n- it\n\n## 0.1.0\n\n- one\n";

    #[test]
    fn a_version_s_notes_end_where_the_next_version_begins() {
        assert_eq!(section(LOG, "0.2.0"), Some("- two\n\n### Fixed\n\n- it"));
        assert_eq!(section(LOG, "0.1.0"), Some("- one"));
        assert_eq!(section(LOG, "0.2"), None);
    }
}
