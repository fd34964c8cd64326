//! Choices, all from one seed.

use std::time::Duration;

use env_manager::backoff::Noise;

pub struct Random(Noise);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Seeds are small numbers that follow each other: the first draws are thrown away with the pattern.
        let mut noise = Noise::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5157_a7e5);
        noise.next_u64();
        Self(noise)
    }

    /// A source of its own, so that what draws from it disturbs no other's choices.
    pub fn branch(&mut self) -> Self {
        Self(Noise::new(self.0.next_u64()))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// In `from..to`.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.0.next_u64() % (to - from).max(1)
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.range(0, len as u64)).unwrap_or_default()
    }

    /// One time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.range(0, n) == 0
    }

    /// `None`: of nothing.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.index(from.len())]) }
    }

    /// By weight.
    pub fn weighed<T: Copy>(&mut self, from: &[(u64, T)]) -> Option<T> {
        let total = from.iter().map(|(weight, _)| weight).sum::<u64>();
        if total == 0 {
            return None;
        }
        let mut at = self.range(0, total);
        for (weight, it) in from {
            if at < *weight {
                return Some(*it);
            }
            at -= weight;
        }
        None
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.range(from, to))
    }
}
