//! TLS: that it is spoken, and what is said where it is not.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use varve_api::error::Reason;
use varve_client::{Client, ClientBuilder, ClientError, ProducerRecord, TlsProblem};

use crate::fake::{FakeCluster, TOPIC};
use crate::pki::{Pki, TlsFront, open};
use crate::{impatient, within};

const NEW: Duration = Duration::ZERO;
const EXPIRED: Duration = Duration::from_secs(2 * 3600);

/// Connects, fails for TLS, and says what stands in the way.
async fn refused(builder: ClientBuilder, addr: impl ToString, problem: TlsProblem) -> String {
    let addr = addr.to_string();
    let error = builder.connect(&addr).await.expect_err("there is no TLS between them");
    assert_eq!(error.reason(), Some(Reason::TlsFailed), "{error}");
    assert_eq!(error.api().and_then(TlsProblem::of), Some(problem), "{error}");
    assert!(!error.may_have_happened());
    assert!(error.to_string().contains(&addr), "{error}");
    error.to_string()
}

async fn produce_one(client: &Client, value: &'static str) -> Result<(), ClientError> {
    let producer = client.producer(TOPIC).build().await?;
    producer.send(ProducerRecord::new(value)).await?.await.map(drop)
}

#[tokio::test]
async fn everything_goes_through_tls() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        let front = TlsFront::start(pki.server(&["127.0.0.1"], NEW), cluster.addrs[0]).await;
        let builder = Client::builder().tls(open(pki.client(&pki)));
        let client = builder.connect(&front.addr.to_string()).await.expect("they trust each other");
        produce_one(&client, "a").await.expect("it is taken");
        let mut consumer = client.consumer(TOPIC).until_end().build().await.expect("it reads");
        let record = consumer.next().await.expect("it reads").expect("there is one");
        assert_eq!(record.value.as_deref(), Some(&b"a"[..]));
    })
    .await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        for (name, says) in [
            ("another CA", "none of the authorities that are trusted here has issued it"),
            ("test CA", "another of the same name may have issued it"),
        ] {
            let tls = Pki::named(name).server(&["127.0.0.1"], NEW);
            let front = TlsFront::start(tls, cluster.addrs[0]).await;
            let builder = Client::builder().tls(open(pki.client(&pki)));
            let said = refused(builder, front.addr, TlsProblem::ServerUntrusted).await;
            assert!(said.contains(says), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        let front = TlsFront::start(pki.server(&["127.0.0.1"], EXPIRED), cluster.addrs[0]).await;
        let tls = open(pki.client(&pki));
        let said = refused(Client::builder().tls(tls), front.addr, TlsProblem::ServerUntrusted).await;
        assert!(said.contains("it has expired"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_server_of_another_name_is_refused_unless_that_is_expected() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        let front = TlsFront::start(pki.server(&["varve.example"], NEW), cluster.addrs[0]).await;
        let mut settings = pki.client(&pki);
        let builder = || Client::builder().tls(open(settings.clone()));
        let said = refused(builder(), front.addr, TlsProblem::ServerUntrusted).await;
        assert!(said.contains("varve.example"), "{said}");
        settings.server_name = Some("varve.example".into());
        let builder = Client::builder().tls(open(settings));
        builder.connect(&front.addr.to_string()).await.expect("that is its name");
    })
    .await;
}

#[tokio::test]
async fn a_client_of_another_authority_hears_that_it_is_refused() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        let front = TlsFront::start(pki.server(&["127.0.0.1"], NEW), cluster.addrs[0]).await;
        for (name, says) in [
            ("another CA", "does not trust the authority"),
            ("test CA", "another of the same name may have issued it"),
        ] {
            let other = Pki::named(name);
            let builder = Client::builder().tls(open(other.client(&pki)));
            let said = refused(builder, front.addr, TlsProblem::ClientRefused).await;
            assert!(said.contains(says), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_in_the_clear_is_told_from_one_that_is_away() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        let tls = open(pki.client(&pki));
        let said = refused(Client::builder().tls(tls), cluster.addrs[0], TlsProblem::ServerInClear).await;
        assert!(said.contains("it serves in the clear"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_wants_tls_says_so_to_one_in_the_clear() {
    within(async {
        let (pki, cluster) = (Pki::new(), FakeCluster::start(1, 1).await);
        let front = TlsFront::start(pki.server(&["127.0.0.1"], NEW), cluster.addrs[0]).await;
        let said = refused(Client::builder(), front.addr, TlsProblem::ServerWantsTls).await;
        assert!(said.contains("was called in the clear"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn one_that_goes_away_in_the_handshake_is_asked_again() {
    within(async {
        let pki = Pki::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound").to_string();
        let accepted = tokio::spawn(async move {
            let mut accepted = 0;
            while accepted < 2 {
                let (mut stream, _) = listener.accept().await.expect("a listener");
                stream.read_u8().await.expect("a handshake begins");
                accepted += 1;
            }
        });
        let error = impatient().tls(open(pki.client(&pki))).connect(&addr).await.expect_err("it goes away");
        assert_eq!(error.reason(), Some(Reason::Unreachable), "{error}");
        accepted.await.expect("it was called twice");
    })
    .await;
}

#[tokio::test]
async fn where_one_server_is_not_trusted_another_is_asked() {
    within(async {
        let (pki, other, cluster) = (Pki::new(), Pki::new(), FakeCluster::start(2, 1).await);
        let strange = TlsFront::start(other.server(&["127.0.0.1"], NEW), cluster.addrs[0]).await;
        let good = TlsFront::start(pki.server(&["127.0.0.1"], NEW), cluster.addrs[1]).await;
        cluster.tell(0, |member| member.rpc_addr = strange.addr.to_string());
        cluster.tell(1, |member| member.rpc_addr = good.addr.to_string());
        cluster.lead(0, Some(1));
        let address = format!("varve://{},{}", strange.addr, good.addr);
        let client =
            Client::builder().tls(open(pki.client(&pki))).connect(&address).await.expect("one is good");
        produce_one(&client, "a").await.expect("its leader is the good one");
        // The follower is read first, and is not the good one.
        let mut consumer = client.consumer(TOPIC).until_end().build().await.expect("it reads");
        consumer.next().await.expect("the leader serves it").expect("there is one");
    })
    .await;
}

#[tokio::test]
async fn new_files_are_for_the_connections_that_are_made_from_then_on() {
    within(async {
        let (old, new, cluster) = (Pki::new(), Pki::new(), FakeCluster::start(1, 1).await);
        let front = TlsFront::start(old.server(&["127.0.0.1"], NEW), cluster.addrs[0]).await;
        let client = impatient().tls(open(old.client(&old)));
        let client = client.connect(&front.addr.to_string()).await.expect("they trust each other");
        client.servers().await.expect("it is there");
        let addr = front.addr;
        front.stop().await;
        let changed = new.server(&["127.0.0.1"], NEW);
        new.client(&new);
        old.become_like(&new);
        let _front = TlsFront::start_at(addr, changed, cluster.addrs[0]).await;
        client.servers().await.expect("they trust each other again");
        assert!(old.path().exists(), "the files are read until here");
    })
    .await;
}
