//! The no-loss oracle on a running cluster: a producer through Narrows and, beside it, the control
//! arm, the same client past Narrows. Both live through what the test does; each one's
//! acknowledgements are compared with what the brokers hold, and those of the arm through Narrows
//! also with what is read back through Narrows. What harms the control arm too is no fault of
//! Narrows', and the failure says so.

use anyhow::{Context, Result};

use crate::clients::{Flow, Front, run};
use crate::fixture::{Fixture, brokers_themselves, is_direct};
use crate::oracle::{self, Order, Record};

/// Records a second of each arm: two of them leave the machine to the brokers.
const RATE: &str = "rate=200";
const TAG: &str = "n";

/// See the module's text.
pub(crate) struct Arms {
    through: Arm,
    /// None where all of the run goes past Narrows.
    control: Option<Arm>,
}

struct Arm {
    client: &'static str,
    front: Front,
    topic: String,
    producer: Flow,
}

impl Arms {
    /// Starts both, each on a topic of one partition with these replicas, its leader first.
    pub(crate) fn start(
        fixture: &Fixture,
        client: &'static str,
        front: Front,
        replicas: &str,
    ) -> Result<Self> {
        let through = Arm::start(fixture, client, front, replicas, "through")?;
        let control = if is_direct() {
            None
        } else {
            let front = brokers_themselves();
            Some(Arm::start(fixture, client, front, replicas, "control")?)
        };
        Ok(Self { through, control })
    }

    /// The topic of the arm through Narrows.
    pub(crate) fn topic(&self) -> &str {
        &self.through.topic
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.all().map(|arm| &*arm.topic)
    }

    /// Waits until each arm has had so many more records acknowledged.
    pub(crate) fn await_more(&self, count: usize) -> Result<()> {
        self.all()
            .try_for_each(|arm| arm.producer.await_more(count))
    }

    /// Stops both and judges them; what the arm through Narrows had acknowledged.
    pub(crate) fn finish(self, fixture: &Fixture) -> Result<Vec<Record>> {
        let control = self.control.map(|arm| arm.finish(fixture));
        let through = self.through.finish(fixture);
        match control.transpose() {
            Ok(_) => through,
            Err(error) => through.and(Err(error)).context(
                "the control arm, past Narrows, was harmed: it is the cluster, the client or the test",
            ),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arm> {
        std::iter::once(&self.through).chain(&self.control)
    }
}

impl Arm {
    fn start(
        fixture: &Fixture,
        client: &'static str,
        front: Front,
        replicas: &str,
        name: &str,
    ) -> Result<Self> {
        let topic = fixture.namespaces.unique(name);
        fixture.cluster.admin_client.place(&topic, replicas)?;
        let options = [
            format!("topic={topic}"),
            format!("tag={TAG}"),
            RATE.to_owned(),
        ];
        let producer = Flow::endless(fixture, client, &front, &front.plain, "produce", &options)?;
        Ok(Self {
            client,
            front,
            topic,
            producer,
        })
    }

    fn finish(self, fixture: &Fixture) -> Result<Vec<Record>> {
        let acked = oracle::acked(&self.producer.stop()?)?;
        let cluster = &fixture.cluster;
        cluster.ensure_holds(TAG, Order::AsSent, &acked, &self.topic)?;
        let options = [
            format!("topic={}", self.topic),
            format!("count={}", acked.len()),
            format!("group=read-back-{}", self.topic),
        ];
        let bootstrap = &self.front.plain;
        let lines = run(
            fixture,
            self.client,
            &self.front,
            bootstrap,
            "consume",
            &options,
        )?;
        let read = oracle::consumed(&lines)?;
        oracle::ensure_arrived(TAG, Order::AsSent, &acked, &read).context("read back")?;
        Ok(acked)
    }
}
