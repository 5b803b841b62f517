//! `varve completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::Output;

const AFTER_HELP: &str = "\
Examples:
  source <(varve completion bash)
  varve completion zsh > ~/.zfunc/_varve
  varve completion fish > ~/.config/fish/completions/varve.fish";

/// What `completion` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Writes the script.
pub(crate) fn run(args: &CompletionArgs) -> Result<(), Failure> {
    // clap_complete panics where it cannot write, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "varve", &mut script);
    let mut out = Output::new();
    out.write(|out| out.write_all(&script))?;
    out.flush()
}
