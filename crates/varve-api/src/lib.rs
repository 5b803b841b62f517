//! Varve's protocol: protos, generated code and the error model.
