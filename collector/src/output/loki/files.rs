//! Files that may be replaced while Pilcrow runs: secrets and certificates, which Kubernetes renews in place.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::config::read_named_file;

/// Tells one version of a file from the next: device, inode, size, time of change in seconds and nanoseconds.
type Version = Option<(u64, u64, u64, i64, i64)>;

fn version(path: &Path) -> Version {
    // Follows symbolic links: the kubelet renews a volume by pointing a link elsewhere.
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
}

/// Some files and the versions in which they were last seen.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    files: Vec<(PathBuf, Version)>,
}

impl WatchedFiles {
    /// Empty paths are left out.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let named = paths.into_iter().filter(|path| !path.as_os_str().is_empty());
        Self { files: named.map(|path| (path.to_owned(), version(path))).collect() }
    }

    /// Whether one of them changed since the last call.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.files {
            let now = version(path);
            changed |= now != *known;
            *known = now;
        }
        changed
    }
}

/// A secret from a file, its trailing newline left out.
///
/// # Errors
/// Names `key` of the configuration and the file, never its content.
pub(super) fn read_secret(key: &str, path: &Path) -> Result<String> {
    let unreadable = || format!("{key}: cannot read {}", path.display());
    let text = String::from_utf8(read_named_file(path).with_context(unreadable)?).with_context(unreadable)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!secret.is_empty(), "{key}: {} is empty", path.display());
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_rewritten_removed_or_relinked_file_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, link) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("link"));
        fs::write(&a, "1").unwrap();
        fs::write(&b, "1").unwrap();
        std::os::unix::fs::symlink(&a, &link).unwrap();
        let mut files = WatchedFiles::new([link.as_path(), Path::new("")]);
        assert!(!files.changed());
        fs::remove_file(&link).unwrap();
        assert!(files.changed());
        assert!(!files.changed());
        std::os::unix::fs::symlink(&b, &link).unwrap();
        assert!(files.changed());
        fs::write(&b, "longer").unwrap();
        assert!(files.changed());
        assert!(!files.changed());
    }

    #[test]
    fn a_secret_loses_its_newline_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, " pass word \r\n").unwrap();
        assert_eq!(read_secret("loki.bearer_token_file", &path).unwrap(), " pass word ");
        fs::write(&path, "\n").unwrap();
        let error = format!("{:#}", read_secret("loki.bearer_token_file", &path).unwrap_err());
        assert!(error.contains("loki.bearer_token_file") && error.contains("is empty"), "{error}");
    }
}
