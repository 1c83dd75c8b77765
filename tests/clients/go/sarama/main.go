// A thin driver for sarama.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"narrows.tests/clients/driver"
)

func main() {
	sarama.Logger = log.New(os.Stderr, "sarama: ", log.LstdFlags)
	driver.Main(map[string]func(*driver.Run) error{
		"metadata":    metadata,
		"list":        list,
		"produce":     produce,
		"consume":     consume,
		"transaction": transaction,
		"admin":       admin,
	})
}

// settings has what all scenarios share. Its SCRAM needs a library of another author, so it logs in with PLAIN only.
func settings(r *driver.Run) (*sarama.Config, error) {
	config := sarama.NewConfig()
	config.ClientID = "narrows-test-sarama"
	config.Version = sarama.MaxVersion
	tls, err := r.TLS()
	if err != nil {
		return nil, err
	}
	config.Net.TLS.Enable, config.Net.TLS.Config = tls != nil, tls
	login, err := r.Login()
	if err != nil {
		return nil, err
	}
	if login != nil {
		if login.Mechanism != sarama.SASLTypePlaintext {
			return nil, login.Unsupported()
		}
		config.Net.SASL.Enable = true
		config.Net.SASL.User, config.Net.SASL.Password = login.Username, login.Password
	}
	return config, nil
}

func metadata(r *driver.Run) error {
	config, err := settings(r)
	if err != nil {
		return err
	}
	client, err := sarama.NewClient(r.Bootstrap, config)
	if err != nil {
		return err
	}
	defer client.Close()
	line := driver.Cluster{Brokers: []driver.Broker{}}
	for _, b := range client.Brokers() {
		host, port, err := split(b.Addr())
		if err != nil {
			return err
		}
		line.Brokers = append(line.Brokers, driver.Broker{ID: b.ID(), Host: host, Port: port})
	}
	if topic, there := r.Options["topic"]; there {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return err
		}
		for _, p := range partitions {
			leader, err := client.Leader(topic, p)
			if err != nil {
				return err
			}
			line.Partitions = append(line.Partitions, driver.Partition{Partition: p, Leader: leader.ID()})
		}
	}
	driver.Emit(line)
	return nil
}

func list(r *driver.Run) error {
	config, err := settings(r)
	if err != nil {
		return err
	}
	client, err := sarama.NewClient(r.Bootstrap, config)
	if err != nil {
		return err
	}
	defer client.Close()
	names, err := client.Topics()
	if err != nil {
		return err
	}
	driver.Topics(names)
	return nil
}

// admin asks each broker for its configuration and its log directories, both by node id.
func admin(r *driver.Run) error {
	config, err := settings(r)
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdmin(r.Bootstrap, config)
	if err != nil {
		return err
	}
	defer admin.Close()
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	for _, broker := range brokers {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{
			Type: sarama.BrokerResource, Name: strconv.Itoa(int(broker.ID())), ConfigNames: []string{"node.id"},
		})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(entries, func(entry sarama.ConfigEntry) bool { return entry.Name == "node.id" })
		if at < 0 {
			return fmt.Errorf("the configuration of broker %d has no node.id", broker.ID())
		}
		if err := driver.NodeID(broker.ID(), entries[at].Value); err != nil {
			return err
		}
		found, err := admin.DescribeLogDirs([]int32{broker.ID()})
		if err != nil {
			return err
		}
		dirs := []string{}
		for _, dir := range found[broker.ID()] {
			dirs = append(dirs, dir.Path)
		}
		if len(dirs) == 0 {
			return errors.New("a broker without a log directory")
		}
		driver.Emit(map[string]any{"step": "describeLogDirs", "broker": broker.ID(), "dirs": dirs})
	}
	driver.Emit(map[string]any{"done": true})
	return nil
}

// patient gives up on a record when the time is up, and not before.
func patient(r *driver.Run, config *sarama.Config) {
	config.Producer.Retry.Max = int(r.Remaining() / config.Producer.Retry.Backoff)
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Return.Successes = true
}
