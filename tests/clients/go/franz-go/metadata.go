package main

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"narrows.tests/clients/driver"
)

func metadata(r *driver.Run) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	if name, there := r.Options["topic"]; there {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	answer, err := ask(r, request)
	if err != nil {
		return err
	}
	line := driver.Cluster{Brokers: []driver.Broker{}}
	for _, b := range answer.Brokers {
		line.Brokers = append(line.Brokers, driver.Broker{ID: b.NodeID, Host: b.Host, Port: b.Port})
	}
	for _, topic := range answer.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", *topic.Topic, err)
		}
		for _, p := range topic.Partitions {
			line.Partitions = append(line.Partitions, driver.Partition{Partition: p.Partition, Leader: p.Leader})
		}
	}
	driver.Emit(line)
	return nil
}

func list(r *driver.Run) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // all of them
	answer, err := ask(r, request)
	if err != nil {
		return err
	}
	names := []string{}
	for _, topic := range answer.Topics {
		names = append(names, *topic.Topic)
	}
	driver.Topics(names)
	return nil
}

func ask(r *driver.Run, request *kmsg.MetadataRequest) (*kmsg.MetadataResponse, error) {
	client, err := connect(r)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return request.RequestWith(r.Stop, client)
}

// admin asks each broker for its configuration and its log directories, both by node id.
func admin(r *driver.Run) error {
	client, err := connect(r)
	if err != nil {
		return err
	}
	defer client.Close()
	cluster, err := kmsg.NewPtrMetadataRequest().RequestWith(r.Stop, client)
	if err != nil {
		return err
	}
	for _, broker := range cluster.Brokers {
		if err := nodeID(r, client, broker.NodeID); err != nil {
			return err
		}
		if err := logDirs(r, client, broker.NodeID); err != nil {
			return err
		}
	}
	driver.Emit(map[string]any{"done": true})
	return nil
}

func nodeID(r *driver.Run, client *kgo.Client, broker int32) error {
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeBroker
	resource.ResourceName = fmt.Sprint(broker)
	resource.ConfigNames = []string{"node.id"}
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.Resources = append(request.Resources, resource)
	answer, err := request.RequestWith(r.Stop, client)
	if err != nil {
		return err
	}
	for _, resource := range answer.Resources {
		if err := kerr.ErrorForCode(resource.ErrorCode); err != nil {
			return fmt.Errorf("the configuration of broker %d: %w", broker, err)
		}
		for _, config := range resource.Configs {
			if config.Name == "node.id" && config.Value != nil {
				return driver.NodeID(broker, *config.Value)
			}
		}
	}
	return fmt.Errorf("the configuration of broker %d has no node.id", broker)
}

// logDirs says which replicas a broker has; each test broker has one directory, so two are another one's too.
func logDirs(r *driver.Run, client *kgo.Client, broker int32) error {
	answer, err := client.Broker(int(broker)).RetriableRequest(r.Stop, kmsg.NewPtrDescribeLogDirsRequest())
	if err != nil {
		return err
	}
	response, isOne := answer.(*kmsg.DescribeLogDirsResponse)
	if !isOne {
		return errors.New("another response than the one to DescribeLogDirs")
	}
	dirs := []string{}
	for _, dir := range response.Dirs {
		dirs = append(dirs, dir.Dir)
	}
	driver.Emit(map[string]any{"step": "describeLogDirs", "broker": broker, "dirs": dirs})
	if len(dirs) == 0 {
		return fmt.Errorf("broker %d has no log directory", broker)
	}
	return nil
}
