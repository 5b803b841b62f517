//! `varve cluster members`.

use clap::Args;
use serde::Serialize;
use varve_api::v1::Server;

use super::server::{servers, state_name};
use crate::cli::Connect;
use crate::commands::connection::Connection;
use crate::failure::Failure;
use crate::output::{Format, Output, any_format};
use crate::table::Table;

/// What `cluster members` takes.
#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    /// How to write them
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = any_format())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

/// A server in the list.
#[derive(Debug, Serialize)]
pub(crate) struct Member<'a> {
    id: u64,
    name: &'a str,
    rpc_addr: &'a str,
    gossip_addr: &'a str,
    rack: &'a str,
    state: &'static str,
    alive: bool,
    controller_voter: bool,
    controller_leader: bool,
    replicas: u32,
    leaders: u32,
}

/// Asks, and lists what was answered.
pub(crate) async fn run(args: MembersArgs) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let servers = servers(&connection).await?;
    let members: Vec<Member<'_>> = servers.iter().map(Member::new).collect();
    let mut out = Output::new();
    match args.output {
        Format::Json => out.json(&members, true)?,
        Format::Jsonl => members.iter().try_for_each(|member| out.json(member, false))?,
        Format::Raw => members.iter().try_for_each(|member| out.line(member.rpc_addr))?,
        Format::Table => table(&servers).write(&mut out)?,
    }
    out.flush()
}

/// The servers as columns.
pub(crate) fn table(servers: &[Server]) -> Table {
    let mut table = Table::new(&[
        "ID#",
        "NAME",
        "ADDRESS",
        "GOSSIP",
        "RACK",
        "STATE",
        "ALIVE",
        "CONTROLLER",
        "REPLICAS#",
        "LEADS#",
    ]);
    servers.iter().for_each(|server| table.row(Member::new(server).cells()));
    table
}

impl<'a> Member<'a> {
    fn new(server: &'a Server) -> Self {
        Self {
            id: server.id,
            name: &server.name,
            rpc_addr: &server.rpc_addr,
            gossip_addr: &server.gossip_addr,
            rack: &server.rack,
            state: state_name(server),
            alive: server.alive,
            controller_voter: server.controller_voter,
            controller_leader: server.is_leader,
            replicas: server.replicas,
            leaders: server.leaders,
        }
    }

    fn cells(&self) -> [String; 10] {
        let known = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let controller = match (self.controller_leader, self.controller_voter) {
            (true, _) => "leads",
            (false, true) => "votes",
            (false, false) => "follows",
        };
        [
            self.id.to_string(),
            self.name.to_owned(),
            self.rpc_addr.to_owned(),
            known(self.gossip_addr),
            known(self.rack),
            self.state.to_owned(),
            if self.alive { "yes" } else { "no" }.to_owned(),
            controller.to_owned(),
            self.replicas.to_string(),
            self.leaders.to_string(),
        ]
    }
}
