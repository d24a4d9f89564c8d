//! What there is to read, and what is known of it.

pub mod kubernetes;
