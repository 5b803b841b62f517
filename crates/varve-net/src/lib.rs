//! The listener: one port, what comes in told apart.
