//! The man pages, which lie in `deploy/man`. They are made here of the command line, and held to be what it says; the program itself
//! carries nothing of that.
//!
//!     VARVE_UPDATE=1 cargo test -p varve --bin varve man
//!
//! writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/man");

/// What begins the examples in the text that `--help` ends with.
const EXAMPLES: [&str; 3] = ["Example:", "Examples:", "Start here:"];

#[test]
fn the_man_pages_say_what_help_says() {
    let (made, there) = (made(), there());
    if std::env::var_os("VARVE_UPDATE").is_some() {
        fs::create_dir_all(PAGES).unwrap();
        for name in there.keys().filter(|name| !made.contains_key(*name)) {
            fs::remove_file(Path::new(PAGES).join(name)).unwrap();
        }
        for (name, page) in &made {
            fs::write(Path::new(PAGES).join(name), page).unwrap();
        }
        return;
    }
    let how = "VARVE_UPDATE=1 cargo test -p varve --bin varve man";
    assert!(made.keys().eq(there.keys()), "there are other commands than man pages: run `{how}`");
    for (name, page) in &made {
        assert!(page == &there[name], "{name} says something else than --help: run `{how}`");
    }
}

/// The pages as they should be, by the names of their files.
fn made() -> BTreeMap<String, String> {
    let mut command = Cli::command().about("a durable commit log served over gRPC");
    command.build();
    let mut pages = BTreeMap::new();
    gather(&command, None, &mut pages);
    pages
}

/// The pages as they are.
fn there() -> BTreeMap<String, String> {
    let Ok(files) = fs::read_dir(PAGES) else { return BTreeMap::new() };
    files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap()))
        .collect()
}

fn gather(command: &Command, parent: Option<&str>, pages: &mut BTreeMap<String, String>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.insert(format!("{name}.1"), page(command, name, parent));
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        gather(subcommand, Some(name), pages);
    }
}

fn page(command: &Command, name: &str, parent: Option<&str>) -> String {
    let notes = command.get_after_long_help().or(command.get_after_help());
    let notes = Notes::of(&notes.map(ToString::to_string).unwrap_or_default());
    let man = Man::new(command.clone());
    // With neither date nor version: the pages lie in the repository, and change when a command does.
    let mut page =
        format!(".TH \"{}\" 1 \"\" Varve \"Varve Manual\"\n", escaped(&name.to_uppercase())).into_bytes();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    page.extend(notes.description.as_bytes());
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page).unwrap();
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    page.extend(notes.sections.as_bytes());
    if let Some(parent) = parent {
        page.extend(format!(".SH \"SEE ALSO\"\n\\fB{}\\fR(1)\n", escaped(parent)).bytes());
    }
    String::from_utf8(page).unwrap()
}

/// The text that `--help` ends with, as it stands in a page.
#[derive(Default)]
struct Notes {
    /// What comes before the examples: a part of the description.
    description: String,
    /// The rest, with headings.
    sections: String,
}

impl Notes {
    fn of(text: &str) -> Self {
        let mut notes = Self::default();
        for paragraph in text.split("\n\n") {
            let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
            if EXAMPLES.contains(&first) {
                notes.sections.push_str(".SH EXAMPLES\n");
                notes.add(rest);
            } else if let Some(codes) = paragraph.strip_prefix("Exit codes: ") {
                notes.sections.push_str(".SH \"EXIT STATUS\"\n");
                notes.add(codes);
            } else {
                notes.add(paragraph);
            }
        }
        notes
    }

    /// Lines that run on, and lines that are indented and stay as they are.
    fn add(&mut self, lines: &str) {
        let page = if self.sections.is_empty() { &mut self.description } else { &mut self.sections };
        let mut is_block = None;
        for line in lines.lines() {
            let is_indented = line.starts_with("  ");
            if is_block != Some(is_indented) {
                page.push_str(match (is_block, is_indented) {
                    (Some(true), _) => ".fi\n.RE\n.PP\n",
                    (_, true) => ".RS 4\n.nf\n",
                    // After a heading there is room already.
                    (_, false) if page.ends_with("STATUS\"\n") => "",
                    (_, false) => ".PP\n",
                });
                is_block = Some(is_indented);
            }
            writeln!(page, "{}", escaped(line.strip_prefix("  ").unwrap_or(line))).unwrap();
        }
        if is_block == Some(true) {
            page.push_str(".fi\n.RE\n");
        }
    }
}

/// A line of text that roff takes for nothing else.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}
