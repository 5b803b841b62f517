//! Tells the program what it was built from: `BUILT_FROM_COMMIT` if it is set or git knows it, and the target.

use std::process::Command;

fn main() {
    // Not `VARVE_...`: `cargo run` puts what is set here into the environment of the program, which would take it for a setting.
    println!("cargo::rerun-if-env-changed=BUILT_FROM_COMMIT");
    println!("cargo::rustc-env=BUILT_FOR_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    // Moves with every commit; absent outside of a checkout.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let given = std::env::var("BUILT_FROM_COMMIT").ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"])) {
        println!("cargo::rustc-env=BUILT_FROM_COMMIT={commit}");
    }
}

/// What git answers, if there is a git and it has an answer.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
