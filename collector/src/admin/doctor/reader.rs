//! Whether io_uring is available: tried for real, as no file shows what seccomp forbids.

use super::Finding;
use crate::{
    config::{Config, ReaderChoice},
    tail::read::{UringReader, uring_refusal},
};

/// Sets up what the reader side sets up: a ring with the pool's buffers registered.
pub(super) fn io_uring(config: &Config) -> Finding {
    match UringReader::open() {
        Ok(_) => Finding::ok("reader", "io_uring", "can be used"),
        Err(error) => {
            let found = format!("cannot be used: {}", uring_refusal(&error));
            match config.reader.backend {
                ReaderChoice::IoUring => Finding::fail("reader", "io_uring", found, "or set reader.backend to auto"),
                _ => Finding::warn("reader", "io_uring", found, "until then pread is used"),
            }
        }
    }
}
