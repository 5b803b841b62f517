//! The load, and how it is measured.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::sync::mpsc;
use varve_api::TopicName;
use varve_client::{ClientError, Delivery, Producer, ProducerRecord, ReadFrom};
use varve_record::{Compression, Offset};

use super::BenchArgs;
use super::measure::{Latency, Measured};
use crate::cli::Verbosity;
use crate::commands::connection::Connection;
use crate::commands::produce::AcksArg;
use crate::failure::Failure;

/// Records of a producer that are under way at once; its bytes in flight are bounded besides.
const UNDER_WAY_MAX: usize = 64 * 1024;
/// Different values that are sent, so that no codec sees the same one again and again.
const VALUES: usize = 256;

/// What is measured.
pub(crate) struct Load {
    connection: Connection,
    topic: TopicName,
    records: u64,
    singles: u64,
    producers: u32,
    batch_bytes: usize,
    acks: AcksArg,
    compression: Compression,
    values: Vec<Bytes>,
    value_bytes: u64,
}

impl Load {
    /// As the command line says.
    pub(crate) fn new(args: &BenchArgs, topic: TopicName, connection: Connection) -> Self {
        let size = usize::try_from(args.size).unwrap_or(usize::MAX).min(varve_api::limits::BATCH_BYTES_MAX);
        Self {
            connection,
            topic,
            records: args.records,
            singles: args.singles,
            producers: args.producers,
            batch_bytes: usize::try_from(args.batch).unwrap_or(usize::MAX),
            acks: args.acks,
            compression: args.compression,
            values: values(size),
            value_bytes: size as u64,
        }
    }

    /// Measures one thing after the other.
    pub(crate) async fn measure(&self, verbosity: Verbosity) -> Result<Vec<Measured>, Failure> {
        let say = |what: &str| {
            if !verbosity.quiet {
                eprintln!("{what} ...");
            }
        };
        let failed =
            |error: ClientError| self.connection.fail(format!("measure on topic {}", self.topic), &error);
        let starts = self.ends().await.map_err(failed)?;
        let mut measured = Vec::new();
        if self.singles > 0 {
            say("one at a time");
            measured.push(self.one_at_a_time().await.map_err(failed)?);
        }
        say("pipelined");
        measured.push(self.pipelined().await.map_err(failed)?);
        say("reading");
        measured.push(self.read(&starts).await.map_err(failed)?);
        Ok(measured)
    }

    async fn one_at_a_time(&self) -> Result<Measured, ClientError> {
        let producer = self.producer().await?;
        // The first append opens the stream, which is not what is measured.
        producer.send(self.record(0)).await?.await?;
        let mut latencies = Vec::new();
        let started = Instant::now();
        for number in 0..self.singles {
            let sent = Instant::now();
            producer.send(self.record(number)).await?.await?;
            latencies.push(sent.elapsed());
        }
        let elapsed = started.elapsed();
        producer.close().await?;
        Ok(self.measured("one at a time", self.singles, elapsed, Latency::of(latencies)))
    }

    async fn pipelined(&self) -> Result<Measured, ClientError> {
        let producers = try_join_all((0..self.producers).map(|_| self.producer())).await?;
        let started = Instant::now();
        let share = |producer: u64| {
            let count = u64::from(self.producers);
            self.records / count + u64::from(producer < self.records % count)
        };
        let sending = producers.iter().zip(0..).map(|(producer, number)| self.send(producer, share(number)));
        let latencies = try_join_all(sending).await?;
        let elapsed = started.elapsed();
        for producer in producers {
            producer.close().await?;
        }
        Ok(self.measured("pipelined", self.records, elapsed, Latency::of(latencies.concat())))
    }

    /// Sends so many records, and gives how long each took.
    async fn send(&self, producer: &Producer, records: u64) -> Result<Vec<Duration>, ClientError> {
        let (sender, mut receiver) = mpsc::channel::<(Instant, Delivery)>(UNDER_WAY_MAX);
        let sending = async move {
            for number in 0..records {
                let sent = Instant::now();
                let delivery = producer.send(self.record(number)).await?;
                if sender.send((sent, delivery)).await.is_err() {
                    break;
                }
            }
            producer.flush().await
        };
        let receiving = async move {
            let mut latencies = Vec::new();
            while let Some((sent, delivery)) = receiver.recv().await {
                delivery.await?;
                latencies.push(sent.elapsed());
            }
            Ok(latencies)
        };
        let ((), latencies) = tokio::try_join!(sending, receiving)?;
        Ok(latencies)
    }

    /// Reads what was sent, as encoded batches whose records are looked at one by one.
    async fn read(&self, starts: &[(u32, u64)]) -> Result<Measured, ClientError> {
        let started = Instant::now();
        let (mut records, mut bytes) = (0, 0);
        for (partition, start) in starts {
            let consumer = self.connection.client.consumer(self.topic.as_str()).partitions([*partition]);
            let from = ReadFrom::Offset(Offset::new(*start));
            let mut consumer = consumer.from(from).until_end().build().await?;
            while let Some(batch) = consumer.next_batch().await? {
                batch.for_each(&Default::default(), |record| {
                    records += 1;
                    bytes += record.value.map_or(0, <[u8]>::len) as u64;
                })?;
            }
        }
        Ok(Measured::new("read", records, bytes, started.elapsed(), None))
    }

    /// The partitions and where each ends.
    async fn ends(&self) -> Result<Vec<(u32, u64)>, ClientError> {
        let topic = self.connection.client.describe_topic(self.topic.as_str()).await?;
        let ends = topic.partitions.iter().map(|part| (part.partition, part.high_watermark.unwrap_or(0)));
        Ok(ends.collect())
    }

    async fn producer(&self) -> Result<Producer, ClientError> {
        let producer = self.connection.client.producer(self.topic.as_str());
        let producer = producer.acks(self.acks.into()).compression(self.compression);
        producer.batch_bytes(self.batch_bytes).build().await
    }

    fn record(&self, number: u64) -> ProducerRecord {
        ProducerRecord::new(self.values[number as usize % VALUES].clone())
    }

    fn measured(
        &self,
        what: &'static str,
        records: u64,
        elapsed: Duration,
        latency: Option<Latency>,
    ) -> Measured {
        Measured::new(what, records, records * self.value_bytes, elapsed, latency)
    }
}

/// Values of this size: hexadecimal digits, which a codec halves, from a fixed sequence.
fn values(size: usize) -> Vec<Bytes> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut digit = || {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    (0..VALUES).map(|_| (0..size).map(|_| digit()).collect::<Vec<u8>>().into()).collect()
}
