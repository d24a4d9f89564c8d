//! The commands beside `pilcrow run`.

pub mod check;
pub mod doctor;
pub mod import_positions;
