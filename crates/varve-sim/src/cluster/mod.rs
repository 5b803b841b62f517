//! A whole cluster: real nodes and real clients on simulated time, network and disks.
//!
//! [`run`] takes a seed through its phases. `world` is what there is (hosts, links, time), `site` what a node is made of, `security` whom it lets in, `load` what
//! clients do, `trouble` what is done to them, `healing` what must be so afterwards, `journal` what was seen.

mod clock;
mod healing;
mod journal;
mod load;
mod network;
mod pace;
mod plan;
mod report;
mod run;
mod security;
mod site;
mod text;
mod trouble;
mod world;

pub use clock::EPOCH_S;
pub use report::{Report, Totals};
pub use run::{Options, run};
