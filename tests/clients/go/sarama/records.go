package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/IBM/sarama"

	"narrows.tests/clients/driver"
)

// produce sends the records of a tag, at `rate` records a second if one is given, until SIGTERM without a count.
func produce(r *driver.Run) error {
	wished, err := r.Records()
	if err != nil {
		return err
	}
	config, err := settings(r)
	if err != nil {
		return err
	}
	patient(r, config)
	switch r.Get("acks", "all") {
	case "0":
		config.Producer.RequiredAcks = sarama.NoResponse
	case "1":
		config.Producer.RequiredAcks = sarama.WaitForLocal
	default:
		beIdempotent(config)
	}
	producer, err := sarama.NewAsyncProducer(r.Bootstrap, config)
	if err != nil {
		return err
	}
	var reports driver.Sent
	var reported sync.WaitGroup
	reported.Go(func() {
		for message := range producer.Successes() {
			reports.Acked(key(message), message.Partition, message.Offset)
		}
	})
	reported.Go(func() {
		for failed := range producer.Errors() {
			reports.Failed(key(failed.Msg), failed.Err)
		}
	})
	sent := 0
	for ; sent < wished.Count && wished.Turn(sent); sent++ {
		producer.Input() <- message(wished.Topic, wished.Tag, sent)
	}
	producer.AsyncClose()
	reported.Wait()
	return reports.Done(r, sent, wished.Count)
}

// beIdempotent: acks=all is, as with the other clients.
func beIdempotent(config *sarama.Config) {
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
}

func message(topic, tag string, i int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{
		Topic: topic, Key: sarama.ByteEncoder(driver.Key(tag, i)), Value: sarama.ByteEncoder(driver.Value(tag, i)),
	}
}

func key(message *sarama.ProducerMessage) []byte {
	key, _ := message.Key.Encode()
	return key
}

// transaction commits and aborts transactions of ten records by turns, and reports the committed records.
func transaction(r *driver.Run) error {
	wished, err := r.Records()
	if err != nil {
		return err
	}
	config, err := settings(r)
	if err != nil {
		return err
	}
	patient(r, config)
	beIdempotent(config)
	config.Producer.Transaction.ID = wished.Tag + "-transactional-id"
	producer, err := sarama.NewSyncProducer(r.Bootstrap, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var reports driver.Sent
	committed := 0
	for start := 0; start < wished.Count; start += driver.Transaction {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		var messages []*sarama.ProducerMessage
		for i := start; i < min(wished.Count, start+driver.Transaction); i++ {
			messages = append(messages, message(wished.Topic, wished.Tag, i))
		}
		if err := producer.SendMessages(messages); err != nil {
			return err
		}
		if start/driver.Transaction%2 != 0 {
			if err := producer.AbortTxn(); err != nil {
				return err
			}
			continue
		}
		if err := producer.CommitTxn(); err != nil {
			return err
		}
		committed += len(messages)
		for _, message := range messages {
			reports.Acked(key(message), message.Partition, message.Offset)
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
	config, err := settings(r)
	if err != nil {
		return err
	}
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.InstanceId = r.Get("static", "")
	config.RackID = r.Get("rack", "")
	consumer, err := sarama.NewConsumerGroup(r.Bootstrap, wished.Group, config)
	if err != nil {
		return err
	}
	enough, stop := context.WithCancel(r.Stop)
	defer stop()
	reader := &reader{wished: wished.Count, stop: stop}
	for enough.Err() == nil {
		if err := consumer.Consume(enough, []string{wished.Topic}, reader); err != nil {
			fmt.Fprintln(os.Stderr, "consume:", err)
		}
	}
	if reader.have < wished.Count && !r.StopAsked() {
		return r.TooFew(reader.have)
	}
	if err := consumer.Close(); err != nil {
		return fmt.Errorf("the group could not be left: %w", err)
	}
	driver.ReadAll(reader.have)
	return nil
}

// reader takes the records of all partitions, each in a goroutine of its own.
type reader struct {
	sync.Mutex
	have, wished int
	stop         context.CancelFunc
}

func (reader *reader) Setup(sarama.ConsumerGroupSession) error { return nil }

func (reader *reader) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (reader *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open || !reader.take(message) {
				return nil
			}
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

// take is false for a record beyond those wished for.
func (reader *reader) take(message *sarama.ConsumerMessage) bool {
	reader.Lock()
	defer reader.Unlock()
	if reader.have == reader.wished {
		return false
	}
	driver.Read(message.Key, message.Value, message.Partition, message.Offset)
	reader.have++
	if reader.have == reader.wished {
		reader.stop()
	}
	return true
}

func split(address string) (string, int32, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errors.New(address + " is not an address")
	}
	number, err := strconv.ParseInt(port, 10, 32)
	return host, int32(number), err
}
