//! Where nodes listen.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use serde::{Deserialize, Serialize};

use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};

/// The highest port that the first of five nodes can have.
pub(super) const FIRST_MAX: i64 = 65_535 - 42;

/// The first node's port where nothing is said.
const FIRST: u16 = 8400;
/// From one node's ports to the next one's.
const STEP: u16 = 10;
/// How often the system is asked for a port that is free for TCP and UDP alike.
const FREE_PORT_TRIES: u32 = 100;

/// The ports of a node on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    /// For clients and other nodes.
    pub(super) rpc: u16,
    /// For gossip, TCP and UDP.
    pub(super) gossip: u16,
    /// For probes and metrics; 0 in what an older version has written down.
    #[serde(default)]
    pub(super) ops: u16,
}

impl Ports {
    fn of(first: u16, index: usize) -> Self {
        // Five nodes at most, and the first port is bounded: it cannot come out of range.
        let rpc = first.saturating_add(STEP.saturating_mul(u16::try_from(index).unwrap_or(u16::MAX)));
        Self { rpc, gossip: rpc.saturating_add(1), ops: rpc.saturating_add(2) }
    }

    fn are_free(self) -> bool {
        self.all().into_iter().all(|port| tcp(port).is_ok()) && udp(self.gossip).is_ok()
    }

    fn overlap(self, other: Self) -> bool {
        self.all().iter().any(|port| other.all().contains(port))
    }

    fn all(self) -> [u16; 3] {
        [self.rpc, self.gossip, self.ops]
    }

    /// The same, with a port for probes where there was none.
    fn complete(self) -> Self {
        if self.ops == 0 { Self { ops: self.rpc.saturating_add(2), ..self } } else { self }
    }
}

/// Chooses the ports of so many nodes: from `first` on if that is given (any if it is 0), else those that they had
/// `before`, else the usual ones. Where these are taken, and nobody insisted on them, free ones.
///
/// # Errors
/// If those insisted on are taken, or none are free.
pub(super) fn choose(
    count: usize,
    first: Option<u16>,
    before: &[Ports],
    verbosity: Verbosity,
) -> Result<Vec<Ports>, Failure> {
    let mut chosen: Vec<Ports> = Vec::with_capacity(count);
    for index in 0..count {
        if first == Some(0) {
            chosen.push(free(&chosen).map_err(none_free)?);
            continue;
        }
        let had = before.get(index).copied().filter(|_| first.is_none()).map(Ports::complete);
        let wanted = had.unwrap_or_else(|| Ports::of(first.unwrap_or(FIRST), index));
        if wanted.are_free() && !chosen.iter().any(|other| other.overlap(wanted)) {
            chosen.push(wanted);
            continue;
        }
        if first.is_some() {
            let message = format!("port {}, {} or {} is in use", wanted.rpc, wanted.gossip, wanted.ops);
            let failure = Failure::new(Exit::Precondition, message);
            return Err(
                failure.hint("name another with --port, or leave that out: free ones are chosen then")
            );
        }
        let free = free(&chosen).map_err(none_free)?;
        verbosity.say(&format!(
            "port {}, {} or {} is in use: node-{} takes {}, {} and {} instead",
            wanted.rpc,
            wanted.gossip,
            wanted.ops,
            index + 1,
            free.rpc,
            free.gossip,
            free.ops
        ));
        chosen.push(free);
    }
    Ok(chosen)
}

fn none_free(error: io::Error) -> Failure {
    Failure::new(Exit::General, format!("cannot find free ports on 127.0.0.1: {error}"))
}

/// Ports that are free, and not among these.
fn free(chosen: &[Ports]) -> io::Result<Ports> {
    for _ in 0..FREE_PORT_TRIES {
        // All are held at a time, so that they differ.
        let (rpc, gossip, ops) = (tcp(0)?, tcp(0)?, tcp(0)?);
        let port = |listener: &TcpListener| listener.local_addr().map(|addr| addr.port());
        let ports = Ports { rpc: port(&rpc)?, gossip: port(&gossip)?, ops: port(&ops)? };
        if udp(ports.gossip).is_ok() && !chosen.iter().any(|other| other.overlap(ports)) {
            return Ok(ports);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "none is free for TCP and UDP alike"))
}

fn tcp(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn udp(port: u16) -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Verbosity = Verbosity { quiet: true, verbose: 0 };

    #[test]
    fn taken_ports_are_kept_from() {
        let taken = tcp(0).expect("a port");
        let port = taken.local_addr().expect("bound").port();
        let before = [Ports { rpc: port, ..free(&[]).expect("free") }];
        let chosen = choose(1, None, &before, QUIET).expect("free ones");
        assert_ne!(chosen[0].rpc, port);
        assert!(chosen[0].are_free());
        let error = choose(1, Some(port), &[], QUIET).expect_err("taken");
        assert_eq!(error.exit, Exit::Precondition);
    }

    #[test]
    fn gossip_needs_udp_too() {
        let ports = free(&[]).expect("free");
        let _taken = udp(ports.gossip).expect("free");
        assert!(!ports.are_free());
    }

    #[test]
    fn nodes_never_share_a_port() {
        let same = free(&[]).expect("free");
        let chosen = choose(2, None, &[same, same], QUIET).expect("free ones");
        assert!(!chosen[0].overlap(chosen[1]));
    }

    #[test]
    fn what_an_older_version_wrote_down_is_completed() {
        let before: Ports = serde_json::from_str(r#"{"rpc": 8400, "gossip": 8401}"#).expect("it is read");
        assert_eq!(before.complete(), Ports::of(FIRST, 0));
    }

    #[test]
    fn the_highest_port_fits() {
        let first = u16::try_from(FIRST_MAX).expect("a port");
        assert_eq!(Ports::of(first, 4), Ports { rpc: 65_533, gossip: 65_534, ops: 65_535 });
    }
}
