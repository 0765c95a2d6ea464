//! Means over the last events, kept as one number: haproxy's sliding windows.

/// Events that a mean is over.
pub const WINDOW: u64 = 512;

/// The sum after one more value; `events` so far, this one included.
#[must_use]
pub fn add(sum: u64, events: u64, value: u64) -> u64 {
    let leaving = if events > WINDOW { sum.div_ceil(WINDOW) } else { 0 };
    sum - leaving.min(sum) + value
}

/// The mean of a sum.
#[must_use]
pub fn mean(sum: u64, events: u64) -> u64 {
    sum.div_ceil(events.clamp(1, WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_follow_the_values() {
        let after = |values: &[u64]| {
            let sum = (1..).zip(values).fold(0, |sum, (events, value)| add(sum, events, *value));
            mean(sum, values.len() as u64)
        };
        assert_eq!(after(&[]), 0);
        assert_eq!(after(&[7]), 7);
        assert_eq!(after(&[1, 2]), 2, "rounded up");
        assert_eq!(after(&[10; 2000]), 10);
        assert!(after(&[vec![100; 512], vec![0; 5120]].concat()) <= 1);
    }
}
