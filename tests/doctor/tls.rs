//! TLS: on the wrong side, with the wrong certificate, and as it should be.

use crate::kafka::{Script, server_config};
use crate::pki::{Authority, Issued, Wish, self_signed, write};
use crate::{IMPATIENT, expect, peers, report, target};
use narrows::doctor::Target;
use narrows::net::tls::{Authorities, ClientTls, Identity, Verify};
use std::net::SocketAddr;
use tempfile::TempDir;

struct Trust {
    folder: TempDir,
    authority: Authority,
}

impl Trust {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            authority: Authority::new("Example CA"),
        }
    }

    /// TLS that trusts the authority.
    fn tls(&self, identity: Option<Identity>) -> ClientTls {
        let path = write(self.folder.path(), "ca.crt", self.authority.pem());
        let authorities = Authorities::read(&path).unwrap();
        ClientTls::new(authorities, identity, None, Verify::Full).unwrap()
    }

    fn target(&self, bootstrap: SocketAddr) -> Target {
        Target {
            tls: Some(self.tls(None)),
            ..target(bootstrap)
        }
    }

    fn issue(&self, names: &[&str], days: (i64, i64)) -> Issued {
        self.authority.issue(&Wish {
            names,
            days,
            ..Wish::default()
        })
    }
}

async fn start(issued: &Issued) -> SocketAddr {
    Script::default()
        .start_tls(server_config(issued, None))
        .await
}

const OWN: &[&str] = &["127.0.0.1"];

#[tokio::test]
async fn a_good_certificate_is_shown_with_its_names_and_its_days() {
    let trust = Trust::new();
    let address = start(&trust.issue(OWN, (-1, 90))).await;
    let report = report(&trust.target(address)).await;
    assert!(report.is_fine(), "{}", report.table(false));
    let table = report.table(false);
    let expected = "  ok   tls      TLSv1.3, a certificate for 127.0.0.1, 89 days left\n";
    assert!(table.contains(expected), "{table}");
    assert!(table.contains("security.protocol=SSL\n"), "{table}");
    assert!(table.contains("ssl.ca.location="), "{table}");
}

#[tokio::test]
async fn a_name_that_only_doctor_expects_is_no_configuration_for_clients() {
    let trust = Trust::new();
    let address = start(&trust.issue(&["kafka.example.com"], (-1, 90))).await;
    let tls = trust.tls(None);
    let name = Some("kafka.example.com".into());
    let tls = ClientTls::new(tls.authorities().clone(), None, name, Verify::Full).unwrap();
    let target = Target {
        tls: Some(tls),
        ..target(address)
    };
    let report = report(&target).await;
    assert!(
        report.is_fine() && report.clients.is_empty(),
        "{}",
        report.table(false)
    );
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_a_warning() {
    let trust = Trust::new();
    let address = start(&trust.issue(OWN, (-90, 3))).await;
    let report = report(&trust.target(address)).await;
    assert!(report.is_fine(), "{}", report.table(false));
    assert!(
        report.short().starts_with("warn tls_expires_soon "),
        "{}",
        report.short()
    );
}

#[tokio::test]
async fn plaintext_to_a_tls_listener_names_the_certificate() {
    let trust = Trust::new();
    let address = start(&trust.issue(OWN, (-1, 90))).await;
    expect(&target(address), "speaks_tls", &["security.protocol"]).await;
}

#[tokio::test]
async fn tls_to_a_plaintext_listener() {
    let trust = Trust::new();
    let target = trust.target(Script::default().start().await);
    expect(
        &target,
        "speaks_plaintext",
        &["is a plaintext Kafka listener"],
    )
    .await;
}

#[tokio::test]
async fn tls_to_a_web_server_without_it() {
    let trust = Trust::new();
    let target = trust.target(peers::says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    expect(&target, "speaks_http", &["a web server"]).await;
}

#[tokio::test]
async fn tls_to_a_peer_that_says_nothing() {
    let trust = Trust::new();
    let target = Target {
        timeout: IMPATIENT,
        ..trust.target(peers::says_nothing().await)
    };
    expect(&target, "tls_failed", &["takes no part in a TLS handshake"]).await;
}

#[tokio::test]
async fn an_authority_that_is_not_trusted() {
    let trust = Trust::new();
    let other = Authority::new("Another CA");
    let address = start(&other.for_names(OWN)).await;
    let words = ["issued by CN=Another CA", "ca.crt", "--ca FILE"];
    expect(&trust.target(address), "tls_unknown_issuer", &words).await;
}

#[tokio::test]
async fn a_certificate_that_signs_itself() {
    let trust = Trust::new();
    let issued = self_signed(&Wish {
        names: OWN,
        ..Wish::default()
    });
    let target = trust.target(start(&issued).await);
    expect(&target, "tls_unknown_issuer", &["issued by CN=kafka"]).await;
}

#[tokio::test]
async fn a_certificate_that_has_expired() {
    let trust = Trust::new();
    let address = start(&trust.issue(OWN, (-90, -3))).await;
    expect(
        &trust.target(address),
        "tls_expired",
        &["expired 3 days ago", "renew"],
    )
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet() {
    let trust = Trust::new();
    let address = start(&trust.issue(OWN, (3, 90))).await;
    expect(&trust.target(address), "tls_not_yet_valid", &["clocks"]).await;
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let trust = Trust::new();
    let address = start(&trust.issue(&["kafka.example.com"], (-1, 90))).await;
    let words = ["is not for 127.0.0.1 but for kafka.example.com"];
    expect(&trust.target(address), "tls_name_mismatch", &words).await;
}

#[tokio::test]
async fn a_certificate_without_names() {
    let trust = Trust::new();
    let address = start(&trust.issue(&[], (-1, 90))).await;
    expect(
        &trust.target(address),
        "tls_no_names",
        &["subject alternative names"],
    )
    .await;
}

#[tokio::test]
async fn a_listener_that_demands_a_client_certificate() {
    let trust = Trust::new();
    let issued = trust.issue(OWN, (-1, 90));
    let config = server_config(&issued, Some(&trust.authority));
    let address = Script::default().start_tls(config).await;
    let target = trust.target(address);
    expect(
        &target,
        "tls_client_certificate_required",
        &["--cert and --key"],
    )
    .await;

    let (certificate, key) = issued.write(trust.folder.path(), "client");
    let identity = Identity::read(&certificate, &key).unwrap();
    let target = Target {
        tls: Some(trust.tls(Some(identity))),
        ..target
    };
    let report = report(&target).await;
    assert!(report.is_fine(), "{}", report.table(false));
}
