//! Links of the documents: every one within the repository leads to a file, and to a heading of it.
//!
//! In: the Markdown files. Out: an error that lists every broken link. Links into the web are not followed, so that the check
//! gives the same answer without a network.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::process;

/// Checks every Markdown file that git knows, and that docs/SUMMARY.md, the book's contents, lists every page of docs/.
pub fn check() -> anyhow::Result<()> {
    let root = process::workspace_root();
    let listed = process::output_of(process::in_workspace("git").args(["ls-files", "*.md"]))?;
    let files: Vec<PathBuf> = listed.lines().map(|name| root.join(name)).filter(|path| path.exists()).collect();
    let mut broken = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file)?;
        for link in links_of(&text) {
            if let Err(reason) = leads_somewhere(file, &text, link) {
                broken.push(format!("{}: {link}: {reason}", file.strip_prefix(&root)?.display()));
            }
        }
    }
    let docs = root.join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).context("cannot read docs/SUMMARY.md")?;
    let in_book: HashSet<_> = links_of(&summary).into_iter().collect();
    for file in files.iter().filter(|file| file.parent() == Some(&docs) && !file.ends_with("SUMMARY.md")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !in_book.contains(name.as_ref()) {
            broken.push(format!("docs/SUMMARY.md lacks {name}"));
        }
    }
    if !broken.is_empty() {
        bail!("broken links:\n{}", broken.join("\n"));
    }
    println!("the links of {} documents lead somewhere", files.len());
    Ok(())
}

/// Targets of `[…](…)`, but for those in code.
fn links_of(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            let is_code = rest[..at].matches('`').count() % 2 == 1;
            rest = &rest[at + 2..];
            if let Some(end) = rest.find(')').filter(|_| !is_code) {
                links.push(&rest[..end]);
            }
        }
    }
    links
}

fn leads_somewhere(file: &Path, text: &str, link: &str) -> Result<(), String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = file.parent().unwrap_or(file).join(path);
    if !path.is_empty() && !target.exists() {
        return Err("there is no such file".into());
    }
    let Some(heading) = heading else { return Ok(()) };
    let other = if path.is_empty() { text.to_owned() } else { fs::read_to_string(&target).unwrap_or_default() };
    if !headings_of(&other).contains(heading) {
        return Err("there is no such heading".into());
    }
    Ok(())
}

/// Headings as GitHub and mdBook name them in links.
fn headings_of(text: &str) -> HashSet<String> {
    let mut in_code = false;
    let mut headings = HashSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if let Some(heading) = line.strip_prefix('#').filter(|_| !in_code) {
            let heading = heading.trim_start_matches('#').trim();
            let name: String = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            headings.insert(name);
        }
    }
    headings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_are_none_and_all_others_are_found() {
        let text = "[a](a.md) and [b](../b#c)\n`let [x](y)`\n```sh\n[z](z)\n```\n[web](https://example.com)\n";
        assert_eq!(links_of(text), ["a.md", "../b#c", "https://example.com"]);
    }

    #[test]
    fn headings_have_the_names_that_links_use() {
        let headings = headings_of("# Pod security\n```\n# no\n```\n## Rules: relabel_configs\n### What's left out?\n");
        let mut names: Vec<_> = headings.into_iter().collect();
        names.sort();
        assert_eq!(names, ["pod-security", "rules-relabel_configs", "whats-left-out"]);
    }
}
