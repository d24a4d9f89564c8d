//! The receiver's faults, as a [`Weather`] has them.

use std::time::Duration;

use rig::{
    random::Random,
    receiver::{Arrival, FaultScript, Verdict},
};

use super::plan::Weather;

/// Pushes with a larger body get 413. A single line of the writer's never is so large.
const LARGE_BYTES: u64 = 28 << 10;

/// A full batch takes longer than the collector waits, at this rate.
const SLOW_BYTES_PER_S: u64 = 8 << 10;

/// The receiver's faults in this weather.
pub fn faults(weather: Weather, mut random: Random) -> FaultScript {
    FaultScript::each(move |arrival| verdict(weather, arrival, &mut random))
}

fn verdict(weather: Weather, arrival: &Arrival, random: &mut Random) -> Verdict {
    let mostly = |random: &mut Random, status| match random.below(4) {
        0 => Verdict::Accept,
        _ => Verdict::status(status),
    };
    let often = |random: &mut Random, verdict| if random.one_in(2) { verdict } else { Verdict::Accept };
    match weather {
        // New streams are refused by the receiver's limits.
        Weather::Fair | Weather::Down | Weather::NoNewStreams => Verdict::Accept,
        Weather::Slow => match random.below(8) {
            0 => Verdict::AcceptAfter(super::storm::PUSH_TIMEOUT + Duration::from_millis(500)),
            _ => Verdict::AcceptAfter(Duration::from_millis(100 + random.below(900) as u64)),
        },
        Weather::SlowUplink => Verdict::Slow { bytes_per_s: SLOW_BYTES_PER_S << random.below(3) },
        Weather::Throttled => mostly(random, 429),
        Weather::Failing => mostly(random, 500),
        Weather::Unavailable => mostly(random, 503),
        Weather::TooLarge if arrival.content_length.is_some_and(|bytes| bytes > LARGE_BYTES) => Verdict::status(413),
        Weather::TooLarge => Verdict::Accept,
        Weather::CutOff => often(random, Verdict::CloseMidBody),
        Weather::Unanswered => often(random, Verdict::AcceptWithoutAnswer),
        Weather::Refusing => {
            let entries = 1 + random.below(3);
            often(random, Verdict::RefuseSome { entries })
        }
    }
}
