//! Made-up samples like those of real servers, the same for the same seed: what benchmarks and simulated agents send.
//!
//! Of a server's series 22 % are constants, 6 % states, 26 % integer counters, 10 % CPU counters of two places, 16 %
//! gauges in pages of 4 KiB, 12 % gauges of two places and 8 % floats. [`Mix::chance_bits`] says how much chance went
//! into them: nothing that keeps every bit can store them in less.
//!
//! Must not know: what the samples are for.

/// The samples of one server.
#[derive(Debug)]
pub struct Mix {
    random: fastrand::Rng,
    sources: Vec<Source>,
    chance_bits: f64,
}

/// One series.
#[derive(Debug)]
enum Source {
    Constant(f64),
    State(f64),
    Counter { total: f64, rate: f64, is_idle: bool },
    Cpu { hundredths: u64, share: f64 },
    Pages(i64),
    Hundredths(i64),
    Float(f64),
}

impl Mix {
    /// A server with so many series.
    #[must_use]
    pub fn new(seed: u64, series: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let sources = (0..series)
            .map(|index| Source::new(index * 100 / series, &mut random))
            .collect();
        Self {
            random,
            sources,
            chance_bits: 0.0,
        }
    }

    /// Appends the next value of each series.
    pub fn tick(&mut self, values: &mut Vec<f64>) {
        for source in &mut self.sources {
            values.push(source.next(&mut self.random, &mut self.chance_bits));
        }
    }

    /// By how many milliseconds a tick is late: 0 to 3.
    pub fn jitter_ms(&mut self) -> i64 {
        self.chance_bits += 2.0;
        self.random.i64(0..=3)
    }

    /// How many bits of chance there are in all values and times so far, about: their entropy.
    #[must_use]
    pub const fn chance_bits(&self) -> f64 {
        self.chance_bits
    }
}

impl Source {
    fn new(percent: usize, random: &mut fastrand::Rng) -> Self {
        match percent {
            0..22 => Self::Constant(f64::from(random.u32(..1_000_000))),
            22..28 => Self::State(f64::from(random.u8(..3))),
            28..54 => Self::Counter {
                total: random.u64(..1 << 40) as f64,
                rate: 10_f64.powf(random.f64() * 6.0),
                is_idle: random.u8(..10) < 3,
            },
            54..64 => Self::Cpu {
                hundredths: random.u64(..1 << 30),
                share: random.f64().powi(3),
            },
            64..80 => Self::Pages(random.i64(1_000..1_000_000)),
            80..92 => Self::Hundredths(random.i64(0..10_000)),
            _ => Self::Float(random.f64() * 1_000.0),
        }
    }

    fn next(&mut self, random: &mut fastrand::Rng, chance_bits: &mut f64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::State(value) => {
                if random.u16(..500) == 0 {
                    *value = f64::from(random.u8(..3));
                    // That it changed, and to what.
                    *chance_bits += 500_f64.log2() + 3_f64.log2();
                }
                *value
            }
            Self::Counter { total, rate, is_idle } => {
                if !*is_idle || random.u8(..50) == 0 {
                    *total += (*rate * (0.5 + random.f64())).floor();
                    *chance_bits += rate.max(1.0).log2() + if *is_idle { 50_f64.log2() } else { 0.0 };
                }
                *total
            }
            Self::Cpu { hundredths, share } => {
                *hundredths += (1_500.0 * *share * (0.8 + 0.4 * random.f64())) as u64;
                *chance_bits += (600.0 * *share).max(1.0).log2();
                *hundredths as f64 / 100.0
            }
            Self::Pages(pages) => {
                *pages += random.i64(-200..=200);
                *chance_bits += 401_f64.log2();
                (*pages * 4_096) as f64
            }
            Self::Hundredths(value) => {
                *value += random.i64(-30..=30);
                *chance_bits += 61_f64.log2();
                *value as f64 / 100.0
            }
            Self::Float(value) => {
                *value += random.f64() - 0.5;
                // An f64 of this size has so many binary places below one.
                *chance_bits += (52.0 - value.abs().max(0.5).log2().floor()).min(53.0);
                *value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_seed_others() {
        let values = |seed| {
            let mut mix = Mix::new(seed, 500);
            let mut values = Vec::new();
            for _ in 0..10 {
                mix.tick(&mut values);
            }
            assert_eq!(values.len(), 5_000);
            values
        };
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }

    #[test]
    fn a_sample_has_about_a_byte_of_chance() {
        let mut mix = Mix::new(3, 500);
        let mut values = Vec::new();
        for _ in 0..240 {
            mix.tick(&mut values);
        }
        let bytes = mix.chance_bits() / 8.0 / values.len() as f64;
        println!("{bytes:.3} bytes of chance a sample");
        assert!((0.9..1.1).contains(&bytes), "{bytes}");
    }
}
