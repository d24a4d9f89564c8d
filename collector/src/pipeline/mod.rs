//! What becomes of lines between being read and being sent: labels once per stream.

pub mod relabel;
