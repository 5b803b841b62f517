//! The operating system's randomness, by seed, and its clock, which stands still.
//!
//! Three kinds of chance do not come through the seams of `varve-env`: the keys of the standard library's hash maps, the generator
//! by which Tokio picks a branch of `select!`, and the `rand` crate's, by which openraft spreads election timeouts. All of them
//! are seeded from the C library's `getrandom`. This binary has a `getrandom` of its own, which the linker takes instead, so that
//! all of them follow from the seed. The clock is chance, too: simulated time is Tokio's, and whatever below asks the operating
//! system, as h2 does when a stream is reset, would be told how fast the machine was. `docs/adr/0007-chance-by-seed.md` says
//! why, and what else could have been done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The state of the sequence (SplitMix64, Steele et al. 2014). The simulation is one thread, so that its order is fixed.
static STATE: AtomicU64 = AtomicU64::new(0);

/// Whether clocks stand still. The process that starts the others measures them.
static STANDS_STILL: AtomicBool = AtomicBool::new(false);
/// What clocks then say, in seconds: late enough that what lies before it is a time as well.
const STILL_S: libc::time_t = varve_sim::cluster::EPOCH_S as libc::time_t;

/// Sets the seed that all chance of this process follows from now on, and stops its clocks.
pub(crate) fn seed(seed: u64) {
    STANDS_STILL.store(true, Ordering::SeqCst);
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

/// Says what time it is, as the C library's function of this name does, or that it is always the same.
///
/// # Safety
/// `time` is valid for writes of a `timespec`, or null: what clock_gettime(2) asks of its callers.
#[expect(unsafe_code, reason = "the symbol that the C library has is replaced; docs/adr/0007 has the proof")]
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    if !STANDS_STILL.load(Ordering::SeqCst) || time.is_null() {
        // SAFETY: these are the arguments of the system call of the same name, and the kernel checks the pointer.
        let failed = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return if failed == 0 { 0 } else { -1 };
    }
    // SAFETY: it is not null, so that the caller has promised that a `timespec` may be written there. It has no drop, and `write`
    // does not read what was there.
    unsafe { time.write(libc::timespec { tv_sec: STILL_S, tv_nsec: 0 }) };
    0
}
