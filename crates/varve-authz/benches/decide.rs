//! What a decision costs: remembered, asked again by a stream, and made anew. Figures are medians.
//!
//! `cargo bench -p varve-authz`

use divan::{Bencher, black_box};
use futures::FutureExt;
use varve_authz::{Action, Authorizer, Decision, Model, Object, Policy};
use varve_env::Blocking;

const BOOK_MODEL: &str = include_str!("../testdata/book/model.conf");
const BOOK_POLICY: &str = include_str!("../testdata/book/policy.csv");

fn main() {
    divan::main();
}

fn book() -> Policy {
    let model = Model::parse("model.conf", BOOK_MODEL).expect("the book's");
    Policy::parse(model, "policy.csv", BOOK_POLICY).expect("the book's")
}

/// So many rules about as many subjects, half of them by way of a role.
fn rules(count: usize) -> Policy {
    let line = |at: usize| match at % 2 {
        0 => format!("p, user-{at}, logs-{at}-*, produce\n"),
        _ => format!("p, role-{at}, logs-{at}-*, produce\ng, user-{at}, role-{at}\n"),
    };
    let text: String = (0..count * 2 / 3).map(line).collect();
    Policy::parse(Model::default(), "policy.csv", &text).expect("good rules")
}

fn decided(authorizer: &Authorizer) -> Decision {
    let object = Object::Topic(black_box("events"));
    authorizer.decide(black_box("root"), object, Action::Produce).now_or_never().expect("at once")
}

#[divan::bench]
fn remembered(bencher: Bencher<'_, '_>) {
    let authorizer = Authorizer::new(book(), Blocking::Inline);
    bencher.bench(|| decided(&authorizer));
}

#[divan::bench(threads = [2])]
fn remembered_two_threads(bencher: Bencher<'_, '_>) {
    let authorizer = Authorizer::new(book(), Blocking::Inline);
    bencher.bench(|| decided(&authorizer));
}

#[divan::bench]
fn asked_by_a_stream(bencher: Bencher<'_, '_>) {
    let authorizer = Authorizer::new(book(), Blocking::Inline);
    let mut grant =
        authorizer.grant("root", Object::Topic("events"), Action::Produce).now_or_never().expect("at once");
    bencher.bench_local(|| black_box(grant.decision().now_or_never().expect("at once").allowed));
}

#[divan::bench]
fn made_by_the_books_model(bencher: Bencher<'_, '_>) {
    let policy = book();
    bencher.bench(|| policy.decide(black_box("root"), Object::Topic(black_box("events")), Action::Produce));
}

#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn made_by_the_default_model(bencher: Bencher<'_, '_>, count: usize) {
    let policy = rules(count);
    bencher
        .bench(|| policy.decide(black_box("user-1"), Object::Topic(black_box("logs-1-a")), Action::Produce));
}

#[divan::bench(args = [100, 10_000])]
fn load(bencher: Bencher<'_, '_>, count: usize) {
    bencher.bench(|| rules(black_box(count)));
}
