//! Which partition a record goes to.

use std::sync::atomic::{AtomicU32, Ordering};

/// Kafka's seed for murmur2.
const SEED: u32 = 0x9747_b28c;

/// Chooses partitions as Kafka's clients do: by murmur2 of the key; without a key one partition until its batch is full,
/// then the next.
#[derive(Debug)]
pub(crate) struct Partitioner {
    /// Where records without a key go at present, before it is taken modulo the number of partitions.
    sticky: AtomicU32,
}

impl Partitioner {
    /// Begins with any partition, so that many producers do not all begin with the same.
    pub(crate) fn new(start: u64) -> Self {
        Self { sticky: AtomicU32::new((start >> 32) as u32) }
    }

    /// The partition for a record, of `partitions`, which is at least one.
    pub(crate) fn pick(&self, key: Option<&[u8]>, partitions: u32) -> u32 {
        match key {
            Some(key) => partition_of_key(key, partitions),
            None => self.sticky.load(Ordering::Relaxed) % partitions,
        }
    }

    /// Moves on to the next partition for records without a key.
    pub(crate) fn next(&self) {
        self.sticky.fetch_add(1, Ordering::Relaxed);
    }
}

/// The partition that Kafka's clients choose for a key, of `partitions`.
///
/// # Panics
/// If there is no partition.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Murmur2 (Austin Appleby) in the variant of Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka's length is a Java int; no record has a key so long that the cast would cut it.
    let mut h = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let tail = tail.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        h = (h ^ tail).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own test of `Utils.murmur2`.
    #[test]
    fn murmur2_agrees_with_kafka() {
        let vectors: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn keys_stay_and_keyless_records_move_on() {
        let partitioner = Partitioner::new(0);
        assert_eq!(partitioner.pick(Some(b"foobar"), 7), partition_of_key(b"foobar", 7));
        assert_eq!([partitioner.pick(None, 3), partitioner.pick(None, 3)], [0, 0]);
        partitioner.next();
        assert_eq!(partitioner.pick(None, 3), 1);
    }
}
