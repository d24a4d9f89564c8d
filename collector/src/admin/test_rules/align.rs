//! Which expected entry belongs to which that came: so that one that is missing does not make all after it look wrong.

use super::{
    compare::{Difference, differences, missing, unexpected},
    outcome::Got,
};
use crate::config::Expectation;

/// An expected entry, what came for it, and how they differ. One of the two may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'t> {
    pub expected: Option<&'t Expectation>,
    pub got: Option<&'t Got>,
    pub differences: Vec<Difference>,
}

/// What one that has nothing beside it costs; two that differ cost less than leaving both alone, unless they are quite other.
const ALONE: usize = 3;

/// Pairs them in their order, with the least differences.
pub fn rows<'t>(expected: &'t [Expectation], got: &'t [Got]) -> Vec<Row<'t>> {
    let (height, width) = (expected.len() + 1, got.len() + 1);
    let mut best = vec![vec![(0, Move::End); width]; height];
    for i in (0..height).rev() {
        for j in (0..width).rev() {
            let mut moves = Vec::new();
            if i + 1 < height && j + 1 < width {
                moves.push((best[i + 1][j + 1].0 + cost(&expected[i], &got[j]), Move::Both));
            }
            if i + 1 < height {
                moves.push((best[i + 1][j].0 + ALONE, Move::Expected));
            }
            if j + 1 < width {
                moves.push((best[i][j + 1].0 + ALONE, Move::Got));
            }
            if let Some(least) = moves.into_iter().min_by_key(|(cost, _)| *cost) {
                best[i][j] = least;
            }
        }
    }
    let (mut i, mut j, mut rows) = (0, 0, Vec::new());
    loop {
        match best[i][j].1 {
            Move::End => return rows,
            Move::Both => {
                let differences = differences(&expected[i], &got[j]);
                rows.push(Row { expected: Some(&expected[i]), got: Some(&got[j]), differences });
                (i, j) = (i + 1, j + 1);
            }
            Move::Expected => {
                rows.push(Row { expected: Some(&expected[i]), got: None, differences: missing(&expected[i]) });
                i += 1;
            }
            Move::Got => {
                rows.push(Row { expected: None, got: Some(&got[j]), differences: unexpected(&got[j]) });
                j += 1;
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Move {
    End,
    Both,
    Expected,
    Got,
}

fn cost(expected: &Expectation, got: &Got) -> usize {
    let differences = differences(expected, got);
    let weight = |difference: &Difference| match difference.of.as_str() {
        // One is dropped, the other is not.
        "" => 5,
        "line" => 3,
        _ => 1,
    };
    // Two that differ in everything but are both there belong together all the same.
    differences.iter().map(weight).sum::<usize>().min(2 * ALONE - 1)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::What;
    use super::*;
    use crate::admin::rules::Sent;

    fn entry(line: u64, text: &str) -> Got {
        let sent = Sent { line: text.into(), ..Sent::default() };
        Got { line, what: What::Entry { sent, labels: Vec::new(), metadata: Vec::new() } }
    }

    fn expect(text: &str) -> Expectation {
        Expectation { line: Some(text.into()), ..Default::default() }
    }

    #[test]
    fn one_that_is_missing_leaves_the_others_beside_their_own() {
        let expected = [expect("a"), expect("b"), expect("c")];
        let got = [entry(1, "a"), entry(3, "c")];
        let rows = rows(&expected, &got);
        let differing: Vec<bool> = rows.iter().map(|row| !row.differences.is_empty()).collect();
        assert_eq!(differing, [false, true, false]);
        assert_eq!((rows[1].expected, rows[1].got), (Some(&expected[1]), None));
    }

    #[test]
    fn one_too_many_is_found_and_one_that_is_other_stands_beside_what_was_expected() {
        let expected = [expect("a"), expect("b")];
        let got = [entry(1, "x"), entry(2, "a"), entry(3, "c")];
        let rows = rows(&expected, &got);
        assert_eq!((rows[0].expected, rows[0].got), (None, Some(&got[0])));
        assert_eq!((rows[1].differences.len(), rows[2].differences.len()), (0, 1));
        assert_eq!((rows[2].expected, rows[2].got), (Some(&expected[1]), Some(&got[2])));
    }
}
