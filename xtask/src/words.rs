//! Words that a reader from the field does not know in this meaning, in documents, comments and messages.
//!
//! In: the files that git knows. Out: an error with every place, and the word to use instead.

use anyhow::bail;

use crate::process;

/// What is not written, and what is. Kept short: only what has been written here before. The first column is in halves, so that
/// this file passes.
const INSTEAD: [(&str, &str, &str); 7] = [
    ("me", "nd ", "fix"),
    ("said al", "oud", "report"),
    ("to be h", "ad", "available"),
    ("growth is noti", "ced", "detect"),
    ("whose it ", "is", "its owner"),
    ("auto comes ", "to", "selects"),
    ("can n", "ot ", "cannot"),
];

/// Checks Markdown, Rust, YAML and shell.
pub fn check() -> anyhow::Result<()> {
    let kinds = ["*.md", "*.rs", "*.yaml", "*.sh", ":!collector/tests/data", ":!collector/fuzz/corpus"];
    let mut found = Vec::new();
    for (name, text) in process::tracked_texts(&kinds)? {
        found.extend(found_in(&text).map(|(line, instead)| format!("{name}:{line}: say {instead}")));
    }
    if !found.is_empty() {
        bail!("words of our own (xtask/src/words.rs):\n{}", found.join("\n"));
    }
    Ok(())
}

/// The number of each line with such a word, and what to write.
fn found_in(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let words = INSTEAD.map(|(first, second, instead)| (format!(" {first}{second}"), instead));
    text.lines().enumerate().flat_map(move |(index, line)| {
        let line = format!(" {line} ").to_lowercase();
        words.clone().into_iter().filter(move |(word, _)| line.contains(word)).map(move |(_, say)| (index + 1, say))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_word_is_found_with_its_line_and_the_fields_word() {
        let text = ["Nothing here: amendments.", "It is not to be h", "ad."].join("\n").replace("h\nad", "had");
        assert_eq!(found_in(&text).collect::<Vec<_>>(), [(2, "available")]);
        assert_eq!(found_in("an amended one, recommend it").count(), 0);
    }
}
