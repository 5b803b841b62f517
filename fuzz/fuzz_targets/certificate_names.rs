//! A certificate from anybody: whom it names. What is named can be read again as what it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use varve_cert::{NodeUri, node_of, subject_of};

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(node)) = node_of(data) {
        let subject = subject_of(data).expect("a node is a subject");
        assert_eq!(subject.as_str().parse::<NodeUri>().as_ref(), Ok(&node));
    }
    if let Ok(subject) = subject_of(data) {
        assert!(!subject.as_str().is_empty() && !subject.as_str().contains('\0'));
    }
});
