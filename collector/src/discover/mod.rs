//! Which log files exist, whose they are and in which order they come.
//!
//! In: the kubelet's folder of pod logs. Out: containers, each a chain of files, oldest first. Knows no lines and no
//! Loki.

/// A container, as the reader side numbers them. Never reused while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub u32);
