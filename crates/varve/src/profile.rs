//! Where processor time is spent, by looking now and then.

use std::fmt::Write;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use pprof::ProfilerGuardBuilder;

/// The kernel has one timer for this.
static RUNNING: Mutex<()> = Mutex::new(());

/// Looks for so long, so many times a second of processor time; gives folded stacks. Blocks.
///
/// # Errors
/// Where another looks already, or the system refuses.
pub(crate) fn take(duration: Duration, frequency: u32) -> Result<String, String> {
    let _running = RUNNING.try_lock().map_err(|_| "another profile is being taken".to_owned())?;
    let frequency = i32::try_from(frequency).unwrap_or(i32::MAX);
    // A stack that is looked at while it takes a lock of these could wait for itself.
    let guard = ProfilerGuardBuilder::default()
        .frequency(frequency)
        .blocklist(&["libc", "libgcc", "pthread", "vdso"]);
    let guard = guard.build().map_err(|error| error.to_string())?;
    thread::sleep(duration);
    let report = guard.report().build().map_err(|error| error.to_string())?;
    let mut folded = String::new();
    for (frames, count) in &report.data {
        let functions = frames.frames.iter().rev().flatten().map(|symbol| symbol.name());
        let stack: Vec<String> = functions.map(|name| name.replace(';', ":")).collect();
        writeln!(folded, "{};{} {count}", frames.thread_name, stack.join(";"))
            .expect("a String takes everything");
    }
    Ok(folded)
}
