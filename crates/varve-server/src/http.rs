//! What speaks HTTP/1: told in one line that nothing is here for it yet.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use varve_net::Connection;

/// How long a request may take to come, and its answer to leave.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a request's head that are read before it is answered anyway.
const HEAD_BYTES_MAX: usize = 8 * 1024;

const ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 47\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks gRPC, which needs HTTP/2; bye\n";

/// Answers one request and closes.
pub(crate) async fn refuse(mut connection: Connection) {
    let exchange = async {
        // A close with unread bytes would reset the connection, and the answer might be lost with it.
        read_head(&mut connection).await?;
        connection.write_all(ANSWER).await?;
        connection.shutdown().await
    };
    // What became of it is the peer's affair.
    drop(tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await);
}

async fn read_head(connection: &mut Connection) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if connection.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let answer = std::str::from_utf8(super::ANSWER).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
    }
}
