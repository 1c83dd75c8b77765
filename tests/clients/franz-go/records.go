package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type acked struct {
	Key       string `json:"key"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

type failed struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

type read struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// produce sends the records of a tag, at `rate` records a second if one is given, until SIGTERM without a count.
func produce(r *run) error {
	topic, err := r.need("topic")
	if err != nil {
		return err
	}
	tag, err := r.need("tag")
	if err != nil {
		return err
	}
	count, err := r.count()
	if err != nil {
		return err
	}
	turn, err := r.pace()
	if err != nil {
		return err
	}
	client, err := r.client(append(r.acks(), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer client.Close()

	var good, bad atomic.Int64
	report := func(record *kgo.Record, err error) {
		if err != nil {
			bad.Add(1)
			emit(failed{Key: string(record.Key), Error: err.Error()})
			return
		}
		good.Add(1)
		emit(acked{Key: string(record.Key), Partition: record.Partition, Offset: record.Offset})
	}
	sent := 0
	for ; sent < count && turn(sent); sent++ {
		// With the deadline as its context, a record that cannot be delivered is reported as failed in time.
		client.Produce(r.deadline, record(tag, sent), report)
	}
	// Reports are complete when the flush is: give the last ones a moment beyond the deadline.
	last, cancel := context.WithDeadline(context.Background(), r.ends().Add(3*time.Second))
	defer cancel()
	if client.Flush(last) != nil {
		// Whatever is left counts as failed, so that every record has its report.
		abort, cancel := context.WithDeadline(context.Background(), r.ends().Add(6*time.Second))
		defer cancel()
		if err := client.AbortBufferedRecords(abort); err != nil {
			fmt.Fprintln(os.Stderr, "abort:", err)
		}
	}

	emit(map[string]any{"done": true, "count": good.Load(), "failed": bad.Load()})
	switch {
	case good.Load()+bad.Load() != int64(sent):
		return fmt.Errorf("%d records stayed without a report", int64(sent)-good.Load()-bad.Load())
	case bad.Load() > 0:
		return fmt.Errorf("%d records failed", bad.Load())
	case sent < count && !r.stopAsked():
		return fmt.Errorf("the time was up after %d records", sent)
	}
	return nil
}

// acks=all is idempotent; fewer acknowledgements rule that out.
func (r *run) acks() []kgo.Opt {
	switch r.get("acks", "all") {
	case "0":
		return []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}
	case "1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}
	default:
		return []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}
	}
}

func (r *run) ends() time.Time {
	ends, _ := r.deadline.Deadline()
	return ends
}

// pace answers with a function that waits for the turn of record i, and is false once the run has to stop.
func (r *run) pace() (func(int) bool, error) {
	value, there := r.options["rate"]
	if !there {
		return func(int) bool { return r.stop.Err() == nil }, nil
	}
	rate, err := strconv.ParseFloat(value, 64)
	if err != nil || rate <= 0 {
		return nil, fmt.Errorf("rate=%s is no number of records a second", value)
	}
	began := time.Now()
	return func(i int) bool {
		wait := time.Until(began.Add(time.Duration(float64(i) / rate * float64(time.Second))))
		select {
		case <-r.stop.Done():
			return false
		case <-time.After(wait):
			return r.stop.Err() == nil
		}
	}, nil
}

// record is record i of a tag; every client makes and expects the same ones.
func record(tag string, i int) *kgo.Record {
	return &kgo.Record{
		Key:   fmt.Appendf(nil, "%s-%d", tag, i),
		Value: fmt.Appendf(nil, "%s:%d:%s", tag, i, strings.Repeat("x", i%512)),
	}
}

// consume reads from the start with a group until it has `count` records, or until SIGTERM; then commits and leaves.
func consume(r *run) error {
	topic, err := r.need("topic")
	if err != nil {
		return err
	}
	group, err := r.need("group")
	if err != nil {
		return err
	}
	count, err := r.count()
	if err != nil {
		return err
	}
	client, err := r.client(kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		// In a long run a rejoin would otherwise start all over.
		kgo.AutoCommitInterval(time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(10*time.Second),
		kgo.FetchMaxWait(time.Second))
	if err != nil {
		return err
	}
	defer client.Close()

	have := 0
	for have < count && r.stop.Err() == nil {
		fetches := client.PollRecords(r.stop, min(500, count-have))
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintf(os.Stderr, "fetch of %s-%d: %v\n", topic, partition, err)
			}
		})
		fetches.EachRecord(func(record *kgo.Record) {
			have++
			emit(read{Key: string(record.Key), Value: string(record.Value), Partition: record.Partition, Offset: record.Offset})
		})
	}
	if have < count && !r.stopAsked() {
		return fmt.Errorf("%d of %s records were read when the time was up", have, r.get("count", "endless"))
	}
	if have > 0 {
		if err := client.CommitUncommittedOffsets(r.deadline); err != nil {
			return fmt.Errorf("the offsets could not be committed: %w", err)
		}
	}
	if err := client.LeaveGroupContext(r.deadline); err != nil {
		return fmt.Errorf("the group could not be left: %w", err)
	}
	emit(map[string]any{"done": true, "count": have})
	return nil
}
