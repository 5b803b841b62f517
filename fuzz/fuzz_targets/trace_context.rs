//! Where a call or a record says that it belongs in a trace, from anybody who may call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use varve_telemetry::TraceContext;

fuzz_target!(|data: &[u8]| {
    if let Some(context) = TraceContext::parse(data) {
        // What was taken is said again in the form of version 0.
        assert_eq!(TraceContext::parse(context.to_traceparent().as_bytes()), Some(context));
        assert_eq!(TraceContext::from_wire(context.to_wire()), Some(context));
    }
});
