//! The Varve node: gRPC services over replicas, put together.
