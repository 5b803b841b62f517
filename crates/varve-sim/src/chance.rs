//! The operating system's randomness, by seed.
//!
//! Three kinds of chance do not come through the seams of `varve-env`: the keys of the standard library's hash maps, the generator
//! by which Tokio picks a branch of `select!`, and the `rand` crate's, by which openraft spreads election timeouts. All of them
//! are seeded from the C library's `getrandom`. This binary has a `getrandom` of its own, which the linker takes instead, so that
//! all of them follow from the seed. `docs/adr/0007-chance-by-seed.md` says why, and what else could have been done.

use std::sync::atomic::{AtomicU64, Ordering};

/// The state of the sequence (SplitMix64, Steele et al. 2014). The simulation is one thread, so that its order is fixed.
static STATE: AtomicU64 = AtomicU64::new(0);

/// Sets the seed that all chance of this process follows from now on.
pub(crate) fn seed(seed: u64) {
    STATE.store(seed ^ 0x6368_616E_6365_0000, Ordering::SeqCst);
}

fn next() -> u64 {
    let state = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Fills a buffer from the sequence, as the C library's function of this name does from the kernel's.
///
/// # Safety
/// `buffer` is null with a `len` of 0, or valid for writes of `len` bytes: what getrandom(2) asks of its callers.
#[expect(unsafe_code, reason = "the symbol that the C library has is replaced; docs/adr/0007 has the proof")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: u32) -> isize {
    for at in 0..len {
        let byte = next().to_le_bytes()[0];
        // SAFETY: `at` is below `len`, and the caller has promised that so many bytes may be written. A byte has no alignment
        // and needs no drop, and `write` does not read what was there.
        unsafe { buffer.add(at).write(byte) };
    }
    isize::try_from(len).unwrap_or(isize::MAX)
}
