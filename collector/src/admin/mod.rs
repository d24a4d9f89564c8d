//! The commands beside `pilcrow run`.

pub mod check;
pub mod doctor;
pub mod import_positions;
pub mod migrate;
pub mod remote;
pub mod rules;
pub mod terminal;
pub mod test_rules;
pub mod try_rules;
