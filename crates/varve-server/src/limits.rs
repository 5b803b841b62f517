//! The limits of a server, by name. Those of messages, which clients know too, stand in `varve_api::limits`.

use std::time::Duration;

use varve_record::BATCH_BYTES_MAX;

// What clients are told must be what the lower floors, which do not know each other, hold to.
const _: () = {
    assert!(varve_api::limits::BATCH_BYTES_MAX == BATCH_BYTES_MAX);
    assert!(varve_api::limits::MESSAGE_BYTES_MAX >= BATCH_BYTES_MAX + varve_api::limits::CONSUME_BYTES_MAX);
    // Any batch finds room in the end.
    assert!(STREAM_BYTES_ARRIVING_MAX >= varve_api::limits::MESSAGE_BYTES_MAX);
    assert!(varve_api::limits::PRODUCER_BATCHES_MAX == varve_storage::PRODUCER_BATCHES_MAX);
    assert!(varve_api::limits::PRODUCER_NAME_BYTES_MAX == varve_controller::PRODUCER_NAME_BYTES_MAX);
};

/// Room for an HTTP/2 stream that a client sends on, in bytes: a batch of the largest size, so that none waits for a
/// window.
pub const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Room for all streams of a connection together, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;

/// Largest HTTP/2 frame taken, in bytes.
pub const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Most calls under way on one connection.
pub const CALLS_PER_CONNECTION_MAX: u32 = 1024;

/// Largest list of headers taken, in bytes.
pub const HEADERS_BYTES_MAX: u32 = 16 * 1024;

/// Largest request in bytes but for those that bring records: before anybody has looked at who sends it.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Largest request in bytes that anyone may send, known or not: of health, and of what services there are.
pub const OPEN_REQUEST_BYTES_MAX: usize = 4 * 1024;

/// How long a single request may take to arrive, and a batch of a stream once it has begun.
pub const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long whoever has said in a handshake that it speaks HTTP/2 may take to begin.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long a connection is silent before it is pinged, and how long the answer may take.
pub const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long a connection to another node is silent, with calls on it, before it is pinged, and how long the answer may take.
pub const KEEPALIVE_BETWEEN_NODES: Duration = Duration::from_secs(2);

/// How long a read that was handed on may take, beside what it asked to wait for.
pub const AWAY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long another node may take to say what it knows alone, where an answer is put together from several.
pub const COLLEAGUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Nodes that are asked at the same time for such an answer.
pub const COLLEAGUES_ASKED_AT_ONCE: usize = 16;

/// How long a call that changes something may take before it is answered with DEADLINE.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a read waits for `min_applied_offset`, or for the leader, before it is answered with DEADLINE.
pub const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Batches of one produce stream that are not yet answered. Over it the server stops reading.
pub const STREAM_BATCHES_IN_FLIGHT_MAX: usize = 1024;

/// Bytes of the batches of one produce stream that are not yet answered. Over it the server stops reading.
pub const STREAM_BYTES_IN_FLIGHT_MAX: usize = 32 * 1024 * 1024;

/// By default, bytes of all batches that are not yet answered, of all callers together. Over it produce streams wait,
/// and single produces are answered with OVERLOADED.
pub const PRODUCE_BYTES_IN_FLIGHT_MAX: usize = 256 * 1024 * 1024;

/// Bytes of single produces that are on their way in. Over it more are answered with OVERLOADED before they are there.
pub const PRODUCE_BYTES_ARRIVING_MAX: usize = 128 * 1024 * 1024;

/// Bytes of the batches of all produce streams that are on their way in, and as many of those that go no further than this node. Over
/// it the server takes no more of them, and HTTP/2's windows hold their senders back.
pub const STREAM_BYTES_ARRIVING_MAX: usize = 128 * 1024 * 1024;

/// Bytes of a batch from which it is checked or unpacked beside the threads that serve, rather than on them.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The same of a batch that is compressed: what it decompresses to may be a thousand times as much.
pub const INLINE_COMPRESSED_BYTES_MAX: usize = 4 * 1024;

/// Batches that are checked or unpacked at the same time beside the threads that serve. Each may decompress to 64 MiB.
pub const WORKSHOP_PLACES: usize = 8;

/// Bytes in one piece of a consume stream, unless the first batch alone is larger: large, because each piece costs a
/// system call and a message.
pub const STREAM_PIECE_BYTES_MAX: usize = 1024 * 1024;

/// Pieces of a consume stream that are read ahead of what the connection takes.
pub const STREAM_PIECES_AHEAD_MAX: usize = 1;

/// Bytes that all consume streams together may have read ahead. Over it their pieces are small ones of
/// [`STREAM_PIECE_BYTES_SMALL`], so that those who do not take what they asked for hold little, and nobody waits for them.
pub const READ_AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes in one piece of a consume stream where there is no room for more, unless the first batch alone is larger.
pub const STREAM_PIECE_BYTES_SMALL: usize = 64 * 1024;

/// What a record costs in a message beside its key, value and headers, in bytes, as a server counts it to keep pieces
/// bounded where records are tiny.
pub const RECORD_OVERHEAD_BYTES: usize = 64;

/// The most that the largest record of a topic may be set to, in bytes: a batch of the largest size, less what it holds
/// beside its one record.
pub const RECORD_BYTES_SETTING_MAX: usize = BATCH_BYTES_MAX - 4096;

/// How long a call waits for the controller's leader to say whether there is a topic that is not known here.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the maker of a topic waits for the first leaders of its partitions. Without them the topic is made all the same.
pub const FIRST_LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call that is handed on waits for a partition to have a leader.
pub const LEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause before a partition that could not be opened is tried again; it doubles each time.
pub const REOPEN_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest such pause.
pub const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(15);

/// How often a damaged copy of the metadata is set aside, before somebody has to look at it and take it away.
pub const METADATA_SET_ASIDE_MAX: usize = 3;

/// How often it is looked whether a partition has failed, or found damage.
pub const FAILURE_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a leader that has found damage in its copy waits for another to lead.
pub const DAMAGED_HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a stopping node tries to hand leadership over.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one node may take to lead in the place of a stopping one, before the next is asked.
pub const HEIR_TIMEOUT: Duration = Duration::from_millis(1500);

/// Connections of other nodes that are served at the same time.
pub const PEER_CONNECTIONS_MAX: usize = 4096;

/// How long a failed node is waited for before its replicas are made elsewhere.
pub const REPLACEMENT_DELAY: Duration = Duration::from_secs(600);

/// Partitions that are opened at the same time.
pub const OPENING_MAX: usize = 8;

/// Partitions that are opened before those that are open are published. A topic of more answers that it is made before all of
/// them are open.
pub const OPENING_PORTION: usize = 64;

/// How often storage is given the time.
pub const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// By default, how often retention is looked after.
pub const RETENTION_INTERVAL: Duration = Duration::from_secs(30);

/// By default, how many topics have metrics of their own.
pub const METRICS_TOPICS_MAX: usize = 100;

/// By default, from when on a request is slow, and logged.
pub const SLOW_REQUEST: Duration = Duration::from_secs(1);

/// By default, how long a stopping node waits for the calls under way.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a produce stream of a stopping node goes on taking what its client sends without a pause.
pub const DRAIN_READ_MAX: Duration = Duration::from_secs(2);

/// The pause in what a client sends that ends its produce stream on a stopping node.
pub const DRAIN_PAUSE: Duration = Duration::from_millis(200);

/// How long connections may take to close once they were told to at the end of the drain.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// When to try again after OVERLOADED.
pub const OVERLOADED_RETRY: Duration = Duration::from_millis(100);

/// When to try again after DISK_FULL.
pub const DISK_FULL_RETRY: Duration = Duration::from_secs(1);

/// How long the calls of a connection that is too old may go on: streams then begin again on a new one.
pub(crate) const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(60);
