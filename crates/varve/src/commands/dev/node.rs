//! A node as it is to be run.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ports::Ports;

/// How long a port on this machine may take to answer.
const KNOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Storage's name for the file that says to which cluster a node belongs.
const IDENTITY_FILE: &str = "node";

/// Name, directory and ports of a node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// `node-1`.
    pub(super) name: String,
    /// Where it listens.
    pub(super) ports: Ports,
    home: PathBuf,
    key: PathBuf,
    /// Settings of who is let in; none where all is in the clear.
    security: Vec<(&'static str, String)>,
}

impl Node {
    /// The node of this number, from 1.
    pub(super) fn new(home: &Path, number: usize, ports: Ports, key: &Path) -> Self {
        let (name, home, key) = (Self::name(number), home.to_owned(), key.to_owned());
        Self { name, ports, home, key, security: Vec::new() }
    }

    /// The name of the node of this number.
    pub(super) fn name(number: usize) -> String {
        format!("node-{number}")
    }

    /// The same, secured by these settings.
    pub(super) fn secured(self, security: Vec<(&'static str, String)>) -> Self {
        Self { security, ..self }
    }

    /// Where it keeps its data.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.home.join(&self.name)
    }

    /// Where all that it says is written.
    pub(super) fn log(&self) -> PathBuf {
        self.home.join(format!("{}.log", self.name))
    }

    /// Whether it has been given its place in a cluster.
    pub(super) fn belongs_to_a_cluster(&self) -> bool {
        self.data_dir().join(IDENTITY_FILE).exists()
    }

    /// Whether something serves at its address.
    pub(super) fn runs(&self) -> bool {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.rpc));
        TcpStream::connect_timeout(&addr, KNOCK_TIMEOUT).is_ok()
    }

    /// `127.0.0.1:8400`.
    pub(super) fn rpc_addr(&self) -> String {
        format!("127.0.0.1:{}", self.ports.rpc)
    }

    /// `127.0.0.1:8401`.
    pub(super) fn gossip_addr(&self) -> String {
        format!("127.0.0.1:{}", self.ports.gossip)
    }

    /// `127.0.0.1:8402`.
    pub(super) fn ops_addr(&self) -> String {
        format!("127.0.0.1:{}", self.ports.ops)
    }

    /// What `varve` is told to run it among these, with these settings besides.
    pub(super) fn arguments(&self, all: &[Self], bootstrap: bool, settings: &[String]) -> Vec<String> {
        let others: Vec<String> =
            all.iter().filter(|node| node.name != self.name).map(Self::gossip_addr).collect();
        let mut arguments: Vec<String> = [
            ("--data-dir", self.data_dir().display().to_string()),
            ("--node-name", self.name.clone()),
            ("--bind-addr", self.gossip_addr()),
            ("--rpc-port", self.ports.rpc.to_string()),
            ("--gossip-key-file", self.key.display().to_string()),
            ("--ops-addr", self.ops_addr()),
        ]
        .into_iter()
        .chain(self.security.iter().cloned())
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        arguments.insert(0, "server".into());
        if bootstrap {
            arguments.push("--bootstrap".into());
        } else if !others.is_empty() {
            arguments.extend(["--start-join-addrs".into(), others.join(",")]);
        }
        arguments.extend_from_slice(settings);
        arguments
    }

    /// The command that runs it again, for a shell.
    pub(super) fn command_line(&self, all: &[Self], settings: &[String]) -> String {
        let arguments = self.arguments(all, false, settings);
        let words: Vec<String> =
            std::iter::once(program()).chain(arguments).map(|word| quoted(&word)).collect();
        words.join(" ")
    }
}

/// The path of this program.
pub(super) fn program() -> String {
    std::env::current_exe().map_or_else(|_| "varve".into(), |path| path.display().to_string())
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:,=@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Node> {
        let ports = |first| Ports { rpc: first, gossip: first + 1, ops: first + 2 };
        let node = |number, first| Node::new(Path::new("/a b"), number, ports(first), Path::new("/a b/key"));
        vec![node(1, 8400), node(2, 8410), node(3, 8420)]
    }

    #[test]
    fn the_first_makes_the_cluster_and_the_others_join_it() {
        let nodes = nodes();
        let first = nodes[0].arguments(&nodes, true, &[]);
        assert!(first.contains(&"--bootstrap".to_owned()));
        assert!(!first.iter().any(|argument| argument == "--start-join-addrs"));
        let second = nodes[1].arguments(&nodes, false, &["--rack".into(), "r".into()]);
        let end = ["--start-join-addrs", "127.0.0.1:8401,127.0.0.1:8421", "--rack", "r"].map(String::from);
        assert!(second.ends_with(&end), "{second:?}");
    }

    #[test]
    fn a_command_line_can_be_pasted() {
        let nodes = nodes();
        let line = nodes[1].command_line(&nodes, &[]);
        assert!(line.contains(" server --data-dir '/a b/node-2' --node-name node-2 "), "{line}");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
