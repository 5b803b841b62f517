//! A read that is streamed.

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use varve_api::error::ApiError;

use super::read_ahead::{Held, ReadAhead};
use super::session::{Piece, Session};
use crate::drain::Drain;
use crate::limits::STREAM_PIECES_AHEAD_MAX;
use crate::telemetry::{OpenStreams, StreamPlace};

/// What a streamed read answers.
#[derive(Debug)]
pub(crate) enum Event {
    /// Part of the partition.
    Piece(Piece),
    /// Nothing new; the piece is empty.
    Heartbeat(Piece),
    /// The server will soon be gone; the piece is empty. An error follows.
    Draining(Piece),
}

/// Reads until a bound is reached, then ends; without a bound it follows the tail. A reader that does not take what was
/// read keeps no more than [`STREAM_PIECES_AHEAD_MAX`] pieces of it here, and what the connection holds. How large they are
/// is said by [`ReadAhead`].
pub(crate) fn stream(
    session: Session,
    heartbeat: Option<Duration>,
    drain: Drain,
    read_ahead: &ReadAhead,
    streams: &OpenStreams,
) -> impl Stream<Item = Result<Event, ApiError>> + use<> {
    let (events, mut taken) = mpsc::channel(STREAM_PIECES_AHEAD_MAX);
    let place = session.place(streams);
    let follow = Follow { session, heartbeat, drain, held: read_ahead.begin(), events, place };
    drop(varve_env::spawn_task(follow.run()));
    futures::stream::poll_fn(move |cx| taken.poll_recv(cx))
}

struct Follow {
    session: Session,
    heartbeat: Option<Duration>,
    drain: Drain,
    held: Held,
    events: mpsc::Sender<Result<Event, ApiError>>,
    /// Where it is told how far it is.
    place: StreamPlace,
}

/// Nobody takes the events any more.
struct Gone;

impl Follow {
    async fn run(mut self) {
        // Either way the stream ends, with what was sent.
        drop(self.read().await);
    }

    async fn read(&mut self) -> Result<(), Gone> {
        while !self.session.ended() {
            // Room comes first: what is read for a slow reader would only lie here.
            let room = self.events.clone().reserve_owned().await.map_err(|_| Gone)?;
            if self.drain.has_begun() {
                room.send(Ok(Event::Draining(self.session.empty_piece())));
                return self.send(Err(Drain::error())).await;
            }
            match self.session.piece(self.held.next_bytes_max()).await {
                Ok(piece) if !piece.is_empty() => {
                    self.place.given(self.session.next().get());
                    drop(room.send(Ok(Event::Piece(piece))));
                }
                Ok(_) => {
                    self.held.is_idle();
                    drop(room);
                    self.wait().await?;
                }
                Err(error) => {
                    room.send(Err(error));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Returns once there is more to read, or the stream should end.
    async fn wait(&mut self) -> Result<(), Gone> {
        while !self.session.ended() {
            let events = self.events.clone();
            let heartbeat = self.heartbeat;
            tokio::select! {
                biased;
                () = events.closed() => return Err(Gone),
                () = self.drain.begun() => return Ok(()),
                more = self.session.wait() => {
                    return match more {
                        Ok(()) => Ok(()),
                        Err(error) => {
                            self.send(Err(error)).await?;
                            Err(Gone)
                        }
                    };
                }
                () = pause(heartbeat) => {}
            }
            self.send(Ok(Event::Heartbeat(self.session.empty_piece()))).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Result<Event, ApiError>) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }
}

async fn pause(heartbeat: Option<Duration>) {
    match heartbeat {
        Some(interval) => sleep(interval).await,
        None => std::future::pending().await,
    }
}
