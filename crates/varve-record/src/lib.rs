//! The newtypes of a Varve log and the record batch codec: no I/O.
