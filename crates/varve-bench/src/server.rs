//! A server in a process of its own.

use crate::Failure;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use varve_client::{Client, ProducerRecord};

/// A server that does not answer by then has failed.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts the binary on an empty directory and produces one record. Gives the time from the start to the acknowledgement.
    pub(crate) async fn start(binary: &Path, data: &Path) -> Result<(Self, Client, Duration), Failure> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let started = Instant::now();
        let child = Command::new(binary)
            .args(["--quiet", "server", "--bootstrap", "--data-dir"])
            .arg(data)
            .args(["--rpc-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error} (cargo build --release)", binary.display()))?;
        let server = Self { child, address: format!("varve://127.0.0.1:{port}") };
        let client = server.first_record(started).await?;
        Ok((server, client, started.elapsed()))
    }

    /// Bytes of memory that the process holds (its resident set).
    pub(crate) fn memory_bytes(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc")?;
        let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("VmRSS has no value")?.parse()?;
        Ok(kibibytes * 1024)
    }

    async fn first_record(&self, started: Instant) -> Result<Client, Failure> {
        loop {
            match self.try_first_record().await {
                Ok(client) => return Ok(client),
                Err(error) if started.elapsed() > START_TIMEOUT => return Err(error),
                // The port is not open yet; a connection that is refused costs nothing.
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    async fn try_first_record(&self) -> Result<Client, Failure> {
        let address = self.address.trim_start_matches("varve://");
        drop(tokio::net::TcpStream::connect(address).await?);
        let client = Client::connect(&self.address).await?;
        let producer = client.producer("first").build().await?;
        producer.send(ProducerRecord::new("x")).await?.await?;
        producer.close().await?;
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
