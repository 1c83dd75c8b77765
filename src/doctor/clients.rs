//! The configuration that a client needs for what was examined: ready to paste, with a place for
//! the password, which is never printed.

use super::Target;
use crate::auth::Mechanism;
use crate::net::tls::{ClientTls, Source};
use std::fmt::Write;

/// Whose, and the text, for the clients that most people have.
pub(crate) fn configurations(target: &Target) -> Vec<(&'static str, String)> {
    let facts = Facts::of(target);
    vec![
        ("Java", java(&facts)),
        ("librdkafka (kcat, confluent-kafka)", librdkafka(&facts)),
        ("franz-go", franz_go(&facts)),
        ("kafkajs", kafkajs(&facts)),
        ("Python (kafka-python, aiokafka)", python(&facts)),
    ]
}

struct Facts {
    bootstrap: String,
    protocol: &'static str,
    is_tls: bool,
    /// The file of authorities, unless the system's are trusted.
    ca: Option<String>,
    has_certificate: bool,
    login: Option<(Mechanism, String)>,
}

impl Facts {
    fn of(target: &Target) -> Self {
        let is_tls = target.tls.is_some();
        let protocol = match (is_tls, target.credentials.is_some()) {
            (false, false) => "PLAINTEXT",
            (true, false) => "SSL",
            (false, true) => "SASL_PLAINTEXT",
            (true, true) => "SASL_SSL",
        };
        let ca = target
            .tls
            .as_ref()
            .and_then(|tls| match tls.authorities().source() {
                Source::File(path) => Some(path.display().to_string()),
                Source::System | Source::BuiltIn => None,
            });
        let has_certificate = target.tls.as_ref().and_then(ClientTls::identity).is_some();
        let login = target.credentials.as_ref();
        Self {
            bootstrap: target.bootstrap.to_string(),
            protocol,
            is_tls,
            ca,
            has_certificate,
            login: login.map(|login| (login.mechanism, login.user.clone())),
        }
    }
}

/// A text in quotes, with what would end them escaped: JSON, JavaScript, Python and Go agree.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

// Writing to a text can't fail, which is why no result of `writeln!` is looked at below.

fn java(facts: &Facts) -> String {
    let mut text = format!("bootstrap.servers={}\n", facts.bootstrap);
    let _ = writeln!(text, "security.protocol={}", facts.protocol);
    if let Some(ca) = &facts.ca {
        let _ = writeln!(
            text,
            "ssl.truststore.type=PEM\nssl.truststore.location={ca}"
        );
    }
    if facts.has_certificate {
        text += "ssl.keystore.type=PEM\nssl.keystore.location=<certificate and key>.pem\n";
    }
    if let Some((mechanism, user)) = &facts.login {
        let module = match mechanism {
            Mechanism::Plain => "org.apache.kafka.common.security.plain.PlainLoginModule",
            _ => "org.apache.kafka.common.security.scram.ScramLoginModule",
        };
        let user = quoted(user);
        let _ = writeln!(
            text,
            "sasl.mechanism={mechanism}\nsasl.jaas.config={module} required username={user} \
             password=\"<password>\";"
        );
    }
    text
}

fn librdkafka(facts: &Facts) -> String {
    let mut text = format!("bootstrap.servers={}\n", facts.bootstrap);
    let _ = writeln!(text, "security.protocol={}", facts.protocol);
    if let Some(ca) = &facts.ca {
        let _ = writeln!(text, "ssl.ca.location={ca}");
    }
    if facts.has_certificate {
        text += "ssl.certificate.location=<certificate>.pem\nssl.key.location=<key>.pem\n";
    }
    if let Some((mechanism, user)) = &facts.login {
        let _ = writeln!(
            text,
            "sasl.mechanism={mechanism}\nsasl.username={user}\nsasl.password=<password>"
        );
    }
    text
}

fn franz_go(facts: &Facts) -> String {
    let bootstrap = quoted(&facts.bootstrap);
    let mut text = format!("kgo.NewClient(\n    kgo.SeedBrokers({bootstrap}),\n");
    if facts.is_tls {
        let pool = match (&facts.ca, facts.has_certificate) {
            (None, false) => "",
            (Some(_), false) => "RootCAs: pool",
            (None, true) => "Certificates: certificates",
            (Some(_), true) => "RootCAs: pool, Certificates: certificates",
        };
        let _ = writeln!(text, "    kgo.DialTLSConfig(&tls.Config{{{pool}}}),");
    }
    if let Some((mechanism, user)) = &facts.login {
        let user = quoted(user);
        let auth = format!("Auth{{User: {user}, Pass: password}}");
        let sasl = match mechanism {
            Mechanism::Plain => format!("plain.{auth}.AsMechanism()"),
            Mechanism::ScramSha256 => format!("scram.{auth}.AsSha256Mechanism()"),
            Mechanism::ScramSha512 => format!("scram.{auth}.AsSha512Mechanism()"),
        };
        let _ = writeln!(text, "    kgo.SASL({sasl}),");
    }
    text + ")\n"
}

fn kafkajs(facts: &Facts) -> String {
    let bootstrap = quoted(&facts.bootstrap);
    let mut text = format!("new Kafka({{\n  brokers: [{bootstrap}],\n");
    if facts.is_tls {
        let mut parts = Vec::new();
        if let Some(ca) = &facts.ca {
            parts.push(format!("ca: fs.readFileSync({})", quoted(ca)));
        }
        if facts.has_certificate {
            parts.push("cert: certificate, key: key".to_owned());
        }
        let ssl = match parts.is_empty() {
            true => "true".to_owned(),
            false => format!("{{ {} }}", parts.join(", ")),
        };
        let _ = writeln!(text, "  ssl: {ssl},");
    }
    if let Some((mechanism, user)) = &facts.login {
        let mechanism = mechanism.name().to_ascii_lowercase();
        let user = quoted(user);
        let _ = writeln!(
            text,
            "  sasl: {{ mechanism: '{mechanism}', username: {user}, password }},"
        );
    }
    text + "})\n"
}

fn python(facts: &Facts) -> String {
    let bootstrap = quoted(&facts.bootstrap);
    let mut text = format!("bootstrap_servers={bootstrap},\n");
    let _ = writeln!(text, "security_protocol=\"{}\",", facts.protocol);
    if facts.is_tls {
        let ca = facts
            .ca
            .as_deref()
            .map_or(String::new(), |ca| format!("cafile={}", quoted(ca)));
        let _ = writeln!(text, "ssl_context=ssl.create_default_context({ca}),");
    }
    if let Some((mechanism, user)) = &facts.login {
        let user = quoted(user);
        let _ = writeln!(
            text,
            "sasl_mechanism=\"{mechanism}\", sasl_plain_username={user}, \
             sasl_plain_password=password,"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Credentials, Secret};
    use crate::net::tls::{Authorities, Verify};
    use std::time::Duration;

    #[test]
    fn a_login_with_tls_is_in_every_configuration_and_the_password_in_none() {
        let tls = ClientTls::new(Authorities::platform(), None, None, Verify::Full).unwrap();
        let target = Target {
            bootstrap: "kafka:9092".parse().unwrap(),
            tls: Some(tls),
            credentials: Some(Credentials {
                mechanism: Mechanism::ScramSha512,
                user: "al\"ice".to_owned(),
                password: Secret::new("hunter2".to_owned()),
            }),
            topic: None,
            timeout: Duration::from_secs(1),
        };
        let all = configurations(&target);
        assert_eq!(all.len(), 5);
        for (name, text) in all {
            assert!(text.contains("kafka:9092"), "{name}: {text}");
            assert!(text.to_lowercase().contains("sha"), "{name}: {text}");
            assert!(
                text.contains("al\\\"ice") || name.starts_with("librdkafka"),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{name}: {text}");
        }
    }
}
