package main

import (
	"fmt"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type broker struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
}

type partition struct {
	Partition int32 `json:"partition"`
	Leader    int32 `json:"leader"`
}

type cluster struct {
	Brokers    []broker    `json:"brokers"`
	Partitions []partition `json:"partitions,omitempty"`
}

func metadata(r *run) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	if name, there := r.options["topic"]; there {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	answer, err := r.metadata(request)
	if err != nil {
		return err
	}
	line := cluster{Brokers: []broker{}}
	for _, b := range answer.Brokers {
		line.Brokers = append(line.Brokers, broker{ID: b.NodeID, Host: b.Host, Port: b.Port})
	}
	for _, topic := range answer.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", *topic.Topic, err)
		}
		for _, p := range topic.Partitions {
			line.Partitions = append(line.Partitions, partition{Partition: p.Partition, Leader: p.Leader})
		}
	}
	emit(line)
	return nil
}

func list(r *run) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // all of them
	answer, err := r.metadata(request)
	if err != nil {
		return err
	}
	names := []string{}
	for _, topic := range answer.Topics {
		names = append(names, *topic.Topic)
	}
	sort.Strings(names)
	emit(map[string]any{"topics": names})
	return nil
}

func (r *run) metadata(request *kmsg.MetadataRequest) (*kmsg.MetadataResponse, error) {
	client, err := r.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return request.RequestWith(r.stop, client)
}
