//! What the log tells of a cluster, and how often.

use super::*;
use std::io::Write;
use tracing::subscriber::DefaultGuard;

/// What is logged on this thread, which is all that a test runs on.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>, Arc<Mutex<usize>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn collect() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// Every line with this text.
    fn all(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains(part));
        lines.map(str::to_owned).collect()
    }

    /// Those that no call before has given.
    fn take(&self, part: &str) -> Vec<String> {
        let mut taken = self.1.lock().unwrap();
        let new = self.all(part).split_off(*taken);
        *taken += new.len();
        new
    }
}

#[tokio::test]
async fn bootstrap_servers_of_two_listeners_cut_no_connection_and_one_warning_names_both() {
    local(async {
        let (lines, _guard) = Lines::collect();
        let inner = Scripted::at("127.0.0.1:0").await;
        let outer = Scripted::at("127.0.0.1:0").await;
        for listener in [&inner, &outer] {
            listener.say(None, &[(1, LOCAL, listener.at.port())]);
        }
        let cluster = cluster(&[&inner.at.to_string(), &outer.at.to_string()], &[]);
        learn(&cluster, &[(1, inner.at.port())]);
        let gone = cluster.view().locate(NodeId(1)).unwrap().gone;
        let mut warnings = Vec::new();
        for _ in 0..9 {
            // A refresh asks either listener; clients' answers come from both.
            assert_eq!(cluster.refresh_once().await, refresh::Outcome::Fresh);
            learn(&cluster, &[(1, inner.at.port())]);
            learn(&cluster, &[(1, outer.at.port())]);
            cluster.settle_due_claims().await;
            warnings.push(lines.take("WARN").len());
            move_clock(Duration::from_secs(10)).await;
        }
        let told = lines.all("WARN");
        let [first, second] = &told[..] else {
            panic!("{told:?}")
        };
        for part in [
            format!("is at {} by some lists", inner.at),
            format!("and at {} by others", outer.at),
            "clusters.orders.bootstrap_servers".to_owned(),
            "suppressed=0".to_owned(),
        ] {
            assert!(first.contains(&part), "{part}: {first}");
        }
        // Looked into every ten seconds, told of once a minute.
        assert_eq!(warnings[..4], [0, 1, 0, 0]);
        assert!(!second.contains("suppressed=0"), "{second}");
        assert!(!gone.is_cancelled());
        assert_eq!(port_of(&cluster, 1).await, inner.at.port());
    })
    .await;
}

#[tokio::test]
async fn a_map_that_changes_all_the_time_is_told_once_in_a_while() {
    local(async {
        let (lines, _guard) = Lines::collect();
        let cluster = cluster(&["127.0.0.1:1"], &[]);
        for id in 0..100 {
            learn(&cluster, &[(id, 9092)]);
        }
        move_clock(Duration::from_secs(11)).await;
        learn(&cluster, &[(100, 9092)]);
        let told = lines.all("the broker map has changed");
        let [first, second] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(first.contains("suppressed=0"), "{first}");
        assert!(second.contains("suppressed=99"), "{second}");
    })
    .await;
}

#[tokio::test]
async fn dead_bootstrap_servers_are_told_of_once_a_minute_as_long_as_they_are_dead() {
    local(async {
        for servers in [&["127.0.0.1:1"][..], &["127.0.0.1:1", "127.0.0.1:2"]] {
            let (lines, _guard) = Lines::collect();
            let cluster = cluster(servers, &[]);
            let mut told = Vec::new();
            for _ in 0..3 {
                for _ in 0..20 {
                    assert_ne!(cluster.refresh_once().await, refresh::Outcome::Fresh);
                }
                told.push(lines.take("WARN").len());
                move_clock(Duration::from_secs(61)).await;
            }
            assert_eq!(told, [1, 1, 1], "{servers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn brokers_that_demand_a_login_are_asked_ever_more_seldom_and_dead_ones_soon() {
    let cluster = cluster(&["127.0.0.1:1"], &[]);
    let interval = Duration::from_secs(60);
    cluster.change(ClusterSettings {
        metadata_refresh_interval: interval,
        ..ClusterSettings::clone(&cluster.settings())
    });
    let is_about = |pause: Duration, expected: Duration| {
        (expected.mul_f64(0.8)..=expected.mul_f64(1.2)).contains(&pause)
    };
    for (failures, login_checks, expected) in [
        (0, 0, interval),
        (0, 1, interval),
        (0, 3, interval * 4),
        (0, 1000, Duration::from_secs(3600)),
        (1, 0, Duration::from_millis(250)),
        (3, 0, Duration::from_secs(1)),
        (1000, 0, Duration::from_secs(10)),
    ] {
        for _ in 0..100 {
            let pause = cluster.pause(failures, login_checks);
            assert!(
                is_about(pause, expected),
                "{failures} {login_checks}: {pause:?}"
            );
        }
    }
}

#[tokio::test]
async fn brokers_that_share_an_address_are_an_error_once_a_minute_and_their_end_is_told() {
    local(async {
        let (lines, _guard) = Lines::collect();
        let cluster = cluster(&["127.0.0.1:1"], &[]);
        for _ in 0..10 {
            learn(&cluster, &[(1, 9092), (2, 9092)]);
            cluster.note_sharing();
        }
        let told = lines.take("ERROR");
        let [line] = &told[..] else {
            panic!("{told:?}")
        };
        for part in ["2 brokers (1, 2)", "advertised.listeners", "broker_address"] {
            assert!(line.contains(part), "{line}");
        }
        move_clock(Duration::from_secs(61)).await;
        cluster.note_sharing();
        assert_eq!(lines.take("ERROR").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_pin_is_told_once_in_a_while_however_often_it_is_seen() {
    local(async {
        let broker = Scripted::at("127.0.0.1:0").await;
        broker.say(None, &[(1, "127.0.0.1", 9092)]);
        let server = broker.at.to_string();
        let cluster = pinned_cluster(&[&server], &[], Some("another-cluster"));
        let (lines, _guard) = Lines::collect();
        for _ in 0..10 {
            assert_ne!(cluster.refresh_once().await, refresh::Outcome::Fresh);
        }
        let told = lines.all("clusters.orders.cluster_id is another-cluster");
        assert_eq!(told.len(), 1, "{told:?}");
    })
    .await;
}
