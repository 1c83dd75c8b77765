// A thin driver for segmentio/kafka-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"narrows.tests/clients/driver"
)

const clientID = "narrows-test-kafka-go"

func main() {
	driver.Main(map[string]func(*driver.Run) error{
		"metadata": metadata,
		"list":     list,
		"produce":  produce,
		"consume":  consume,
		"admin":    admin,
	})
}

func login(r *driver.Run) (sasl.Mechanism, error) {
	login, err := r.Login()
	if login == nil {
		return nil, err
	}
	switch login.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: login.Username, Password: login.Password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, login.Username, login.Password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, login.Username, login.Password)
	default:
		return nil, login.Unsupported()
	}
}

func transport(r *driver.Run) (*kafka.Transport, error) {
	config, err := r.TLS()
	if err != nil {
		return nil, err
	}
	mechanism, err := login(r)
	if err != nil {
		return nil, err
	}
	return &kafka.Transport{ClientID: clientID, TLS: config, SASL: mechanism}, nil
}

func connect(r *driver.Run) (*kafka.Client, error) {
	transport, err := transport(r)
	if err != nil {
		return nil, err
	}
	return &kafka.Client{Addr: kafka.TCP(r.Bootstrap...), Transport: transport, Timeout: r.Remaining()}, nil
}

func ask(r *driver.Run, topics []string) (*kafka.MetadataResponse, error) {
	client, err := connect(r)
	if err != nil {
		return nil, err
	}
	return client.Metadata(r.Stop, &kafka.MetadataRequest{Topics: topics})
}

func metadata(r *driver.Run) error {
	topics := []string{}
	if topic, there := r.Options["topic"]; there {
		topics = append(topics, topic)
	}
	answer, err := ask(r, topics)
	if err != nil {
		return err
	}
	line := driver.Cluster{Brokers: []driver.Broker{}}
	for _, b := range answer.Brokers {
		line.Brokers = append(line.Brokers, driver.Broker{ID: int32(b.ID), Host: b.Host, Port: int32(b.Port)})
	}
	for _, topic := range answer.Topics {
		if topic.Error != nil {
			return fmt.Errorf("topic %s: %w", topic.Name, topic.Error)
		}
		for _, p := range topic.Partitions {
			line.Partitions = append(line.Partitions, driver.Partition{Partition: int32(p.ID), Leader: int32(p.Leader.ID)})
		}
	}
	driver.Emit(line)
	return nil
}

func list(r *driver.Run) error {
	answer, err := ask(r, nil)
	if err != nil {
		return err
	}
	names := []string{}
	for _, topic := range answer.Topics {
		names = append(names, topic.Name)
	}
	driver.Topics(names)
	return nil
}

// admin asks each broker for its configuration, by node id.
func admin(r *driver.Run) error {
	client, err := connect(r)
	if err != nil {
		return err
	}
	cluster, err := client.Metadata(r.Stop, &kafka.MetadataRequest{Topics: []string{}})
	if err != nil {
		return err
	}
	for _, broker := range cluster.Brokers {
		answer, err := client.DescribeConfigs(r.Stop, &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{{
				ResourceType: kafka.ResourceTypeBroker, ResourceName: strconv.Itoa(broker.ID), ConfigNames: []string{"node.id"},
			}},
		})
		if err != nil {
			return err
		}
		for _, resource := range answer.Resources {
			if resource.Error != nil {
				return resource.Error
			}
			if len(resource.ConfigEntries) != 1 {
				return fmt.Errorf("the configuration of broker %d has no node.id", broker.ID)
			}
			if err := driver.NodeID(int32(broker.ID), resource.ConfigEntries[0].ConfigValue); err != nil {
				return err
			}
		}
	}
	driver.Emit(map[string]any{"done": true})
	return nil
}

// produce sends the records of a tag, at `rate` records a second if one is given, until SIGTERM without a count.
func produce(r *driver.Run) error {
	wished, err := r.Records()
	if err != nil {
		return err
	}
	transport, err := transport(r)
	if err != nil {
		return err
	}
	var reports driver.Sent
	writer := &kafka.Writer{
		Addr: kafka.TCP(r.Bootstrap...), Topic: wished.Topic, Transport: transport, Async: true, AllowAutoTopicCreation: true,
		Balancer: &kafka.Hash{}, BatchTimeout: 5 * time.Millisecond, RequiredAcks: acks(r), ErrorLogger: kafka.LoggerFunc(complain),
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				if err != nil {
					reports.Failed(message.Key, err)
				} else {
					reports.Acked(message.Key, int32(message.Partition), message.Offset)
				}
			}
		},
	}
	sent := 0
	for ; sent < wished.Count && wished.Turn(sent); sent++ {
		message := kafka.Message{Key: driver.Key(wished.Tag, sent), Value: driver.Value(wished.Tag, sent)}
		if err := writer.WriteMessages(r.Deadline, message); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return reports.Done(r, sent, wished.Count)
}

func acks(r *driver.Run) kafka.RequiredAcks {
	switch r.Get("acks", "all") {
	case "0":
		return kafka.RequireNone
	case "1":
		return kafka.RequireOne
	default:
		return kafka.RequireAll
	}
}

// consume reads from the start with a group until it has `count` records, or until SIGTERM; then commits and leaves.
func consume(r *driver.Run) error {
	wished, err := r.Subscription()
	if err != nil {
		return err
	}
	config, err := r.TLS()
	if err != nil {
		return err
	}
	mechanism, err := login(r)
	if err != nil {
		return err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: r.Bootstrap, Topic: wished.Topic, GroupID: wished.Group, StartOffset: kafka.FirstOffset,
		SessionTimeout: 10 * time.Second, MaxWait: time.Second, ErrorLogger: kafka.LoggerFunc(complain),
		Dialer: &kafka.Dialer{ClientID: clientID, Timeout: 10 * time.Second, DualStack: true, TLS: config, SASLMechanism: mechanism},
	})
	have := 0
	var last []kafka.Message
	for have < wished.Count {
		message, err := reader.FetchMessage(r.Stop)
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return err
		}
		have++
		last = append(last, message)
		driver.Read(message.Key, message.Value, int32(message.Partition), message.Offset)
	}
	if have < wished.Count && !r.StopAsked() {
		return r.TooFew(have)
	}
	if err := reader.CommitMessages(r.Deadline, last...); err != nil {
		return fmt.Errorf("the offsets could not be committed: %w", err)
	}
	if err := reader.Close(); err != nil {
		return fmt.Errorf("the group could not be left: %w", err)
	}
	driver.ReadAll(have)
	return nil
}

func complain(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "kafka-go: "+format+"\n", values...)
}
