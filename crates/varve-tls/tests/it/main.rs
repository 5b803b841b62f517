//! Both sides of TLS, over pipes in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use varve_cert::testing::{EXPIRED, NEW, TestPki};
use varve_cert::{Written, certificates, read};
use varve_tls::{
    Alpn, ClientTls, ClientTlsSettings, HandshakeError, PeerCertificate, ServerTls, ServerTlsSettings,
    TLS_FILE_BYTES_MAX, TlsError, TlsFiles, TlsVersion,
};

const SERVER: &str = "127.0.0.1:8400";
const PIPE_BYTES: usize = 64 * 1024;

/// What the server has seen of a caller whose handshake it took.
type Seen = (Alpn, Option<PeerCertificate>);

fn files(pki: &TestPki, written: Written) -> TlsFiles {
    TlsFiles { cert: written.certificate, key: written.key, ca: pki.ca() }
}

fn settings(pki: &TestPki) -> ServerTlsSettings {
    let files = files(pki, pki.issue_node("varve", "node-1", &["127.0.0.1"], NEW));
    ServerTlsSettings { server: files.clone(), peer: files, crl: None, min_version: TlsVersion::default() }
}

fn client(pki: &TestPki, name: &str) -> ClientTls {
    let files = files(pki, pki.issue_client(name, NEW));
    ClientTls::open(ClientTlsSettings { files, server_name: None }).unwrap()
}

/// Has a client call a server: what the one hears, and what the other sees.
async fn call(client: &ClientTls, server: &ServerTls) -> (Result<(), HandshakeError>, Option<Seen>) {
    let (here, there) = duplex(PIPE_BYTES);
    let calling = async { client.connect(SERVER, here).await.map(drop) };
    let taking = async {
        let mut accepted = server.accept(there).await.ok()?;
        accepted.stream.write_all(b"!").await.ok()?;
        accepted.stream.flush().await.ok()?;
        // The other side goes when it has what it waited for.
        drop(accepted.stream.read(&mut [0]).await);
        Some((accepted.alpn, accepted.certificate))
    };
    tokio::join!(calling, taking)
}

#[tokio::test]
async fn a_server_sees_what_the_connection_is_for_and_what_its_caller_shows() {
    let pki = TestPki::new("authority");
    let server = ServerTls::open(settings(&pki)).unwrap();
    let (called, seen) = call(&client(&pki, "alice"), &server).await;
    called.unwrap();
    let (alpn, certificate) = seen.unwrap();
    let shown = certificates(&read(&pki.path("alice.pem")).unwrap()).unwrap().remove(0);
    assert_eq!((alpn, certificate.unwrap().der()), (Alpn::Http2, &shown[..]));

    let anonymous = ClientTls::anonymous(pki.ca(), None).unwrap();
    let (called, seen) = call(&anonymous, &server).await;
    called.unwrap();
    assert_eq!(seen.unwrap(), (Alpn::Http2, None));
}

#[tokio::test]
async fn what_a_nodes_authority_has_issued_is_told_from_what_a_clients_has() {
    let (clients, nodes) = (TestPki::new("clients"), TestPki::new("nodes"));
    let peer = files(&nodes, nodes.issue_node("varve", "node-1", &[], NEW));
    let server = ServerTls::open(ServerTlsSettings { peer, ..settings(&clients) }).unwrap();
    assert!(server.peers_have_their_own_authority());
    for (pki, is_peer) in [(&clients, false), (&nodes, true)] {
        // Either believes the server that clients are shown.
        let files = TlsFiles { ca: clients.ca(), ..files(pki, pki.issue_client("someone", NEW)) };
        let client = ClientTls::open(ClientTlsSettings { files, server_name: None }).unwrap();
        let (called, seen) = call(&client, &server).await;
        called.unwrap();
        assert_eq!(seen.unwrap().1.unwrap().is_by_peer_authority(), is_peer);
    }
}

#[test]
fn an_authority_in_two_files_is_one() {
    let (pki, nodes) = (TestPki::new("authority"), TestPki::new("nodes"));
    pki.write("copy.pem", pki.authority().certificate_pem());
    let peer = TlsFiles { ca: pki.path("copy.pem"), ..settings(&pki).peer };
    let server = ServerTls::open(ServerTlsSettings { peer, ..settings(&pki) }).unwrap();
    assert!(!server.peers_have_their_own_authority());
    server.reload().unwrap();
    // What makes somebody a node does not change under those who are connected.
    pki.write("copy.pem", nodes.authority().certificate_pem());
    let error = server.reload().unwrap_err().to_string();
    assert!(error.contains("copy.pem") && error.contains("start it again"), "{error}");
    assert!(!server.peers_have_their_own_authority());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let pki = TestPki::new("authority");
    let settings = settings(&pki);
    let of_mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&settings.server.key, permissions).unwrap();
        ServerTls::open(settings.clone())
    };
    of_mode(0o640).unwrap();
    let error = of_mode(0o644).unwrap_err().to_string();
    assert!(error.contains("mode 0644") && error.contains("chmod o="), "{error}");
}

#[tokio::test]
async fn a_list_that_revokes_or_has_ended_keeps_out_and_says_so() {
    let pki = TestPki::new("authority");
    let (alice, bob) = (client(&pki, "alice"), client(&pki, "bob"));
    let revoking = |age| {
        let crl = Some(pki.revoke(&[&pki.path("alice.pem")], age));
        ServerTls::open(ServerTlsSettings { crl, ..settings(&pki) }).unwrap()
    };
    let refused = |called: Result<(), HandshakeError>| match called {
        Err(HandshakeError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let server = revoking(NEW);
    assert!(refused(call(&alice, &server).await.0).contains("revoked"));
    call(&bob, &server).await.0.unwrap();
    assert!(server.lists_end().is_some());
    // A list by somebody else would revoke nothing.
    let other = TestPki::new("another authority");
    let foreign = Some(other.revoke(&[], NEW));
    let error =
        ServerTls::open(ServerTlsSettings { crl: foreign, ..settings(&pki) }).unwrap_err().to_string();
    assert!(error.contains("has signed the list of") && error.contains("another authority"), "{error}");
    // Nobody can say any more who was revoked since.
    let server = revoking(EXPIRED);
    let (called, seen) = call(&bob, &server).await;
    refused(called);
    assert_eq!(seen, None);
}

#[tokio::test]
async fn what_the_files_hold_is_taken_over_and_what_is_wrong_is_not() {
    let (pki, other) = (TestPki::new("authority"), TestPki::new("another authority"));
    let server = ServerTls::open(settings(&pki)).unwrap();
    let foreign = files(&other, other.issue_client("alice", NEW));
    let believing = pki.path("believed.pem");
    std::fs::copy(pki.ca(), &believing).unwrap();
    let settings = ClientTlsSettings { files: TlsFiles { ca: believing, ..foreign }, server_name: None };
    let foreign = ClientTls::open(settings).unwrap();
    assert!(!server.reload_if_changed().unwrap(), "nothing has changed");
    assert!(call(&foreign, &server).await.0.is_err());

    let both = [&pki, &other].map(|pki| pki.authority().certificate_pem().to_owned()).concat();
    pki.write("ca.pem", &both);
    assert!(server.reload_if_changed().unwrap());
    call(&foreign, &server).await.0.unwrap();

    pki.write("ca.pem", "nothing of the kind");
    for _ in 0..2 {
        let wrong = server.reload_if_changed().unwrap_err();
        assert!(matches!(wrong, TlsError::Pem { .. }), "{wrong}");
        call(&foreign, &server).await.0.unwrap();
    }
}

#[test]
fn files_that_are_wrong_are_named_and_no_key_is_shown() {
    let (pki, other) = (TestPki::new("authority"), TestPki::new("another authority"));
    let open = |change: &dyn Fn(&mut TlsFiles)| {
        let mut settings = settings(&pki);
        change(&mut settings.server);
        ServerTls::open(settings).unwrap_err()
    };
    let key = other.issue_client("alice", NEW).key;
    let mismatch = open(&|files| files.key.clone_from(&key));
    assert!(matches!(&mismatch, TlsError::KeyMismatch { key: named, .. } if *named == key), "{mismatch}");
    let gone = open(&|files| files.cert = "/nowhere/cert.pem".into());
    assert!(matches!(&gone, TlsError::Read { file, .. } if file == Path::new("/nowhere/cert.pem")), "{gone}");
    let secret = std::fs::read_to_string(&key).unwrap();
    let half = pki.path("cut.pem");
    std::fs::copy(&key, &half).unwrap();
    std::fs::write(&half, &secret[..secret.len() / 2]).unwrap();
    let cut = open(&|files| files.key.clone_from(&half));
    assert!(matches!(cut, TlsError::Pem { .. }), "{cut}");
    let line = secret.lines().nth(1).unwrap();
    assert!(!format!("{cut} {cut:?}").contains(&line[..16]));
    pki.write("huge.pem", &" ".repeat(usize::try_from(TLS_FILE_BYTES_MAX).unwrap() + 1));
    let huge = open(&|files| files.ca = pki.path("huge.pem"));
    assert!(matches!(huge, TlsError::TooLarge { .. }), "{huge}");
}

/// Whether a caller that speaks nothing above TLS 1.2 is taken.
async fn takes_tls_1_2(pki: &TestPki, server: &ServerTls) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(pki.authority().certificate_der().to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (here, there) = duplex(PIPE_BYTES);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let calling =
        async { tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, here).await.is_ok() };
    let (called, taken) = tokio::join!(calling, server.accept(there));
    assert_eq!(called, taken.is_ok());
    called
}

#[tokio::test]
async fn tls_1_2_is_spoken_where_it_is_asked_for_alone() {
    let pki = TestPki::new("authority");
    assert!(!takes_tls_1_2(&pki, &ServerTls::open(settings(&pki)).unwrap()).await);
    let lenient = ServerTlsSettings { min_version: TlsVersion::Tls12, ..settings(&pki) };
    assert!(takes_tls_1_2(&pki, &ServerTls::open(lenient).unwrap()).await);
}
