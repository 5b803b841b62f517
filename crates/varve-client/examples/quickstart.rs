//! Appends three records and reads them back, from a server on this machine. To start one:
//! `cargo run --release -- server --data-dir varve-data --bootstrap`.

use varve_client::{Client, ClientError, ProducerRecord};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let client = Client::connect("varve://127.0.0.1:8400").await?;

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
