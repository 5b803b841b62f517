use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::lookup::Lookup;
use crate::{ClientBuilder, ClusterAddress};

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 64;

/// What the user named: asked first, and again when all else fails.
#[derive(Debug)]
pub(crate) struct Seeds {
    names: Vec<Arc<str>>,
    lookup: Option<Arc<dyn Lookup>>,
    timeout: Duration,
}

/// One address of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeedAddress {
    /// Where to connect to.
    pub(crate) addr: Arc<str>,
    /// What the user calls it.
    pub(crate) name: Arc<str>,
}

impl Seeds {
    pub(crate) fn new(address: &ClusterAddress, options: &ClientBuilder) -> Self {
        let names = address.members().iter().map(|member| member.as_str().into()).collect();
        Self { names, lookup: options.lookup.clone(), timeout: options.connect_timeout }
    }

    pub(crate) fn first(&self) -> Arc<str> {
        self.names.first().cloned().expect("an address names at least one member")
    }

    /// The addresses of all seeds, in order.
    pub(crate) async fn look_up(&self) -> Vec<SeedAddress> {
        let found = join_all(self.names.iter().map(|name| self.look_up_one(name))).await;
        let mut addresses: Vec<SeedAddress> = Vec::new();
        for address in found.into_iter().flatten() {
            if !addresses.iter().any(|known| known.addr == address.addr) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// The addresses of a name; the name itself where it is an address, or cannot be looked up: then the attempt to connect
    /// tells what is wrong.
    async fn look_up_one(&self, name: &Arc<str>) -> Vec<SeedAddress> {
        let itself = || vec![SeedAddress { addr: name.clone(), name: name.clone() }];
        let Some(lookup) = self.lookup.as_ref().filter(|_| name.parse::<SocketAddr>().is_err()) else {
            return itself();
        };
        match tokio::time::timeout(self.timeout, lookup.lookup(name.to_string())).await {
            Ok(Ok(addrs)) if !addrs.is_empty() => {
                let address =
                    |addr: SocketAddr| SeedAddress { addr: addr.to_string().into(), name: name.clone() };
                addrs.into_iter().take(ADDRESSES_MAX).map(address).collect()
            }
            found => {
                tracing::debug!(name = &**name, ?found, "name gives no address");
                itself()
            }
        }
    }
}
