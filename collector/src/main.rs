//! The command line of `pilcrow`.

fn main() {}
