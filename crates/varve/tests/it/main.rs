//! The real binary, as a user meets it: against a server of its own on a free port.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod acl;
mod certs;
mod cluster;
mod config;
mod contexts;
mod crash;
mod debug;
mod dev;
mod exit_codes;
mod faults;
mod gossip_key;
mod pki;
mod produce_consume;
mod shell;
mod support;
mod telemetry;
mod tls;
mod topics;
mod verify;
