//! Limits hold, and the accept loop outlives whatever the system does.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio::time::Instant;
use varve_net::{FIRST_BYTE_TIMEOUT, MuxLimits, PEER_BYTE, Protocol};

use crate::support::{SOON, Scripted, next, real};

const EMFILE: i32 = 24;

#[tokio::test]
async fn one_connection_too_many_is_closed_and_its_place_is_free_again() {
    let limits = MuxLimits { connections_max: 2, ..MuxLimits::default() };
    let (mut mux, addr) = real(limits).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(&[PEER_BYTE]).await.unwrap();
        open.push((client, next(&mut mux).await));
    }

    let mut refused = TcpStream::connect(addr).await.unwrap();
    let read = tokio::time::timeout(SOON, refused.read(&mut [0; 1])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    open.pop();
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(&[PEER_BYTE]).await.unwrap();
    next(&mut mux).await;
}

#[tokio::test]
async fn no_number_of_clients_keeps_peers_out() {
    let limits = MuxLimits { connections_max: 4, peers_reserved: 1, ..MuxLimits::default() };
    let (mut mux, addr) = real(limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        open.push((client, next(&mut mux).await));
    }
    let mut refused = TcpStream::connect(addr).await.unwrap();
    refused.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let read = tokio::time::timeout(SOON, refused.read(&mut [0; 1])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    let mut peer = TcpStream::connect(addr).await.unwrap();
    peer.write_all(&[PEER_BYTE]).await.unwrap();
    assert_eq!(next(&mut mux).await.protocol, Protocol::Peer);
    open.pop();
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(next(&mut mux).await.protocol, Protocol::Http1);
}

#[tokio::test(start_paused = true)]
async fn silent_peers_make_room_for_those_who_come_later() {
    let limits = MuxLimits { pending_max: 2, ..MuxLimits::default() };
    let (mut silent_1, server_1) = duplex(8);
    let (mut silent_2, server_2) = duplex(8);
    let (mut client, server_3) = duplex(8);
    let begun = Instant::now();
    let mut mux = Scripted::mux([Ok(server_1), Ok(server_2), Ok(server_3)], limits);
    client.write_all(&[PEER_BYTE]).await.unwrap();
    next(&mut mux).await;
    assert_eq!(silent_1.read(&mut [0; 1]).await.unwrap(), 0, "it is closed");
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody has waited for its time to be over");
    assert_eq!(silent_2.read(&mut [0; 1]).await.unwrap(), 0, "it is closed when its time is over");
    assert!(begun.elapsed() >= FIRST_BYTE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn accepting_survives_a_lack_of_file_handles_and_broken_peers() {
    let failures = [
        io::Error::from_raw_os_error(EMFILE),
        io::ErrorKind::ConnectionAborted.into(),
        io::Error::from_raw_os_error(EMFILE),
        io::ErrorKind::OutOfMemory.into(),
        io::Error::other("never heard of"),
    ];
    let (mut client, server) = duplex(8);
    let script = failures.into_iter().map(Err).chain([Ok(server)]);
    let mut mux = Scripted::mux(script, MuxLimits::default());
    client.write_all(&[PEER_BYTE]).await.unwrap();
    next(&mut mux).await;
}

#[tokio::test]
async fn closing_ends_connections_that_were_handed_on() {
    let (mut client, server) = duplex(8);
    let mut mux = Scripted::mux([Ok(server)], MuxLimits::default());
    client.write_all(&[PEER_BYTE]).await.unwrap();
    let mut connection = next(&mut mux).await.connection;
    assert_eq!(connection.read_u8().await.unwrap(), PEER_BYTE);

    let close = mux.close_token();
    let reading = tokio::spawn(async move { connection.read_u8().await });
    close.cancel();
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn dropped_it_listens_no_more() {
    let (mux, addr) = real(MuxLimits::default()).await;
    drop(mux);
    let deadline = tokio::time::Instant::now() + SOON;
    // The socket closes once the aborted task has gone.
    while TcpStream::connect(addr).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the port is still open");
        tokio::task::yield_now().await;
    }
}
