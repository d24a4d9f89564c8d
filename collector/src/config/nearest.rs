//! Which of some known words a misspelt one is meant to be.

/// The known word that is most like `name`, if one is.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let normal = name.to_ascii_lowercase().replace('-', "_");
    let distances = known.into_iter().map(|known| (strsim::osa_distance(&normal, &known.to_ascii_lowercase()), known));
    distances.min().filter(|(distance, known)| *distance <= 1 + known.len() / 3).map(|(_, known)| known)
}
