//! What is said once the cluster is there.

use std::time::Duration;

use varve_api::v1::Server;

use super::credentials::Credentials;
use super::home::Home;
use super::node::{Node, program, quoted};
use super::process::Process;
use super::selection::Selection;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::Table;

/// A file that most machines have, with lines worth reading.
const EXAMPLE_FILE: &str = "/etc/services";

/// All that is known of the cluster.
pub(super) struct Announcement<'a> {
    pub(super) processes: Vec<(&'a Node, &'a Process)>,
    pub(super) servers: &'a [Server],
    pub(super) selection: &'a Selection,
    /// What it is secured by; `None` where all is in the clear.
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) home: &'a Home,
    /// From the first start to here.
    pub(super) took: Duration,
}

impl Announcement<'_> {
    /// Writes it on standard output.
    ///
    /// # Errors
    /// If nobody reads it.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let mut out = Output::new();
        out.line(&format!("ready after {:.1} s: {}", self.took.as_secs_f64(), self.selection.address))?;
        out.line("")?;
        self.table().write(&mut out)?;
        out.line("")?;
        out.line(&self.selection.note)?;
        out.line("In another terminal:")?;
        out.line("")?;
        let flags = self.selection.flags();
        self.commands().iter().try_for_each(|command| out.line(&format!("  {}", line(command, &flags))))?;
        if let Some((node, _)) = self.processes.first() {
            out.line(&format!("  curl http://{}/metrics", node.ops_addr()))?;
        }
        out.line("")?;
        if let Some(credentials) = self.credentials {
            let policy = credentials.policy().display();
            out.line(&format!("You are root there, who may do everything. {policy} says who may do what;"))?;
            out.line("nobody may do nothing, and hears it:")?;
            out.line("")?;
            let flags = self.selection.flags_as(&credentials.nobody());
            out.line(&format!("  {}", line(&["consume", "events"].map(String::from), &flags)))?;
            out.line("")?;
        }
        let home = self.home.path().display();
        out.line(&if self.home.is_temporary() {
            format!("All data is in {home}, and is removed at the end; --data-dir DIR keeps it.")
        } else {
            format!("All data is in {home}, and stays there.")
        })?;
        out.line("Ctrl-C stops the cluster.")?;
        out.flush()
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["ID#", "NAME", "ADDRESS", "GOSSIP", "PID#", "LOG"]);
        for (node, process) in &self.processes {
            let id = self.servers.iter().rev().find(|server| server.name == node.name);
            table.row([
                id.map_or_else(|| "-".into(), |server| server.id.to_string()),
                node.name.clone(),
                node.rpc_addr(),
                node.gossip_addr(),
                process.pid.to_string(),
                node.log().display().to_string(),
            ]);
        }
        table
    }

    fn commands(&self) -> Vec<Vec<String>> {
        let replicas = self.processes.len().min(3).to_string();
        let commands: [&[&str]; 5] = [
            &["cluster", "members"],
            &["topic", "create", "events", "--partitions", "3", "--replication-factor", &replicas],
            &["produce", "events", EXAMPLE_FILE],
            &["consume", "events", "--from", "start", "-n", "5"],
            &["topic", "describe", "events"],
        ];
        commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect()
    }
}

/// A command of this program, for a shell.
fn line(command: &[String], flags: &[String]) -> String {
    let program = program();
    let words = std::iter::once(&program).chain(command).chain(flags);
    words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
