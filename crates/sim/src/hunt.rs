//! Plans in which one mistake shows soon: ordinary clusters with the faults that bring it out.
//!
//! The same plans without the mistake must break nothing, so they are hard tests of the keeper, too.

use std::time::Duration;

use crate::faults::{Kind, Mix};
use crate::mistake::Mistake;
use crate::plan::{Plan, forget_voters};
use crate::rng::Rng;

/// A plan for a mistake.
#[must_use]
pub fn plan(mistake: Mistake, seed: u64) -> Plan {
    let mut rng = Rng::new(seed);
    let size = if mistake == Mistake::VotesAcrossDigests { 5 } else { 3 };
    let mut plan = Plan::sized(seed, size, &mut rng);
    plan.equalise();
    let (kinds, lasts): (&[Kind], _) = match mistake {
        Mistake::ValidityFromReply => (&[Kind::Crash], (1.0, 3.0)),
        Mistake::RemainingBeforePause => (&[Kind::Crash, Kind::Pause], (1.2, 3.0)),
        Mistake::NoEnd | Mistake::OneSidedMargin => (&[Kind::Crash, Kind::Pause, Kind::Freeze], (1.0, 4.0)),
        Mistake::NoQuietPeriod => (&[Kind::Crash, Kind::Reboot, Kind::Reinstall], (0.02, 0.5)),
        Mistake::VotesAcrossDigests => (&[Kind::Partition, Kind::Crash, Kind::Pause], (0.5, 3.0)),
        Mistake::StaleIncarnation => (&[Kind::Crash, Kind::Reboot, Kind::Pause], (0.02, 0.8)),
    };
    plan.faults = plan.lease * 60 + Duration::from_secs(6);
    plan.mix = Mix { kinds: kinds.to_vec(), every: (0.5, 3.0), lasts, pauses: 0 };
    match mistake {
        Mistake::ValidityFromReply => {
            far_apart(&mut plan);
            plan.weather.late = 300_000;
            plan.weather.late_max = plan.lease * 3 / 4;
        }
        Mistake::RemainingBeforePause => {
            far_apart(&mut plan);
            plan.mix.pauses = 6_000;
        }
        Mistake::OneSidedMargin => far_apart(&mut plan),
        Mistake::VotesAcrossDigests => {
            let id = rng.below(size);
            forget_voters(&mut plan.machines[id].settings, &mut rng);
            plan.plain = false;
        }
        Mistake::StaleIncarnation => {
            plan.weather.delay_max = plan.lease / 20;
            plan.weather.late = 100_000;
            plan.weather.twice = 200_000;
        }
        Mistake::NoEnd | Mistake::NoQuietPeriod => {}
    }
    plan
}

/// Clocks as far apart as allowed, on a quick network: so that margins are used up.
fn far_apart(plan: &mut Plan) {
    for (machine, rate) in plan.machines.iter_mut().zip([900_000, 1_100_000, 1_100_000]) {
        machine.clock.rate = rate;
    }
    plan.weather.delay_max = plan.lease / 1000;
    plan.weather.loss = 0;
    plan.weather.late = 0;
    plan.latency = plan.lease / 5000;
}
