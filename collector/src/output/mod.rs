//! Where lines go.

pub mod loki;
