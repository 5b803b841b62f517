//! The measurements.

use crate::Failure;
use crate::limits;
use crate::report::Report;
use crate::server::Server;
use crate::statistics::{median, median_rate, quantile, rate};
use futures::future::try_join_all;
use std::path::Path;
use std::time::{Duration, Instant};
use varve_client::record::{Batch, BatchBuilder, Compression, Timestamp};
use varve_client::{Client, Producer, ProducerRecord, api::v1};

const RECORD_BYTES: usize = 1024;
const PRODUCERS: usize = 64;
/// How often each rate is measured; the median is told.
const ROUNDS: usize = 5;

/// Measures everything; `scale` divides the work.
pub(crate) async fn all(binary: &Path, dir: &Path, scale: usize) -> Result<Report, Failure> {
    let mut report = Report::default();
    let data = dir.join("data");
    let (server, client, start) = Server::start(binary, &data).await?;
    report.time("start to first acknowledged record", start, None);
    report.plain("memory after it", format!("{:.1} MB", server.memory_bytes()? as f64 / 1e6));

    let growing = limits::append_and_sync(dir, RECORD_BYTES, 2_000 / scale)?;
    let overwriting = limits::overwrite_and_sync(dir, RECORD_BYTES, 2_000 / scale)?;
    let trip = limits::round_trip(5_000 / scale).await?;
    report.time("bare append of 1 KiB and fdatasync, growing file", growing, None);
    report.time("bare overwrite of 1 KiB and fdatasync", overwriting, None);
    report.time("bare loopback round trip", trip, None);

    one_at_a_time(&client, scale, overwriting + trip, &mut report).await?;
    many_at_once(&client, scale, &mut report).await?;
    pipelined(&client, scale, &mut report).await?;
    let stream = limits::stream_and_sync(dir, 1024 / scale)?;
    batches(&client, scale, stream, &mut report).await?;
    reading(&client, &mut report).await?;
    report.plain("memory at the end", format!("{:.1} MB", server.memory_bytes()? as f64 / 1e6));
    Ok(report)
}

/// One record, acknowledged, then the next: as a caller of the plain RPC does.
async fn one_at_a_time(
    client: &Client,
    scale: usize,
    limit: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    create(client, "single").await?;
    let mut samples = Vec::new();
    for _ in 0..3_000 / scale {
        let request = produce("single", &batch(1)?);
        let started = Instant::now();
        client.produce(request).await?;
        samples.push(started.elapsed());
    }
    report.time(
        "one 1 KiB record at a time, beside an fdatasync and a round trip",
        median(&mut samples),
        Some(limit),
    );
    report.time("the same at the 99th percentile", quantile(&mut samples, 99), None);
    Ok(())
}

/// Sixty-four callers, each one record at a time.
async fn many_at_once(client: &Client, scale: usize, report: &mut Report) -> Result<(), Failure> {
    create(client, "many").await?;
    let mut alone = Vec::new();
    let mut together = Vec::new();
    for _ in 0..ROUNDS {
        alone.push(callers(client, 1, 1_000 / scale).await?);
        together.push(callers(client, PRODUCERS, 1_000 / scale).await?);
    }
    let alone = median_rate(&mut alone);
    report.rate(
        "64 callers, one record each at a time, beside one caller",
        median_rate(&mut together),
        "records/s",
        Some(alone),
    );
    Ok(())
}

async fn callers(client: &Client, count: usize, each: usize) -> Result<f64, Failure> {
    let batch = batch(1)?;
    let started = Instant::now();
    let calls = (0..count).map(|_| {
        let (client, batch) = (client.clone(), batch.clone());
        tokio::spawn(async move {
            for _ in 0..each {
                client.produce(produce("many", &batch)).await?;
            }
            Ok::<(), varve_client::ClientError>(())
        })
    });
    for call in try_join_all(calls).await? {
        call?;
    }
    Ok(rate((count * each) as u64, started.elapsed()))
}

/// One producer of the client library at its defaults, 1 KiB records, as fast as it goes.
async fn pipelined(client: &Client, scale: usize, report: &mut Report) -> Result<(), Failure> {
    create(client, "pipelined").await?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let producer = client.producer("pipelined").build().await?;
        rates.push(send(&producer, 200_000 / scale).await?);
        producer.close().await?;
    }
    report.rate("one pipelined producer of 1 KiB records", median_rate(&mut rates), "records/s", None);
    Ok(())
}

async fn send(producer: &Producer, count: usize) -> Result<f64, Failure> {
    let value = vec![b'x'; RECORD_BYTES];
    let record = ProducerRecord::new(value);
    let started = Instant::now();
    let mut last = None;
    for _ in 0..count {
        last = Some(producer.send(record.clone()).await?);
    }
    producer.flush().await?;
    if let Some(last) = last {
        last.await?;
    }
    Ok(rate(count as u64, started.elapsed()))
}

/// Encoded batches of a thousand records, eight calls in flight.
async fn batches(client: &Client, scale: usize, limit: f64, report: &mut Report) -> Result<(), Failure> {
    create(client, "batches").await?;
    let batch = batch(1_000)?;
    let bytes = batch.as_bytes().len();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let calls = 400 / scale;
        let workers = (0..8).map(|_| {
            let (client, batch) = (client.clone(), batch.clone());
            tokio::spawn(async move {
                for _ in 0..calls / 8 {
                    client.produce(produce("batches", &batch)).await?;
                }
                Ok::<(), varve_client::ClientError>(())
            })
        });
        for worker in try_join_all(workers).await? {
            worker?;
        }
        rates.push(rate((calls / 8 * 8 * bytes) as u64, started.elapsed()));
    }
    let figure = median_rate(&mut rates);
    report.rate(
        "batches of 1,000 records of 1 KiB, beside a bare write synced every 8 MiB",
        figure / 1e6,
        "MB/s",
        Some(limit / 1e6),
    );
    report.rate("the same in records", figure / bytes as f64 * 1000.0, "records/s", None);
    Ok(())
}

/// What was just written, from the page cache through gRPC, as encoded batches.
async fn reading(client: &Client, report: &mut Report) -> Result<(), Failure> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let mut consumer = client.consumer("batches").until_end().build().await?;
        let (started, mut bytes) = (Instant::now(), 0);
        while let Some(batch) = consumer.next_batch().await? {
            bytes += batch.batch.size_bytes() as u64;
        }
        rates.push(rate(bytes, started.elapsed()));
    }
    report.rate("reading it back as encoded batches", median_rate(&mut rates) / 1e6, "MB/s", None);
    Ok(())
}

async fn create(client: &Client, topic: &str) -> Result<(), Failure> {
    let request = v1::CreateTopicRequest { name: topic.to_owned(), partitions: 1, ..Default::default() };
    client.create_topic(request).await?;
    Ok(())
}

fn produce(topic: &str, batch: &Batch) -> v1::ProduceRequest {
    v1::ProduceRequest {
        topic: topic.to_owned(),
        partition: Some(0),
        encoded_batch: batch.as_bytes().clone(),
        ..Default::default()
    }
}

fn batch(records: usize) -> Result<Batch, Failure> {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.push(Timestamp::new(0), None, Some(&[b'x'; RECORD_BYTES]), &[])?;
    }
    Ok(builder.build()?)
}
