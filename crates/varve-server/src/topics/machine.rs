//! The metadata as the state machine of a command log.

use bytes::Bytes;
use varve_controller::{Command, DecodeError, Metadata, MetadataError, Response};
use varve_replica::{CommandLog, StateMachine};

/// The metadata, made by the commands in their log.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetadataMachine(pub(crate) Metadata);

/// The log of the metadata.
pub(crate) type MetadataLog = CommandLog<MetadataMachine>;

impl StateMachine for MetadataMachine {
    type Command = Command;
    type Response = Result<Response, MetadataError>;
    type DecodeError = DecodeError;

    fn encode(command: &Command) -> Bytes {
        command.encode().into()
    }

    fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
        Command::decode(bytes)
    }

    fn apply(&mut self, command: Command) -> Self::Response {
        self.0.apply(&command)
    }

    fn snapshot(&self) -> Bytes {
        serde_json::to_vec(&self.0).expect("metadata is plain data, and its keys are strings").into()
    }

    fn restore(snapshot: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(serde_json::from_slice(snapshot)?))
    }
}
