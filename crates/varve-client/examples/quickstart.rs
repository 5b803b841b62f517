//! Appends three records and reads them back, from a server on this machine. To start three: `cargo run --release -- dev`.
//!
//! Certificates are named as for the command line, by `VARVE_TLS_CA_FILE`, `VARVE_TLS_CERT_FILE` and `VARVE_TLS_KEY_FILE`
//! (`varve context show` tells those that `dev` made); without them all is in the clear.

use std::error::Error;
use std::path::PathBuf;

use varve_client::{Client, ClientTls, ClientTlsSettings, ProducerRecord, TlsFiles};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Client::builder();
    if let (Some(ca), Some(cert), Some(key)) = (file("CA"), file("CERT"), file("KEY")) {
        let files = TlsFiles { cert, key, ca };
        builder = builder.tls(ClientTls::open(ClientTlsSettings { files, server_name: None })?);
    }
    let client = builder.connect("varve://127.0.0.1:8400").await?;

    let producer = client.producer("greetings").build().await?;
    for value in ["one", "two", "three"] {
        let delivered = producer.send(ProducerRecord::new(value)).await?.await?;
        println!("{value} is at offset {:?}", delivered.offset.map(|offset| offset.get()));
    }

    let mut consumer = client.consumer("greetings").until_end().build().await?;
    while let Some(record) = consumer.next().await? {
        println!("{}: {:?}", record.offset, record.value);
    }
    Ok(())
}

fn file(what: &str) -> Option<PathBuf> {
    std::env::var_os(format!("VARVE_TLS_{what}_FILE")).map(PathBuf::from)
}
