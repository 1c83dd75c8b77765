package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"narrows.tests/clients/driver"
)

// produce sends the records of a tag, at `rate` records a second if one is given, until SIGTERM without a count.
func produce(r *driver.Run) error {
	wished, err := r.Records()
	if err != nil {
		return err
	}
	client, err := connect(r, append(acks(r), kgo.DefaultProduceTopic(wished.Topic), kgo.ProducerLinger(5*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer client.Close()

	var reports driver.Sent
	report := func(record *kgo.Record, err error) {
		if err != nil {
			reports.Failed(record.Key, err)
			return
		}
		reports.Acked(record.Key, record.Partition, record.Offset)
	}
	sent := 0
	for ; sent < wished.Count && wished.Turn(sent); sent++ {
		// With the deadline as its context, a record that cannot be delivered is reported as failed in time.
		client.Produce(r.Deadline, record(wished.Tag, sent), report)
	}
	// Reports are complete when the flush is: give the last ones a moment beyond the deadline.
	last, cancel := context.WithDeadline(context.Background(), r.Ends().Add(3*time.Second))
	defer cancel()
	if client.Flush(last) != nil {
		// Whatever is left counts as failed, so that every record has its report.
		abort, cancel := context.WithDeadline(context.Background(), r.Ends().Add(6*time.Second))
		defer cancel()
		if err := client.AbortBufferedRecords(abort); err != nil {
			fmt.Fprintln(os.Stderr, "abort:", err)
		}
	}
	return reports.Done(r, sent, wished.Count)
}

// acks=all is idempotent; fewer acknowledgements rule that out.
func acks(r *driver.Run) []kgo.Opt {
	switch r.Get("acks", "all") {
	case "0":
		return []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}
	case "1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}
	default:
		return []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}
	}
}

func record(tag string, i int) *kgo.Record {
	return &kgo.Record{Key: driver.Key(tag, i), Value: driver.Value(tag, i)}
}

// transaction commits and aborts transactions of ten records by turns, and reports the committed records.
func transaction(r *driver.Run) error {
	wished, err := r.Records()
	if err != nil {
		return err
	}
	client, err := connect(r, kgo.DefaultProduceTopic(wished.Topic), kgo.TransactionalID(wished.Tag+"-transactional-id"))
	if err != nil {
		return err
	}
	defer client.Close()
	var reports driver.Sent
	committed := 0
	for start := 0; start < wished.Count; start += driver.Transaction {
		commit := start/driver.Transaction%2 == 0
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		var records []*kgo.Record
		for i := start; i < min(wished.Count, start+driver.Transaction); i++ {
			records = append(records, record(wished.Tag, i))
		}
		results := client.ProduceSync(r.Deadline, records...)
		if err := results.FirstErr(); err != nil {
			return err
		}
		if err := client.EndTransaction(r.Deadline, kgo.TransactionEndTry(commit)); err != nil {
			return err
		}
		if commit {
			committed += len(records)
			for _, record := range records {
				reports.Acked(record.Key, record.Partition, record.Offset)
			}
		}
	}
	return reports.Done(r, committed, committed)
}

// consume reads from the start with a group until it has `count` records, or until SIGTERM; then commits and leaves.
func consume(r *driver.Run) error {
	wished, err := r.Subscription()
	if err != nil {
		return err
	}
	var source readFrom
	options := []kgo.Opt{
		kgo.ConsumeTopics(wished.Topic), kgo.ConsumerGroup(wished.Group), kgo.WithHooks(&source),
		// In a long run a rejoin would otherwise start all over.
		kgo.AutoCommitInterval(time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(10 * time.Second),
		kgo.FetchMaxWait(time.Second), kgo.Rack(r.Get("rack", "")),
	}
	if member, there := r.Options["static"]; there {
		options = append(options, kgo.InstanceID(member))
	}
	if r.Get("protocol", "classic") == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	client, err := connect(r, options...)
	if err != nil {
		return err
	}
	defer client.Close()

	have := 0
	for have < wished.Count && r.Stop.Err() == nil {
		fetches := client.PollRecords(r.Stop, min(500, wished.Count-have))
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintf(os.Stderr, "fetch of %s-%d: %v\n", topic, partition, err)
			}
		})
		fetches.EachRecord(func(record *kgo.Record) {
			have++
			driver.Read(record.Key, record.Value, record.Partition, record.Offset)
		})
	}
	if have < wished.Count && !r.StopAsked() {
		return r.TooFew(have)
	}
	if have > 0 {
		if err := client.CommitUncommittedOffsets(r.Deadline); err != nil {
			return fmt.Errorf("the offsets could not be committed: %w", err)
		}
	}
	if err := client.LeaveGroupContext(r.Deadline); err != nil {
		return fmt.Errorf("the group could not be left: %w", err)
	}
	if r.Get("rack", "") != "" {
		driver.Emit(map[string]any{"read_from": source.Load()})
	}
	driver.ReadAll(have)
	return nil
}

// readFrom is the broker that last answered a Fetch with more than a refusal.
type readFrom struct{ atomic.Int32 }

const fetchKey, refusalBytes = 1, 1000

func (b *readFrom) OnBrokerRead(broker kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, err error) {
	if key == fetchKey && err == nil && bytes > refusalBytes {
		b.Store(broker.NodeID)
	}
}
