use std::fmt;
use std::str::FromStr;

use tonic::Code;

use super::meta;

/// Whether to send the same call again, after a pause with exponential backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It would fail again, or the caller has to decide something first.
    Never,
    /// Only a call that cannot have an effect twice: reads, and batches of an idempotent producer.
    Idempotent,
    /// Any call: this attempt had no effect.
    Always,
}

/// A reason that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown error reason {0:?}: the server may be newer than this client")]
pub struct UnknownReason(pub String);

/// Declares the reasons, so that each stands in one place with all that is true of it.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:ident, $retry:ident, happened: $happened:literal,
        [$($key:ident),*];)*) => {
        /// Why a call failed. Names and meanings are stable; new ones may be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of `docs/errors.md`.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name, as sent in `google.rpc.ErrorInfo`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The canonical gRPC code.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// Whether to send the same call again.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }

            /// Whether the call may have had its effect although it failed.
            #[must_use]
            pub const fn may_have_happened(self) -> bool {
                match self { $(Self::$variant => $happened,)* }
            }

            /// Names of the details that it carries, where they are known.
            #[must_use]
            pub const fn metadata_keys(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$(meta::$key),*],)* }
            }
        }
    };
}

reasons! {
    /// The offset lies below the log start offset: its record was trimmed.
    OffsetTrimmed = "OFFSET_TRIMMED", OutOfRange, Never, happened: false, [LOG_START_OFFSET, HIGH_WATERMARK];
    /// The offset lies above the high watermark.
    OffsetBeyondTail = "OFFSET_BEYOND_TAIL", OutOfRange, Never, happened: false, [LOG_START_OFFSET, HIGH_WATERMARK];
    /// Another server leads the partition (or the controller).
    NotLeader = "NOT_LEADER", Unavailable, Always, happened: false, [LEADER_ID, LEADER_ADDR, TERM];
    /// Nobody leads the partition at present.
    NoLeader = "NO_LEADER", Unavailable, Always, happened: false, [TERM];
    /// The batch was proposed, and leadership was lost (or the disk failed) before its commit was known.
    CommitUnknown = "COMMIT_UNKNOWN", Unknown, Idempotent, happened: true, [TERM];
    /// The next offset is not the one that the append was conditional on.
    ExpectedOffsetMismatch = "EXPECTED_OFFSET_MISMATCH", Aborted, Never, happened: false,
        [EXPECTED_OFFSET, ACTUAL_OFFSET];
    /// A newer instance of the producer has taken over.
    Fenced = "FENCED", FailedPrecondition, Never, happened: false, [PRODUCER_ID, CURRENT_EPOCH];
    /// The batch does not follow the producer's last one.
    OutOfOrderSequence = "OUT_OF_ORDER_SEQUENCE", FailedPrecondition, Never, happened: false,
        [PRODUCER_ID, EXPECTED_SEQUENCE, ACTUAL_SEQUENCE];
    /// The partition does not know the producer, and the batch is not its first.
    UnknownProducer = "UNKNOWN_PRODUCER", FailedPrecondition, Never, happened: false, [PRODUCER_ID];
    /// The policy does not allow it.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, Never, happened: false,
        [SUBJECT, ACTION, OBJECT, RULE];
    /// The caller did not say who it is in a way that the server accepts.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, Never, happened: false, [];
    /// A record is larger than the topic allows.
    RecordTooLarge = "RECORD_TOO_LARGE", InvalidArgument, Never, happened: false, [SIZE_BYTES, SIZE_BYTES_MAX];
    /// A batch, or the message around it, is larger than the receiver takes.
    BatchTooLarge = "BATCH_TOO_LARGE", InvalidArgument, Never, happened: false, [SIZE_BYTES, SIZE_BYTES_MAX];
    /// An encoded batch is damaged, or breaks a rule of the format.
    InvalidBatch = "INVALID_BATCH", InvalidArgument, Never, happened: false, [];
    /// The request contradicts itself or lacks something.
    InvalidRequest = "INVALID_REQUEST", InvalidArgument, Never, happened: false, [FIELD];
    /// The name is not 1 to 249 of `A-Z a-z 0-9 . _ -`, or is `.` or `..`.
    InvalidTopicName = "INVALID_TOPIC_NAME", InvalidArgument, Never, happened: false, [TOPIC];
    /// There is no such topic, and the server does not make it.
    TopicNotFound = "TOPIC_NOT_FOUND", NotFound, Never, happened: false, [TOPIC];
    /// There is such a topic already.
    TopicExists = "TOPIC_EXISTS", AlreadyExists, Never, happened: false, [TOPIC];
    /// The topic has fewer partitions.
    PartitionNotFound = "PARTITION_NOT_FOUND", NotFound, Never, happened: false, [TOPIC, PARTITION, PARTITIONS];
    /// The cluster has no server of that id.
    NodeNotFound = "NODE_NOT_FOUND", NotFound, Never, happened: false, [NODE_ID];
    /// Another server of that name runs.
    NodeNameTaken = "NODE_NAME_TAKEN", AlreadyExists, Always, happened: false, [NODE_ID];
    /// The server belongs to no cluster yet.
    NotInitialized = "NOT_INITIALIZED", Unavailable, Always, happened: false, [];
    /// There is a cluster already.
    ClusterExists = "CLUSTER_EXISTS", AlreadyExists, Never, happened: false, [];
    /// The state of the cluster does not allow the change.
    ChangeRefused = "CHANGE_REFUSED", FailedPrecondition, Never, happened: false, [];
    /// A limit set for the caller, the topic or the cluster is used up.
    Quota = "QUOTA", ResourceExhausted, Always, happened: false, [LIMIT];
    /// The server has more under way than it takes.
    Overloaded = "OVERLOADED", ResourceExhausted, Always, happened: false, [LIMIT];
    /// There is no room on the server's disk.
    DiskFull = "DISK_FULL", ResourceExhausted, Always, happened: false, [];
    /// What is stored is damaged there, and is not served.
    DataLoss = "DATA_LOSS", DataLoss, Never, happened: false, [FILE, POSITION];
    /// The disk refused a sync, so the server takes no more until it is started again.
    StorageStopped = "STORAGE_STOPPED", Unavailable, Idempotent, happened: true, [];
    /// The server is closing.
    ShuttingDown = "SHUTTING_DOWN", Unavailable, Always, happened: false, [];
    /// There was no answer in time.
    Deadline = "DEADLINE", DeadlineExceeded, Idempotent, happened: true, [];
    /// The call was cancelled.
    Cancelled = "CANCELLED", Cancelled, Never, happened: true, [];
    /// The server does not know the call.
    Unimplemented = "UNIMPLEMENTED", Unimplemented, Never, happened: false, [];
    /// A fault of the server.
    Internal = "INTERNAL", Internal, Never, happened: true, [];
    /// No connection could be made. Said by clients, never sent.
    Unreachable = "UNREACHABLE", Unavailable, Always, happened: false, [];
    /// The connection broke before the answer came. Said by clients, never sent.
    ConnectionLost = "CONNECTION_LOST", Unavailable, Idempotent, happened: true, [];
    /// Client and server came to no TLS between them. Said by clients, never sent.
    TlsFailed = "TLS_FAILED", Unauthenticated, Never, happened: false, [TLS_PROBLEM];
}

impl Reason {
    /// Whether to send the same call again; `idempotent` says that it cannot have an effect twice.
    #[must_use]
    pub const fn retryable(self, idempotent: bool) -> bool {
        match self.retry() {
            Retry::Never => false,
            Retry::Idempotent => idempotent,
            Retry::Always => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        let known = Self::ALL.iter().find(|reason| reason.name() == name);
        known.copied().ok_or_else(|| UnknownReason(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table for people, which must say the same as the enum.
    const TABLE: &str = include_str!("../../../../docs/errors.md");

    #[test]
    fn docs_table_agrees() {
        let rows: Vec<Vec<&str>> = TABLE.lines().filter_map(row).collect();
        let expected: Vec<Vec<String>> = Reason::ALL.iter().map(|r| expected_row(*r)).collect();
        for (row, expected) in rows.iter().zip(&expected) {
            assert_eq!(row[..expected.len()], expected[..], "docs/errors.md differs from Reason");
            assert!(row[expected.len()].len() > 10, "{}: say what to do", row[0]);
        }
        assert_eq!(rows.len(), Reason::ALL.len(), "docs/errors.md lacks a reason, or has one too many");
    }

    #[test]
    fn names_read_back() {
        for reason in Reason::ALL {
            assert_eq!(reason.name().parse(), Ok(*reason));
        }
        assert_eq!("NEVER_HEARD".parse::<Reason>(), Err(UnknownReason("NEVER_HEARD".into())));
    }

    #[test]
    fn what_may_have_happened_is_never_retried_blindly() {
        for reason in Reason::ALL {
            assert!(!(reason.may_have_happened() && reason.retryable(false)), "{reason}");
        }
    }

    /// The cells of a row of the table of reasons; other lines give nothing.
    fn row(line: &str) -> Option<Vec<&str>> {
        let cells: Vec<&str> =
            line.strip_prefix("| `")?.trim_end_matches('|').split('|').map(str::trim).collect();
        (cells.len() == 6).then_some(cells)
    }

    fn expected_row(reason: Reason) -> Vec<String> {
        let retry = match reason.retry() {
            Retry::Never => "no",
            Retry::Idempotent => "if idempotent",
            Retry::Always => "yes",
        };
        let happened = if reason.may_have_happened() { "maybe" } else { "no" };
        let keys: Vec<String> = reason.metadata_keys().iter().map(|key| format!("`{key}`")).collect();
        vec![
            // The prefix of the row has taken the first backtick.
            format!("{}`", reason.name()),
            screaming(reason.code()),
            retry.into(),
            happened.into(),
            keys.join(", "),
        ]
    }

    fn screaming(code: Code) -> String {
        let mut name = String::new();
        for c in format!("{code:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }
}
