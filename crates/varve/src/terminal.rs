//! What may be said to a terminal, and how.

use std::io::{IsTerminal, stderr, stdin, stdout};

/// Whether standard error is a terminal: progress is shown there only.
pub(crate) fn stderr_is_terminal() -> bool {
    stderr().is_terminal()
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    stdout().is_terminal()
}

/// How wide the terminal is that standard output goes to; `None` if it goes elsewhere.
pub(crate) fn stdout_columns() -> Option<usize> {
    let size = stdout_is_terminal().then(|| rustix::termios::tcgetwinsize(stdout()).ok())??;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Whether standard input is a terminal, with somebody before it.
pub(crate) fn stdin_is_terminal() -> bool {
    stdin().is_terminal()
}

/// Whether colour may be written to standard error: a terminal that knows it, and no `NO_COLOR` (no-color.org).
pub(crate) fn stderr_has_color() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stderr_is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes the line of an error, and the line of what to do.
pub(crate) fn report(message: &str, hint: Option<&str>) {
    let (red, cyan, plain) =
        if stderr_has_color() { ("\u{1b}[1;31m", "\u{1b}[36m", "\u{1b}[0m") } else { ("", "", "") };
    let message = one_line(message);
    eprintln!("{red}error:{plain} {message}");
    if let Some(hint) = hint {
        eprintln!("{cyan}hint:{plain} {}", one_line(hint));
    }
}

/// Text of unknown origin on one line, without what would steer the terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(one_line("a\nb\u{1b}[2J\tü"), "a\\nb\\u{1b}[2J\\tü");
    }
}
