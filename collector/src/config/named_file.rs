//! Reading the files that the configuration names: secrets, certificates, a kubeconfig.
//!
//! In: a path. Out: the file's content. Guarantees that nobody is waited for: what is no regular file (a FIFO that nobody writes to, a
//! terminal, a device without an end) is an error that names the fix. Knows nothing of what the content means.

use std::{
    fs::{File, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

/// Of one file. A bundle of all public certificate authorities has some 250 KB.
const BYTES_MAX: u64 = 4 << 20;

/// The content of a file that the configuration names.
///
/// # Errors
/// Where it cannot be opened or read, is no regular file, or has more than 4 MiB.
pub fn read_named_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_named_file(path)?.take(BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {} MiB: name the right file", BYTES_MAX >> 20)));
    }
    Ok(content)
}

/// Opens a file that the configuration names.
///
/// # Errors
/// Where it cannot be opened or is no regular file.
pub fn open_named_file(path: &Path) -> io::Result<File> {
    // Opening a FIFO waits for who writes to it, and opening some devices for them.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!("it is {}: name a regular file, or a link to one", name_of(kind))))
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_dir() => "a folder",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "no regular file",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// Makes a FIFO, which nobody opens.
    pub(crate) fn make_fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }

    #[test]
    fn a_fifo_a_device_and_a_folder_are_errors_that_name_the_fix_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [fifo, link, file] = ["fifo", "link", "file"].map(|name| folder.path().join(name));
        make_fifo(&fifo);
        fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_named_file(&link).unwrap(), b"content");
        for (path, what) in [(&*fifo, "a FIFO"), (Path::new("/dev/zero"), "a device"), (folder.path(), "a folder")] {
            let error = read_named_file(path).unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}: name a regular file, or a link to one"));
        }
    }

    #[test]
    fn a_file_without_an_end_is_not_read_into_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        let error = read_named_file(file.path()).unwrap_err().to_string();
        assert_eq!(error, "it has more than 4 MiB: name the right file");
    }
}
