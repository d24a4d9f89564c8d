//! Which of some known words a misspelt one is meant to be.

/// The known word that is most like `name`, if one is.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    closest(name, known).filter(|(distance, known)| *distance <= 1 + known.len() / 3).map(|(_, known)| known)
}

/// The known word of the smallest distance, however far it is, and that distance in letters; case and dashes do not count.
pub fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<(usize, &'k str)> {
    let normal = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = normal(name);
    known.into_iter().map(|known| (strsim::osa_distance(&wanted, &normal(known)), known)).min()
}
