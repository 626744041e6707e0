//! Lost records: told as they are noticed, at each sweep and before each answer about the engine's state.
//!
//! Input: what the kernel programs counted. Output: a fact per domain and cause in which there are new losses. Failure: none.

use agent_common::domain::{DOMAIN_SLOTS, Domain};

use super::Engine;
use crate::metrics::fact::{LossCause, RecordsLost};

/// Lost records by domain and cause, as far as they were told.
#[derive(Debug, Default)]
pub(super) struct Losses([[u64; LossCause::ALL.len()]; DOMAIN_SLOTS]);

impl Losses {
    /// How many more there are than were told; they count as told from now on.
    fn advance(&mut self, domain: Domain, cause: LossCause, lost: u64) -> u64 {
        let told = &mut self.0[domain as usize][cause as usize];
        let records = lost.saturating_sub(*told);
        *told = lost.max(*told);
        records
    }
}

impl Engine {
    /// Tells what was lost since the last time; the first time, what was lost while no agent ran.
    pub(super) fn tell_losses(&mut self) {
        for counters in self.counters_of_all().views() {
            for cause in LossCause::ALL {
                let lost = match cause {
                    LossCause::Ring => counters.lost_ring,
                    LossCause::Quota => counters.lost_quota,
                };
                let domain = counters.domain;
                let records = self.losses_told.advance(domain, cause, lost);
                if records > 0 {
                    self.metrics.tell(&RecordsLost {
                        domain,
                        cause,
                        records,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_once_and_a_container_that_is_gone_takes_nothing_back() {
        let mut told = Losses::default();
        assert_eq!(told.advance(Domain::Exec, LossCause::Ring, 3), 3);
        assert_eq!(told.advance(Domain::Exec, LossCause::Ring, 3), 0);
        assert_eq!(told.advance(Domain::Exec, LossCause::Quota, 2), 2);
        assert_eq!(told.advance(Domain::File, LossCause::Ring, 1), 1);
        assert_eq!(told.advance(Domain::Exec, LossCause::Ring, 1), 0);
        assert_eq!(told.advance(Domain::Exec, LossCause::Ring, 5), 2);
    }
}
