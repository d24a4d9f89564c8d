//! Scales: where a value lies between the first and the last tick, and which ticks there are.

/// How values become lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// In proportion.
    FromZero,
    /// By their logarithm, for values that differ by orders of magnitude. All are above 0.
    Logarithmic,
}

impl Scale {
    /// 0 at the first tick, 1 at the last.
    pub fn part(self, value: f64, ticks: &[f64]) -> f64 {
        let (first, last) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
        match self {
            Self::FromZero => (value - first) / (last - first),
            Self::Logarithmic => (value.max(first) / first).ln() / (last / first).ln(),
        }
    }
}

/// Round numbers, rising, of which the first is not over any value and the last not below one.
pub fn ticks(scale: Scale, values: &[f64]) -> Vec<f64> {
    // Where all are 0 a scale still needs a length.
    let largest = values.iter().copied().filter(|value| *value > 0.0).reduce(f64::max).unwrap_or(1.0);
    match scale {
        Scale::FromZero => {
            let step = round_up(largest / 5.0);
            let count = (largest / step - 1e-9).ceil().max(1.0) as u32;
            (0..=count).map(|i| f64::from(i) * step).collect()
        }
        Scale::Logarithmic => {
            let smallest = values.iter().copied().filter(|value| *value > 0.0).fold(largest, f64::min);
            let (mut tick, mut ticks) = (round_down(smallest), Vec::new());
            loop {
                ticks.push(tick);
                if tick >= largest && ticks.len() > 1 {
                    return ticks;
                }
                tick = round_up(tick * 1.5);
            }
        }
    }
}

/// As short as it is: 0.5, 20.
pub fn label(tick: f64) -> String {
    let text = format!("{tick:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// 1, 2 or 5 with a power of ten: the least that is not below `value`, which is above 0.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powi(value.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// The largest of them that is not over `value`.
fn round_down(value: f64) -> f64 {
    let power = 10f64.powi(value.log10().floor() as i32);
    let steps = [5.0, 2.0, 1.0].map(|digit| digit * power);
    steps.into_iter().find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_from_zero_ends_at_a_round_number_over_all_values() {
        assert_eq!(ticks(Scale::FromZero, &[19.0, 152.0]), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(ticks(Scale::FromZero, &[0.5, 1.0]).last(), Some(&1.0));
        for nothing in [&[][..], &[0.0]] {
            assert_eq!(ticks(Scale::FromZero, nothing).last(), Some(&1.0));
        }
    }

    #[test]
    fn a_logarithmic_scale_has_all_values_and_no_zero() {
        let ticks = ticks(Scale::Logarithmic, &[0.63, 40.6]);
        let labels: Vec<_> = ticks.iter().map(|tick| label(*tick)).collect();
        assert_eq!(labels, ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert!((Scale::Logarithmic.part(5.0, &ticks) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::Logarithmic.part(0.0, &ticks), 0.0);
        assert_eq!(super::ticks(Scale::Logarithmic, &[1.0]), [1.0, 2.0]);
    }
}
