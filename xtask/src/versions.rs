//! The version in names of files and images that users copy from the documents and from deploy/.
//!
//! In: the files that git knows. Out: an error with each place that has another version than the programs.

use anyhow::bail;

use crate::process;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What stands in front of a version of Pilcrow.
const BEFORE: [&str; 6] =
    ["pilcrow-image-", "/pilcrow:", "pilcrow_", "charts/pilcrow --version ", "\nversion: ", "\nappVersion: "];

/// Checks the documents for users and everything that they install.
pub fn check() -> anyhow::Result<()> {
    let mut found = Vec::new();
    for (name, text) in process::tracked_texts(&["README.md", "docs/*.md", "deploy"])? {
        found.extend(others_in(&text).into_iter().map(|other| format!("{name}: {other}")));
    }
    if !found.is_empty() {
        bail!("another version than {VERSION}:\n{}", found.join("\n"));
    }
    Ok(())
}

/// Versions that are not this one, with what stands in front of them.
fn others_in(text: &str) -> Vec<String> {
    let named = BEFORE
        .into_iter()
        .flat_map(|before| text.match_indices(before).map(move |(at, _)| (before, &text[at + before.len()..])));
    named
        .filter(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()) && !rest.starts_with(VERSION))
        .map(|(before, rest)| format!("{}{}", before.trim_start(), rest.split_whitespace().next().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_version_of_pilcrow_is_found() {
        let text =
            format!("\nversion: {VERSION}\nload pilcrow-image-{VERSION}-linux-arm64.tar, loki:3.7.8, /pilcrow:$TAG");
        assert!(others_in(&text).is_empty());
        let old = "\nappVersion: 0.0.1\napt install ./pilcrow_0.0.1_arm64.deb, localhost/pilcrow:0.0.1\n";
        assert_eq!(others_in(old), ["/pilcrow:0.0.1", "pilcrow_0.0.1_arm64.deb,", "appVersion: 0.0.1"]);
    }
}
