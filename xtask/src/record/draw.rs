//! Draws that are the same in each recording of the same workload.
//!
//! Input: a name, which is the seed. Output: numbers. Failure: none. `SplitMix64` (G. Steele, D. Lea, C. Flood, "Fast splittable
//! pseudorandom number generators", 2014): a recording needs variety, not secrecy.

/// A sequence of numbers.
#[derive(Debug)]
pub struct Draw(u64);

impl Draw {
    /// The sequence that belongs to `name`.
    pub fn new(name: &str) -> Self {
        Self(name.bytes().fold(0, |seed: u64, byte| {
            seed.wrapping_mul(257).wrapping_add(u64::from(byte))
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0; each as often.
    pub fn below(&mut self, bound: usize) -> usize {
        let drawn = self.next() % u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(drawn).expect("it is below a usize")
    }

    /// One of `items`, the first ones much more often than the last: about as words of a language are used. `items` is not empty.
    pub fn skewed<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let doublings = self.below(items.len().ilog2() as usize + 2);
        let among = (1_usize << doublings).min(items.len());
        &items[self.below(among)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_draws_the_same() {
        let drawn = |name| {
            let mut draw = Draw::new(name);
            (0..20).map(|_| draw.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(drawn("a"), drawn("a"));
        assert_ne!(drawn("a"), drawn("b"));
    }

    #[test]
    fn the_first_are_drawn_more_often_and_the_last_are_drawn_too() {
        let items: Vec<usize> = (0..100).collect();
        let mut draw = Draw::new("skewed");
        let drawn: Vec<usize> = (0..20_000).map(|_| *draw.skewed(&items)).collect();
        let often = |wanted: usize| drawn.iter().filter(|item| **item == wanted).count();
        assert!(often(0) > 10 * often(50), "{} {}", often(0), often(50));
        assert!(often(99) > 0);
    }
}
