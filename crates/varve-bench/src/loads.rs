//! What is measured of one server, and of a cluster.

use crate::Failure;
use crate::limits;
use crate::report::{Limit, Report};
use crate::servers::{Servers, create_topic};
use crate::statistics::{median_rate, rate};
use futures::future::try_join_all;
use std::path::Path;
use std::time::{Duration, Instant};
use varve_client::record::{Batch, BatchBuilder, Compression, Timestamp};
use varve_client::{Client, ClientError, Producer, ProducerRecord, api::v1};

const RECORD_BYTES: usize = 1024;
const CALLERS: usize = 64;
/// Records of a batch where they are sent as such.
const BATCH_RECORDS: usize = 1_000;
/// How often each figure is had, with its limit in turn, for the machine's speed drifts.
const ROUNDS: usize = 5;

/// Loads on servers, and their figures.
struct Loads<'a> {
    servers: &'a Servers,
    client: &'a Client,
    dir: &'a Path,
    /// Divides the work.
    scale: usize,
    report: Report,
}

/// Starts so many servers and measures everything; `scale` divides the work.
pub(crate) async fn all(binary: &Path, dir: &Path, scale: usize, nodes: usize) -> Result<Report, Failure> {
    let (servers, client, start) = Servers::start(binary, dir, nodes).await?;
    let mut loads = Loads { servers: &servers, client: &client, dir, scale, report: Report::default() };
    loads.report.times("start to first acknowledged record", &mut [start], None);
    loads.memory("memory after it")?;
    loads.one_at_a_time().await?;
    loads.many_at_once().await?;
    loads.pipelined().await?;
    loads.batches().await?;
    loads.reading().await?;
    loads.one_read_at_a_time().await?;
    loads.memory("memory at the end")?;
    Ok(loads.report)
}

impl Loads<'_> {
    /// One record, acknowledged, then the next: as a caller of the plain RPC does.
    async fn one_at_a_time(&mut self) -> Result<(), Failure> {
        self.create("single").await?;
        let (mut growing, mut overwriting, mut quorum) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bare, mut trips) = (Vec::new(), Vec::new());
        let (mut samples, mut used) = (Vec::new(), Duration::ZERO);
        for _ in 0..ROUNDS {
            let count = 600 / self.scale;
            growing.extend(limits::append_and_sync(self.dir, RECORD_BYTES, count / 2)?);
            overwriting.extend(limits::overwrite_and_sync(self.dir, RECORD_BYTES, count)?);
            if self.servers.count() > 1 {
                quorum.extend(limits::two_of_three_synced(self.dir, RECORD_BYTES, count)?);
                bare.extend(limits::bare_replication(self.dir, RECORD_BYTES, count)?);
            }
            trips.extend(limits::round_trip(count).await?);
            // The first call makes the connection.
            self.client.produce(produce("single", &batch(1)?)).await?;
            let before = self.servers.used()?.cpu;
            for _ in 0..count {
                let request = produce("single", &batch(1)?);
                let started = Instant::now();
                self.client.produce(request).await?;
                samples.push(started.elapsed());
            }
            used += self.servers.used()?.cpu.saturating_sub(before);
        }
        let limit = Limit::of(&mut overwriting).and(Limit::of(&mut trips));
        self.report.times("bare append of 1 KiB and fdatasync, growing file", &mut growing, None);
        self.report.times("bare overwrite of 1 KiB and fdatasync", &mut overwriting, None);
        if !quorum.is_empty() {
            self.report.times("the same of three files at once, until two are synced", &mut quorum, None);
        }
        self.report.times("bare loopback round trip", &mut trips, None);
        self.report.times(
            "one 1 KiB record at a time, beside one fdatasync and one round trip",
            &mut samples,
            Some(limit),
        );
        if !bare.is_empty() {
            let limit = Limit::of(&mut bare);
            self.report.times("bare replication, by datagrams between threads", &mut bare, None);
            self.report.times("one 1 KiB record at a time, beside that", &mut samples, Some(limit));
        }
        let each = used / u32::try_from(samples.len())?;
        self.report.plain("processor time of all servers for each", format!("{} µs", each.as_micros()));
        Ok(())
    }

    /// Many callers, each one record at a time.
    async fn many_at_once(&mut self) -> Result<(), Failure> {
        self.create("many").await?;
        let (mut alone, mut together, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (rate, _) = callers(self.client, 1, 1_000 / self.scale).await?;
            alone.push(rate);
            let (rate, times) = callers(self.client, CALLERS, 1_000 / self.scale).await?;
            together.push(rate);
            samples.extend(times);
        }
        let alone = median_rate(&mut alone);
        self.report.rate(
            "64 callers, one record each at a time, beside one caller",
            median_rate(&mut together),
            "records/s",
            Some(alone),
        );
        self.report.times("how long each of them waits", &mut samples, None);
        Ok(())
    }

    /// One producer of the client library at its defaults, 1 KiB records, as fast as it goes.
    async fn pipelined(&mut self) -> Result<(), Failure> {
        self.create("pipelined").await?;
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let producer = self.client.producer("pipelined").build().await?;
            rates.push(send(&producer, 200_000 / self.scale).await?);
            producer.close().await?;
        }
        let figure = median_rate(&mut rates);
        self.report.rate("one pipelined producer of 1 KiB records", figure, "records/s", None);
        Ok(())
    }

    /// Encoded batches, eight calls in flight.
    async fn batches(&mut self) -> Result<(), Failure> {
        self.create("batches").await?;
        let batch = batch(BATCH_RECORDS)?;
        let bytes = batch.as_bytes().len();
        let (mut rates, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            limit.push(limits::stream_and_sync(self.dir, 256 / self.scale)?);
            let started = Instant::now();
            let calls = self.batch_calls();
            let workers = (0..8).map(|_| {
                let (client, batch) = (self.client.clone(), batch.clone());
                tokio::spawn(async move {
                    for _ in 0..calls / 8 {
                        client.produce(produce("batches", &batch)).await?;
                    }
                    Ok::<(), ClientError>(())
                })
            });
            for worker in try_join_all(workers).await? {
                worker?;
            }
            rates.push(rate((calls * bytes) as u64, started.elapsed()));
        }
        let figure = median_rate(&mut rates);
        self.report.rate(
            "batches of 1,000 records of 1 KiB, beside a bare write synced every 8 MiB",
            figure / 1e6,
            "MB/s",
            Some(median_rate(&mut limit) / 1e6),
        );
        let records = figure / bytes as f64 * BATCH_RECORDS as f64;
        self.report.rate("the same in records", records, "records/s", None);
        Ok(())
    }

    /// All that was just written, from the page cache through gRPC, as encoded batches.
    async fn reading(&mut self) -> Result<(), Failure> {
        let written = (ROUNDS * self.batch_calls() * batch(BATCH_RECORDS)?.as_bytes().len()) as u64;
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let mut consumer = self.client.consumer("batches").build().await?;
            let (started, mut bytes) = (Instant::now(), 0);
            while bytes < written {
                let batch = consumer.next_batch().await?.ok_or("the log ends before what was written")?;
                bytes += batch.batch.size_bytes() as u64;
            }
            rates.push(rate(bytes, started.elapsed()));
        }
        let name = format!("reading it back as encoded batches{}", self.source_of_reads());
        self.report.rate(&name, median_rate(&mut rates) / 1e6, "MB/s", None);
        Ok(())
    }

    /// One record is asked for, then the next.
    async fn one_read_at_a_time(&mut self) -> Result<(), Failure> {
        let (mut trips, mut samples) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let count = 600 / self.scale;
            trips.extend(limits::round_trip(count).await?);
            self.client.consume(consume("single", 0)).await?;
            for offset in 0..count as u64 {
                let request = consume("single", offset);
                let started = Instant::now();
                let read = self.client.consume(request).await?;
                samples.push(started.elapsed());
                if read.next_offset != offset + 1 {
                    return Err(format!("record {offset} was not read").into());
                }
            }
        }
        let name = format!("reading one record at a time{}, beside a round trip", self.source_of_reads());
        let limit = Limit::of(&mut trips);
        self.report.times(&name, &mut samples, Some(limit));
        Ok(())
    }

    fn memory(&mut self, name: &str) -> Result<(), Failure> {
        let bytes = self.servers.used()?.memory_bytes_max;
        let name = if self.servers.count() > 1 { format!("{name}, of the largest") } else { name.to_owned() };
        self.report.plain(&name, format!("{:.1} MB", bytes as f64 / 1e6));
        Ok(())
    }

    /// The client reads from followers where there are any.
    fn source_of_reads(&self) -> &'static str {
        if self.servers.count() > 1 { " from followers" } else { "" }
    }

    /// Calls of a round, a multiple of those in flight.
    fn batch_calls(&self) -> usize {
        400 / self.scale / 8 * 8
    }

    async fn create(&self, topic: &str) -> Result<(), Failure> {
        create_topic(self.servers, self.client, topic, 1).await
    }
}

/// So many callers produce so many records each, one at a time: records a second, and how long each took.
async fn callers(client: &Client, count: usize, each: usize) -> Result<(f64, Vec<Duration>), Failure> {
    let batch = batch(1)?;
    let started = Instant::now();
    let calls = (0..count).map(|_| {
        let (client, batch) = (client.clone(), batch.clone());
        tokio::spawn(async move {
            let mut samples = Vec::with_capacity(each);
            for _ in 0..each {
                let started = Instant::now();
                client.produce(produce("many", &batch)).await?;
                samples.push(started.elapsed());
            }
            Ok::<_, ClientError>(samples)
        })
    });
    let samples: Vec<_> = try_join_all(calls).await?.into_iter().collect::<Result<_, _>>()?;
    let took = started.elapsed();
    Ok((rate((count * each) as u64, took), samples.concat()))
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

fn produce(topic: &str, batch: &Batch) -> v1::ProduceRequest {
    v1::ProduceRequest {
        topic: topic.to_owned(),
        partition: Some(0),
        encoded_batch: batch.as_bytes().clone(),
        ..Default::default()
    }
}

fn consume(topic: &str, offset: u64) -> v1::ConsumeRequest {
    v1::ConsumeRequest {
        topic: topic.to_owned(),
        from: Some(v1::ReadFrom { start: Some(v1::read_from::Start::Offset(offset)), clamp: false }),
        bounds: Some(v1::ReadBounds { max_records: Some(1), ..Default::default() }),
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
