//! What there is to read, and what is known of it.

pub mod docker;
pub mod kubernetes;
