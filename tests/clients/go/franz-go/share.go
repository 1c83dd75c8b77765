package main

import (
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"narrows.tests/clients/driver"
)

// share reads with a share group, accepting each record, until it has each of `count` records.
func share(r *driver.Run) error {
	wished, err := r.Subscription()
	if err != nil {
		return err
	}
	client, err := connect(r, kgo.ConsumeTopics(wished.Topic), kgo.ShareGroup(wished.Group), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := fromEarliest(r, client, wished.Group); err != nil {
		return err
	}
	have := 0
	for have < wished.Count && r.Stop.Err() == nil {
		fetches := client.PollRecords(r.Stop, wished.Count-have)
		fetches.EachError(func(topic string, partition int32, err error) {
			fmt.Fprintf(os.Stderr, "fetch of %s-%d: %v\n", topic, partition, err)
		})
		fetches.EachRecord(func(record *kgo.Record) {
			have++
			record.Ack(kgo.AckAccept)
			driver.Read(record.Key, record.Value, record.Partition, record.Offset)
		})
	}
	if have < wished.Count {
		return r.TooFew(have)
	}
	if err := client.FlushAcks(r.Deadline); err != nil {
		return fmt.Errorf("the records could not be accepted: %w", err)
	}
	if err := client.LeaveGroupContext(r.Deadline); err != nil {
		return fmt.Errorf("the group could not be left: %w", err)
	}
	driver.ReadAll(have)
	return nil
}

// fromEarliest sets where a new share group begins: at the end, by default.
func fromEarliest(r *driver.Run, client *kgo.Client, group string) error {
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "share.auto.offset.reset", kmsg.StringPtr("earliest")
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	answer, err := request.RequestWith(r.Deadline, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Resources[0].ErrorCode)
}
