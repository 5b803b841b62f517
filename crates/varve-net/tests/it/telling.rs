//! What a connection speaks is told, and every byte of it reaches the handler.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use varve_net::{HTTP2_PREFACE, MuxLimits, PEER_BYTE, Protocol};

use crate::support::{SOON, Scripted, next, real};

#[tokio::test]
async fn every_protocol_is_told_and_its_bytes_are_put_back() {
    let (mut mux, addr) = real(MuxLimits::default()).await;
    let cases: [(&[u8], Protocol); 3] = [
        (HTTP2_PREFACE, Protocol::Http2),
        (b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n", Protocol::Http1),
        (&[PEER_BYTE, 7, 8, 9], Protocol::Peer),
    ];
    for (sent, protocol) in cases {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(sent).await.unwrap();
        client.write_all(b"and the rest").await.unwrap();
        client.shutdown().await.unwrap();

        let mut incoming = next(&mut mux).await;
        assert_eq!(incoming.protocol, protocol);
        assert_eq!(incoming.connection.peer_addr(), client.local_addr().unwrap());
        let mut read = Vec::new();
        incoming.connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [sent, b"and the rest"].concat());
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_enough() {
    let (mut client, server) = duplex(1);
    let mut mux = Scripted::mux([Ok(server)], MuxLimits::default());
    let sending = tokio::spawn(async move {
        client.write_all(HTTP2_PREFACE).await.unwrap();
        client
    });
    let mut incoming = next(&mut mux).await;
    assert_eq!(incoming.protocol, Protocol::Http2);
    let mut read = vec![0; HTTP2_PREFACE.len()];
    incoming.connection.read_exact(&mut read).await.unwrap();
    assert_eq!(read, HTTP2_PREFACE);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn replayed_bytes_fit_small_reads() {
    let (mut client, server) = duplex(64);
    let mut mux = Scripted::mux([Ok(server)], MuxLimits::default());
    client.write_all(b"GET /").await.unwrap();
    let mut connection = next(&mut mux).await.connection;
    for expected in b"GET /" {
        assert_eq!(connection.read_u8().await.unwrap(), *expected);
    }
}

#[tokio::test]
async fn garbage_is_closed_and_the_next_peer_served() {
    let (mut mux, addr) = real(MuxLimits::default()).await;
    for garbage in [&b"\0"[..], b"SSH-2.0-OpenSSH\r\n", b"PRI * HTTP/9"] {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(garbage).await.unwrap();
        assert_closed(&mut client).await;
    }
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(&[PEER_BYTE]).await.unwrap();
    assert_eq!(next(&mut mux).await.protocol, Protocol::Peer);
}

#[tokio::test]
async fn tls_is_told_that_there_is_none_here() {
    let (_mux, addr) = real(MuxLimits::default()).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"\x16\x03\x01\x02\x00and the rest of a handshake").await.unwrap();
    let mut heard = Vec::new();
    let read = tokio::time::timeout(SOON, client.read_to_end(&mut heard)).await;
    read.expect("the server closes").expect("and lets its answer be read");
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("serves in the clear"), "{heard}");
}

/// Time is simulated: it moves on when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_closed() {
    let (mut client, server) = duplex(64);
    let mux = Scripted::mux([Ok(server)], MuxLimits::default());
    let accepted = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(accepted.elapsed().as_secs(), varve_net::FIRST_BYTE_TIMEOUT.as_secs());
    drop(mux);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_within_its_preface_is_closed() {
    let (mut client, server) = duplex(64);
    let mux = Scripted::mux([Ok(server)], MuxLimits::default());
    let accepted = tokio::time::Instant::now();
    client.write_all(&HTTP2_PREFACE[..1]).await.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(accepted.elapsed().as_secs(), varve_net::PREFACE_TIMEOUT.as_secs());
    drop(mux);
}

async fn assert_closed(client: &mut TcpStream) {
    let read = tokio::time::timeout(SOON, client.read(&mut [0; 16])).await.expect("the server closes");
    // A close with unread bytes is a reset.
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}
