package driver

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// Broker is a broker in the lines of the scenario metadata.
type Broker struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
}

// Partition is a partition in the lines of the scenario metadata.
type Partition struct {
	Partition int32 `json:"partition"`
	Leader    int32 `json:"leader"`
}

// Cluster is the line of the scenario metadata.
type Cluster struct {
	Brokers    []Broker    `json:"brokers"`
	Partitions []Partition `json:"partitions,omitempty"`
}

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

// Topics emits the line of the scenario list.
func Topics(names []string) {
	sort.Strings(names)
	Emit(map[string]any{"topics": names})
}

// Read emits a record that was consumed.
func Read(key, value []byte, partition int32, offset int64) {
	Emit(read{string(key), string(value), partition, offset})
}

// ReadAll emits that so many records were consumed, and that this was all.
func ReadAll(count int) {
	Emit(map[string]any{"done": true, "count": count})
}

// TooFew is the error of a consumer whose time was up.
func (r *Run) TooFew(have int) error {
	return fmt.Errorf("%d of %s records were read when the time was up", have, r.Get("count", "endless"))
}

// NodeID emits the node.id that a broker's configuration has: only the broker itself answers for it.
func NodeID(broker int32, nodeID string) error {
	Emit(map[string]any{"step": "describeConfigs", "broker": broker, "node.id": nodeID})
	if nodeID != fmt.Sprint(broker) {
		return fmt.Errorf("the configuration of broker %d says node.id=%s", broker, nodeID)
	}
	return nil
}

// Sent counts what became of the records of a producer, and says it line by line.
type Sent struct{ good, bad atomic.Int64 }

// Acked is a record that the broker has.
func (s *Sent) Acked(key []byte, partition int32, offset int64) {
	s.good.Add(1)
	Emit(acked{string(key), partition, offset})
}

// Failed is a record that it may not have.
func (s *Sent) Failed(key []byte, err error) {
	s.bad.Add(1)
	Emit(failed{string(key), err.Error()})
}

// Done says the sums; it is an error unless each of `count` records was sent and acknowledged, or SIGTERM came.
func (s *Sent) Done(r *Run, sent, count int) error {
	good, bad := s.good.Load(), s.bad.Load()
	Emit(map[string]any{"done": true, "count": good, "failed": bad})
	switch {
	case good+bad != int64(sent):
		return fmt.Errorf("%d records stayed without a report", int64(sent)-good-bad)
	case bad > 0:
		return fmt.Errorf("%d records failed", bad)
	case sent < count && !r.StopAsked():
		return fmt.Errorf("the time was up after %d records", sent)
	}
	return nil
}

// Key is the key of record i of a tag; every client makes and expects the same ones.
func Key(tag string, i int) []byte {
	return fmt.Appendf(nil, "%s-%d", tag, i)
}

// Value is the value of record i of a tag.
func Value(tag string, i int) []byte {
	return fmt.Appendf(nil, "%s:%d:%s", tag, i, strings.Repeat("x", i%512))
}

var output sync.Mutex

// Emit prints one JSON line; os.Stdout has no buffer, so a reader sees it at once.
func Emit(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}
