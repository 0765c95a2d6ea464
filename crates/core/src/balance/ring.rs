//! Servers on a ring of 32-bit numbers, as haproxy's `hash-type consistent` places them: each at as many points as it has
//! weight, so that a server that comes or goes moves only its own clients.

/// Points that a server's number keeps for it.
const PER_SERVER: u32 = 4096;

/// The points, in their order, with whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ring {
    points: Vec<(u32, u32)>,
}

impl Ring {
    /// Of servers: number, index, weight.
    pub(super) fn new(servers: impl Iterator<Item = (u32, u32, u64)>) -> Ring {
        let mut points = Vec::new();
        for (number, index, weight) in servers {
            let weight = u32::try_from(weight).unwrap_or(PER_SERVER).min(PER_SERVER);
            let first = number.wrapping_mul(PER_SERVER);
            points.extend((0..weight).map(|point| (mix(first.wrapping_add(point)), index)));
        }
        points.sort_by_key(|(at, _)| *at);
        Ring { points }
    }

    /// Who is nearest to a hash, on either side, of those that are not to be avoided.
    pub(super) fn nearest(&self, hash: u32, avoid: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.points.len();
        let behind = self.points.partition_point(|(at, _)| *at < hash);
        let good = |at: &usize| !avoid(self.points[*at].1 as usize);
        let after = (0..count).map(|i| (behind + i) % count).find(good)?;
        let before = (1..=count).map(|i| (behind + count - i) % count).find(good)?;
        let (up, down) = (self.points[after].0.wrapping_sub(hash), hash.wrapping_sub(self.points[before].0));
        Some(self.points[if down <= up { before } else { after }].1 as usize)
    }
}

/// Spreads numbers that lie close together over all 32 bits (a full avalanche of Bob Jenkins, then a large prime).
pub(super) fn mix(number: u32) -> u32 {
    let mut a = number;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(numbers: &[u32]) -> Ring {
        Ring::new(numbers.iter().map(|number| (*number, *number, 160)))
    }

    #[test]
    fn a_server_that_goes_moves_only_its_own() {
        let (whole, less) = (ring(&[1, 2, 3]), ring(&[1, 3]));
        let mut counts = [0; 4];
        for hash in (0..10_000u32).map(mix) {
            let owner = whole.nearest(hash, |_| false).unwrap();
            counts[owner] += 1;
            if owner != 2 {
                assert_eq!(less.nearest(hash, |_| false), Some(owner));
            }
            assert_eq!(whole.nearest(hash, |i| i == 2), less.nearest(hash, |_| false), "avoided is as if it were gone");
        }
        assert!(counts[1..].iter().all(|count| (2000..5000).contains(count)), "{counts:?}");
    }

    #[test]
    fn nobody_is_near_on_an_empty_ring() {
        assert_eq!(Ring::default().nearest(7, |_| false), None);
        assert_eq!(ring(&[1]).nearest(7, |_| true), None);
        assert_eq!(ring(&[1]).nearest(u32::MAX, |_| false), Some(1));
    }
}
