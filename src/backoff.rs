//! Exponential backoff with jitter. A pure function of attempt and randomness.

use std::time::Duration;

/// `initial`, doubled per attempt, at most `max`; ± 10 % jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait after failure number `attempt` (the first is 1). `noise` is uniform in 0..=1.
    pub fn delay(&self, attempt: u32, noise: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let base = self.initial.saturating_mul(1 << doublings).min(self.max);
        base.mul_f64(0.9 + 0.2 * noise.clamp(0.0, 1.0))
    }
}

/// A small random generator (SplitMix64), seeded from outside, so that a run can be repeated.
/// For jitter and salts; not for keys.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / 9_007_199_254_740_992.0; // 2^-53
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let x = (self.next_u64() >> 11) as f64;
        x * SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_half_a_second_to_the_cap() {
        let backoff = Backoff::default();
        let ms: Vec<_> = (1..=9).map(|n| backoff.delay(n, 0.5).as_millis()).collect();
        assert_eq!(ms, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(1, 0.0), Duration::from_millis(450));
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(550));
        assert_eq!(backoff.delay(u32::MAX, 7.0), Duration::from_secs(33));
    }

    #[test]
    fn noise_is_repeatable_and_spread() {
        let (mut a, mut b) = (Noise::new(7), Noise::new(7));
        let xs: Vec<_> = (0..1000).map(|_| a.unit()).collect();
        assert!(xs.iter().all(|x| (0.0..1.0).contains(x) && x.to_bits() == b.unit().to_bits()));
        let mean = xs.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
