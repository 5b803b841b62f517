//! What is made to cost much: little bytes that become many, and frames that claim to be large.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_api::v1::produce_stream_response::Result as Outcome;

use crate::support::{TestNode, values, within};

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), fold))
}

/// A frame of zstd that becomes so many times 128 KiB: blocks that say one byte and how often it comes.
fn zstd_bomb(blocks: usize) -> Vec<u8> {
    // A window of 8 MiB, and no length said.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3];
    for number in 1..=blocks {
        let is_last = u32::from(number == blocks);
        let header = is_last | 1 << 1 | (128 * 1024) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// A batch of one record, as it says, whose records are these compressed bytes.
fn batch_of_zstd(records: &[u8]) -> Vec<u8> {
    const ZSTD: u16 = 4;
    let mut checked = Vec::new();
    checked.extend_from_slice(&ZSTD.to_be_bytes());
    checked.extend_from_slice(&0_u32.to_be_bytes());
    checked.extend_from_slice(&[1_700_000_000_000_u64.to_be_bytes(); 2].concat());
    // No producer.
    checked.extend_from_slice(&[0xff; 8 + 2 + 4]);
    checked.extend_from_slice(&1_u32.to_be_bytes());
    checked.extend_from_slice(records);
    let mut batch = vec![0; 8];
    let length = u32::try_from(4 + 1 + 4 + checked.len()).unwrap();
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&0_u32.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_becomes_a_gigabyte_is_refused_and_the_node_serves_on() {
    let mut node = TestNode::start().await;
    assert_eq!(node.produce("before").await, 0);
    // 32 KiB that become 1 GiB.
    let bomb = batch_of_zstd(&zstd_bomb(8 * 1024));
    assert!(bomb.len() < 40 * 1024);
    let request = || v1::ProduceRequest { encoded_batch: bomb.clone().into(), ..values(&[]) };
    let is_refused = |error: &ApiError| {
        assert_eq!(error.reason, Reason::BatchTooLarge, "{error}");
    };
    is_refused(&ApiError::from_status(&within(node.log.produce(request())).await.unwrap_err()));
    // Many at a time, and in a stream, which goes on.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (mut log, request) = (node.log.clone(), request());
        calls.spawn(async move { log.produce(request).await });
    }
    while let Some(refused) = within(calls.join_next()).await {
        let error = ApiError::from_status(&refused.unwrap().unwrap_err());
        assert!(matches!(error.reason, Reason::BatchTooLarge | Reason::Overloaded), "{error}");
    }
    let numbered = |request_id, batch| v1::ProduceStreamRequest { request_id, batch: Some(batch) };
    let requests = [numbered(1, request()), numbered(2, values(&["after"]))];
    let mut answers = node.log.produce_stream(futures::stream::iter(requests)).await.unwrap().into_inner();
    match within(answers.message()).await.unwrap().unwrap().result.unwrap() {
        Outcome::Error(error) => is_refused(&error.into()),
        Outcome::Ack(ack) => panic!("{ack:?}"),
    }
    let after = within(answers.message()).await.unwrap().unwrap();
    assert!(matches!(after.result, Some(Outcome::Ack(_))), "{after:?}");
    assert_eq!(node.all_values().await, ["before", "after"]);
}

/// What a node says first to another: node 2 to this one, in the clear.
fn greeting(cluster_id: &str) -> Vec<u8> {
    let id = cluster_id.replace('-', "");
    let mut hello = b"VRVP".to_vec();
    hello.extend_from_slice(&1_u16.to_le_bytes());
    hello.extend_from_slice(&[2, 0]);
    hello.extend((0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()));
    hello.extend_from_slice(&2_u64.to_le_bytes());
    hello.extend_from_slice(&1_u64.to_le_bytes());
    hello.extend_from_slice(&crc32c(&hello).to_le_bytes());
    [&[1][..], &hello].concat()
}

/// The head of a frame that asks something, with a payload of so many bytes to come, which has this checksum.
fn head_of_a_frame(payload_bytes: u32, checksum: u32) -> Vec<u8> {
    let mut head = payload_bytes.to_le_bytes().to_vec();
    head.extend_from_slice(&[1, 0, 0, 0]);
    head.extend_from_slice(&1_u64.to_le_bytes());
    head.extend_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(&crc32c(&head).to_le_bytes());
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_frame_that_claims_four_gigabytes_ends_its_connection_and_nothing_else() {
    let mut node = TestNode::start().await;
    assert_eq!(node.produce("before").await, 0);
    let greeting = greeting(&node.node.identity().cluster_id);
    let connect = async || {
        let mut stream = within(TcpStream::connect(node.node.rpc_addr())).await.unwrap();
        stream.write_all(&greeting).await.unwrap();
        let mut answer = [0; 44];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer[..4], b"VRVP");
        stream
    };
    for payload_bytes in [u32::MAX, 1 << 31, 24 * 1024 * 1024 + 1] {
        let mut stream = connect().await;
        stream.write_all(&head_of_a_frame(payload_bytes, 0)).await.unwrap();
        // It waits for nothing of what was claimed.
        let mut rest = Vec::new();
        let closed = within(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{closed:?}: {rest:?}");
    }
    // A frame that keeps to the limit is answered, whatever is in it.
    let mut stream = connect().await;
    let payload = b"anything";
    let frame = [&head_of_a_frame(8, crc32c(payload))[..], payload].concat();
    stream.write_all(&frame).await.unwrap();
    within(stream.read_exact(&mut [0; 24])).await.unwrap();
    assert_eq!(node.produce("after").await, 1);
}
